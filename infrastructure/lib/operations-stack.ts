import { type App, CfnOutput, type CfnResource, Fn } from "aws-cdk-lib";
import { CfnAlarm, CfnCompositeAlarm, CfnDashboard } from "aws-cdk-lib/aws-cloudwatch";
import { CfnQueryDefinition } from "aws-cdk-lib/aws-logs";
import {
  alarmsOf,
  type CompositeAlarm,
  chunks,
  type MetricAlarm,
  type RouteGroup,
  type Subject,
  suppressionExtensionSeconds,
  suppressionWaitSeconds,
} from "./alarms.ts";
import { dashboard } from "./dashboard.ts";
import { readServices, type Service } from "./manifests.ts";
import type { Metric } from "./metrics.ts";
import { queries } from "./queries.ts";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** The number of log groups that a saved query reads at most. Other log groups have another query with the same text. */
const logGroupsPerQuery = 50;

/**
 * The alarms, the dashboard and the saved log queries of a stage. They are about the resources of the services, so the stack is
 * deployed after the services.
 */
export class OperationsStack extends StageStack {
  constructor(app: App, stage: Stage, services: Service[] = readServices()) {
    super(app, "operations", stage);

    const subject = subjectOf(stage, services);
    const alarms = alarmsOf(subject);
    const created = new Map<string, CfnResource>();
    for (const alarm of alarms) {
      const resource = "anyOf" in alarm ? this.compositeAlarm(alarm) : this.metricAlarm(alarm);
      created.set(alarm.name, resource);
      const names = "anyOf" in alarm ? [...alarm.anyOf.flat(), ...(alarm.suppressor ? [alarm.suppressor] : [])] : [];
      for (const name of names) resource.addResourceDependency(created.get(name)!); // the rule contains names instead of references
    }
    new CfnDashboard(this, "Dashboard", {
      dashboardName: `scratchpad-${stage.name}`,
      dashboardBody: JSON.stringify(dashboard(subject, alarms)),
    });
    const logGroupNames = [
      ...subject.functions.map(({ name }) => `/aws/lambda/${this.nameOf(name)}`),
      `/aws/apigateway/scratchpad-${stage.name}`,
    ];
    for (const [name, queryString] of Object.entries(queries))
      chunks(logGroupNames, logGroupsPerQuery).forEach((part, index) => {
        const named = index === 0 ? name : `${name} (${index + 1})`;
        new CfnQueryDefinition(this, `Query ${named}`, {
          name: `scratchpad/${stage.name}/${named}`,
          queryString,
          logGroupNames: part,
        });
      });
    // The imports make xtask deploy the stack after the services.
    new CfnOutput(this, "Services", {
      value: Fn.join(
        ", ",
        services.map(({ name }) => this.importOutput(name)),
      ),
    });
  }

  private metricAlarm({ name, metrics, expressions, threshold, below, missing, ...definition }: MetricAlarm) {
    const period = threshold.minutes * 60;
    const watched = Object.keys(expressions).at(-1);
    const [single] = Object.values(metrics);
    return new CfnAlarm(this, logicalId(name), {
      ...this.common(name, definition),
      ...(watched === undefined && single
        ? {
            namespace: single.namespace,
            metricName: single.name,
            dimensions: dimensionsOf(single),
            statistic: single.stat,
            period,
          }
        : {
            metrics: [
              ...Object.entries(metrics).map(([id, metric]) => ({
                id,
                metricStat: {
                  metric: {
                    namespace: metric.namespace,
                    metricName: metric.name,
                    dimensions: dimensionsOf(metric),
                  },
                  period,
                  stat: metric.stat,
                },
                returnData: false,
              })),
              ...Object.entries(expressions).map(([id, expression]) => ({
                id,
                expression,
                label: id,
                returnData: id === watched,
              })),
            ],
          }),
      comparisonOperator: below ? "LessThanThreshold" : "GreaterThanOrEqualToThreshold",
      threshold: threshold.threshold,
      evaluationPeriods: threshold.periods,
      treatMissingData: missing,
    });
  }

  private compositeAlarm({ name, anyOf, suppressor, ...definition }: CompositeAlarm) {
    const alternatives = anyOf.map((all) => {
      const states = all.map((one) => `ALARM("${this.nameOf(one)}")`);
      return states.length === 1 ? states[0]! : `(${states.join(" AND ")})`;
    });
    return new CfnCompositeAlarm(this, logicalId(name), {
      ...this.common(name, definition),
      alarmRule: alternatives.join(" OR "),
      ...(suppressor && {
        actionsSuppressor: this.nameOf(suppressor),
        actionsSuppressorWaitPeriod: suppressionWaitSeconds,
        actionsSuppressorExtensionPeriod: suppressionExtensionSeconds,
      }),
    });
  }

  private common(name: string, { meaning, section, notifies }: Pick<MetricAlarm, "meaning" | "section" | "notifies">) {
    const actions = [this.importOutput("AlarmsTopicArn")];
    return {
      alarmName: this.nameOf(name),
      alarmDescription: `${meaning} See docs/runbook.md#${section}`,
      ...(notifies && { alarmActions: actions, okActions: actions }),
    };
  }
}

/** The logical ID of an alarm: `NotesLatencyAlarm` for `notes-latency`. */
const logicalId = (name: string) => `${name.replace(/(?:^|-)(\w)/g, (_, first: string) => first.toUpperCase())}Alarm`;

const dimensionsOf = ({ dimensions }: Metric) => Object.entries(dimensions).map(([name, value]) => ({ name, value }));

/**
 * What the alarms and the dashboard of a stage are about.
 *
 * @throws if a route's group has no objective, or an objective is for a group that has no route.
 */
export function subjectOf(stage: Stage, services: Service[]): Subject {
  const functions = services.flatMap((service) => service.functions);
  const names = [...new Set(functions.flatMap(({ group }) => group ?? []))];
  const objectives = stage.objectives ?? {};
  const groups = names.map((name): RouteGroup => {
    const objective = objectives[name];
    if (!objective) throw new Error(`The row ${stage.row} in serverless.yml has alarms, but no objective for ${name}`);
    return { ...objective, name, functions: functions.filter(({ group }) => group === name) };
  });
  const unknown = Object.keys(objectives).filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new Error(
      `The row ${stage.row} in serverless.yml has objectives for ${unknown.join(", ")}, which no route has`,
    );
  return { stage, functions, groups, queues: services.flatMap(({ queues }) => queues) };
}
