import {
  alarm,
  type CompositeAlarm,
  condition,
  type MetricAlarm,
  nameOn,
  type RouteGroup,
  type Subject,
} from "./alarm.ts";
import { tableIndexes } from "./data.ts";
import type { ServiceFunction } from "./manifests.ts";
import { faultsOfRoutes, type Metric, ofAws, ofGroup } from "./metrics.ts";
import { moneyAlarms } from "./money.ts"; // part: billing
import { burnRates, minimumBadRequests, thresholds } from "./thresholds.ts";

export { type CompositeAlarm, type MetricAlarm, nameOn, type RouteGroup, type Subject } from "./alarm.ts";

/** How long the e-mail of a composite alarm waits for the alarm of the cause. */
export const suppressionWaitSeconds = 120;

/**
 * How long the e-mail stays suppressed after the alarm of the cause has ended: as long as the failures of the cause are in a short
 * window, with two minutes to spare.
 */
export const suppressionExtensionSeconds =
  Math.max(...burnRates.map(({ short }) => short)) * 60 + suppressionWaitSeconds;

export const lambda = ({ stage }: Subject, { name }: ServiceFunction, metric: string, stat?: string) =>
  ofAws("Lambda", metric, { FunctionName: nameOn(stage, name) }, stat);

export const gateway = ({ stage: { name } }: Subject, metric: string, stat?: string) =>
  ofAws("ApiGateway", metric, { ApiName: `scratchpad-${name}`, Stage: name }, stat);

/**
 * The metrics and expressions that count the requests to a group: `all`, and those that were faults, `bad`. A crashed invocation
 * writes no line with metrics, and Lambda counts it as an error.
 */
export function faultsOf(subject: Subject, { name, functions }: RouteGroup) {
  const stage = subject.stage.name;
  const crashes = functions.map((own, index): [string, Metric] => [`crashes${index}`, lambda(subject, own, "Errors")]);
  const crashed = crashes.map(([id]) => id);
  return {
    metrics: {
      requests: ofGroup("Requests", stage, name),
      faults: ofGroup("Faults", stage, name),
      ...Object.fromEntries(crashes),
    },
    expressions: { bad: sum("faults", ...crashed), all: sum("requests", ...crashed) },
  };
}

/** The sum of metrics, in which a metric without values counts as 0. */
const sum = (...ids: string[]) => `SUM([${ids.map((id) => `FILL(${id}, 0)`).join(", ")}])`;

/** The percentage of the requests that may miss an objective. */
export const budgetOf = (objective: number) => Number((100 - objective).toFixed(6));

/** The metrics of a group's latency: the percentage of requests that are fast enough, and the number of requests. */
export const latencyOf = (subject: Subject, { name, within }: RouteGroup) => ({
  requests: ofGroup("Requests", subject.stage.name, name),
  fast: ofGroup("Latency", subject.stage.name, name, `PR(:${within})`),
});

const hours = (minutes: number) => (minutes % 60 === 0 ? `${minutes / 60}h` : `${minutes}m`);

/**
 * The alarms on an objective: one per window, and a composite one that notifies.
 * https://sre.google/workbook/alerting-on-slos/#6-multiwindow-multi-burn-rate-alerts
 */
function objectiveAlarms(
  group: string,
  section: "availability" | "latency",
  objective: string,
  watch: (minimum: number) => Pick<MetricAlarm, "metrics" | "expressions">,
): [MetricAlarm[], CompositeAlarm] {
  const name = (minutes: number) => `${group}-${section}-${hours(minutes)}`;
  const windows = burnRates.flatMap(({ rate, long, short }) => [
    { rate, minutes: long, minimum: minimumBadRequests },
    { rate, minutes: short, minimum: 1 },
  ]);
  const parts = windows.map(({ rate, minutes, minimum }) => ({
    ...watch(minimum),
    name: name(minutes),
    meaning: `The error budget of ${group} burned ${rate} times too fast for ${hours(minutes)}: ${objective}.`,
    section,
    notifies: false,
    threshold: { threshold: rate, minutes, periods: 1 },
    below: false,
    missing: "notBreaching" as const,
  }));
  const composite = {
    name: `${group}-${section}`,
    meaning: `${group} burns its error budget too fast: ${objective}.`,
    section,
    notifies: true,
    anyOf: burnRates.map(({ long, short }) => [name(long), name(short)]),
    suppressor: causes,
  };
  return [parts, composite];
}

const availability = (subject: Subject, group: RouteGroup) =>
  objectiveAlarms(group.name, "availability", `${group.availability} % of its requests must not be faults`, (least) => {
    const { metrics, expressions } = faultsOf(subject, group);
    const burn = `IF(bad >= ${least}, 100 * bad / all / ${budgetOf(group.availability)}, 0)`;
    return { metrics, expressions: { ...expressions, burn } };
  });

const latency = (subject: Subject, group: RouteGroup) => {
  const objective = `${group.latency} % of its requests must take less than ${group.within} ms`;
  return objectiveAlarms(group.name, "latency", objective, (least) => ({
    metrics: latencyOf(subject, group),
    expressions: {
      slow: "100 - FILL(fast, 100)",
      // Half a request less than `least`, because CloudWatch rounds the percentage.
      burn: `IF(FILL(requests, 0) * slow / 100 >= ${least - 0.5}, slow / ${budgetOf(group.latency)}, 0)`,
    },
  }));
};

/**
 * The alarms of a function. A function has no alarm on errors if Lambda retries its failed events and then sends them to a
 * dead-letter queue: the alarm on the queue reports them.
 */
function functionAlarms(subject: Subject, own: ServiceFunction): { causes: MetricAlarm[]; others: MetricAlarm[] } {
  const { name } = own;
  const retried = own.readsStream || own.hasFailureQueue;
  const errors = alarm(
    `${name}-function-errors`,
    "function-errors",
    `${name} crashed, timed out or failed to handle an event.`,
    thresholds.errors,
    lambda(subject, own, "Errors"),
  );
  const throttles = alarm(
    `${name}-function-throttles`,
    "function-throttles",
    `Lambda did not invoke ${name}, because too many instances were running.`,
    thresholds.throttles,
    lambda(subject, own, "Throttles"),
  );
  const lag = alarm(
    `${name}-stream-lag`,
    "stream-lag",
    `${name} handles changes too late.`,
    thresholds.lag,
    lambda(subject, own, "IteratorAge", "Maximum"),
  );
  return { causes: [...(retried ? [] : [errors]), throttles], others: own.readsStream ? [lag] : [] };
}

/** The alarms of the tables. DynamoDB counts the throttled requests of an index separately. */
function tableAlarms({ stage }: Subject): MetricAlarm[] {
  if (stage.linked !== stage.name) return []; // the tables are those of another stage
  return tableIndexes.map(([table, index]) => {
    const TableName = nameOn(stage, table);
    const owners: Metric["dimensions"][] = [{ TableName }];
    if (index) owners.push({ TableName, GlobalSecondaryIndexName: index });
    const metrics = owners.flatMap((dimensions, place) =>
      ["ReadThrottleEvents", "WriteThrottleEvents"].map((name): [string, Metric] => [
        `${name[0]!.toLowerCase()}${name.slice(1)}${place}`,
        ofAws("DynamoDB", name, dimensions),
      ]),
    );
    const expression = sum(...metrics.map(([id]) => id));
    return alarm(
      `${table}-throttles`,
      "table-throttles",
      `DynamoDB throttles requests to the table ${table}.`,
      thresholds.tableThrottles,
      [Object.fromEntries(metrics), expression],
    );
  });
}

function gatewayAlarms(subject: Subject): { parts: MetricAlarm[]; failure: CompositeAlarm; others: MetricAlarm[] } {
  const part = `gateway-errors-${hours(thresholds.gatewayErrors.minutes)}`;
  const meaning = "API Gateway responds with 5xx although no function did.";
  const { threshold, percent = 0 } = thresholds.refusedRequests;
  return {
    parts: [
      alarm(
        part,
        "gateway-errors",
        meaning,
        thresholds.gatewayErrors,
        [
          { errors: gateway(subject, "5XXError"), faults: faultsOfRoutes(subject.stage.name) },
          "FILL(errors, 0) - FILL(faults, 0)",
        ],
        { notifies: false },
      ),
    ],
    // A crashed function has no answer either, and an alarm of its own.
    failure: {
      name: "gateway-errors",
      meaning,
      section: "gateway-errors",
      notifies: true,
      anyOf: [[part]],
      suppressor: causes,
    },
    others: [
      condition(
        "refused-requests",
        "refused-requests",
        "Most requests are refused with 4xx.",
        thresholds.refusedRequests,
        { refused: gateway(subject, "4XXError"), requests: gateway(subject, "Count") },
        `refused >= ${threshold} AND refused * 100 >= requests * ${percent}`,
      ),
    ],
  };
}

const deadLetterAlarms = ({ stage, queues }: Subject) =>
  queues.map((queue) =>
    alarm(
      queue.replace(/dead-letters$/, "waiting-dead-letters"),
      "dead-letters",
      `Messages are in the dead-letter queue ${queue}.`,
      thresholds.deadLetters,
      ofAws("SQS", "ApproximateNumberOfMessagesVisible", { QueueName: nameOn(stage, queue) }, "Maximum"),
    ),
  );

/** The name of the alarm that combines the alarms on causes of faults. It suppresses the alarms on their effects. */
const causes = "causes";

/** How many alarms a composite alarm combines at most. CloudWatch accepts 100 of them, in a rule of 10,240 characters. */
const combined = 60;

/** The alarm that combines the alarms on causes, through alarms that combine a part of them if there are many. */
function causeAlarms(reported: string[]): CompositeAlarm[] {
  const alarmOn = (name: string, parts: string[]): CompositeAlarm => ({
    name,
    meaning: "A cause of faults is known.",
    section: "availability",
    notifies: false,
    anyOf: parts.map((part) => [part]),
  });
  const parts = chunks(reported, combined).map((names, index) => alarmOn(`${causes}-${index + 1}`, names));
  if (parts.length === 1) return [alarmOn(causes, reported)];
  return [
    ...parts,
    alarmOn(
      causes,
      parts.map(({ name }) => name),
    ),
  ];
}

/** Divides a list into parts of at most `size` elements. */
export const chunks = <T>(all: T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size));

/**
 * All alarms of a stage, except those on regressions, which the services have: an alarm follows the alarms that it combines.
 *
 * In earlier releases, the services had alarms with names such as `notes-get-errors`. CloudFormation deletes an alarm by its name,
 * and does this after it has reported that the update of the stack is complete, so these alarms must not have the same names.
 */
export function alarmsOf(subject: Subject): (MetricAlarm | CompositeAlarm)[] {
  const ofFunctions = subject.functions.map((own) => functionAlarms(subject, own));
  const ofMoney = moneyAlarms(subject); // part: billing
  const ofGateway = gatewayAlarms(subject);
  const reported = [
    ...ofFunctions.flatMap(({ causes }) => causes),
    ...tableAlarms(subject),
    ...ofMoney.causes, // part: billing
  ];
  const objectives = subject.groups.flatMap((group) => [availability(subject, group), latency(subject, group)]);
  return [
    ...reported,
    ...ofFunctions.flatMap(({ others }) => others),
    ...deadLetterAlarms(subject),
    ...ofMoney.others, // part: billing
    ...ofGateway.others,
    ...ofGateway.parts,
    ...objectives.flatMap(([parts]) => parts),
    ...causeAlarms(reported.map(({ name }) => name)),
    ofGateway.failure,
    ...objectives.map(([, composite]) => composite),
  ];
}
