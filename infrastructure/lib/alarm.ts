import type { ServiceFunction } from "./manifests.ts";
import type { Metric } from "./metrics.ts";
import type { Objective, Stage } from "./stage.ts";
import type { Threshold } from "./thresholds.ts";

/** What all alarms have. */
interface Definition {
  /** Its name without `scratchpad-STAGE-`. */
  name: string;
  /** What the alarm means, as a sentence. */
  meaning: string;
  /** The section of docs/runbook.md that says what to do. */
  section: string;
  /** Whether its e-mail is sent. Other alarms are parts of composite alarms. */
  notifies: boolean;
}

/** An alarm on metrics. */
export interface MetricAlarm extends Definition {
  metrics: Record<string, Metric>;
  /** Expressions of metric math, by ID. The alarm watches the last one, or else the only metric. */
  expressions: Record<string, string>;
  threshold: Threshold;
  /** Whether the alarm fires below the threshold instead of from the threshold on. */
  below: boolean;
  missing: "breaching" | "ignore" | "notBreaching";
}

/** An alarm on the states of other alarms. */
export interface CompositeAlarm extends Definition {
  /** The names of the combined alarms: it fires if all alarms of one of these groups are in the state ALARM. */
  anyOf: string[][];
  /** The name of the alarm that suppresses the e-mail, because it reports the cause. */
  suppressor?: string;
}

/** A group of routes whose requests have an objective together. */
export interface RouteGroup extends Objective {
  name: string;
  functions: ServiceFunction[];
}

/** What the alarms and the dashboard of a stage are about. */
export interface Subject {
  stage: Stage;
  functions: ServiceFunction[];
  groups: RouteGroup[];
  /** The names of the queues, without `scratchpad-STAGE-`. */
  queues: string[];
}

/** The name of a resource of a stage. */
export const nameOn = (stage: Pick<Stage, "name">, resource: string) => `scratchpad-${stage.name}-${resource}`;

/** An alarm that notifies when a metric, or an expression of metrics, reaches a threshold. */
export const alarm = (
  name: string,
  section: string,
  meaning: string,
  threshold: Threshold,
  watched: Metric | [Record<string, Metric>, expression: string],
  options: Partial<Pick<MetricAlarm, "below" | "missing" | "notifies">> = {},
): MetricAlarm => {
  const [metrics, expression] = Array.isArray(watched) ? watched : [{ value: watched }];
  return {
    name,
    section,
    meaning,
    threshold,
    metrics,
    expressions: expression === undefined ? {} : { result: expression },
    below: false,
    missing: "notBreaching",
    notifies: true,
    ...options,
  };
};

/** An alarm that fires while a condition on metrics is true. */
export const condition = (
  name: string,
  section: string,
  meaning: string,
  rule: Threshold,
  metrics: Record<string, Metric>,
  is: string,
) => alarm(name, section, meaning, { ...rule, threshold: 1 }, [metrics, `IF(${is}, 1, 0)`]);
