import { accountNamed } from "./account.ts";
import {
  budgetOf,
  type CompositeAlarm,
  chunks,
  faultsOf,
  gateway,
  lambda,
  latencyOf,
  type MetricAlarm,
  nameOn,
  type RouteGroup,
  type Subject,
} from "./alarms.ts";
import { tableIndexes } from "./data.ts";
import { type Metric, type MetricName, ofAws, ofFunction, ofGroup, ofStage } from "./metrics.ts";
import { tables } from "./stage.ts";

/** A widget: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html */
interface Widget {
  type: "alarm" | "metric" | "text";
  width: number;
  height: number;
  properties: Record<string, unknown>;
}

/** A line of a graph: a metric or an expression, with its label. */
type Line = [label: string, Metric] | [label: string, expression: string, metrics: Record<string, Metric>];

/** The number of columns of a dashboard. */
const columns = 24;

/** The number of seconds in 30 days, over which objectives apply. */
const month = 30 * 24 * 60 * 60;

const region: string = tables().region;

/** Returns the body of a stage's dashboard. */
export function dashboard(subject: Subject, alarms: (MetricAlarm | CompositeAlarm)[]) {
  return { start: "-PT24H", widgets: placed(sections(subject, alarms)) };
}

/** Places the rows of widgets below each other. */
function placed(rows: Widget[][]) {
  let y = 0;
  return rows.flatMap((row) => {
    let x = 0;
    let below = y;
    const widgets = row.map((widget) => {
      if (x + widget.width > columns) {
        x = 0;
        y = below;
      }
      const { type, width, height, properties } = widget;
      const at = { type, x, y, width, height, properties };
      x += width;
      below = Math.max(below, y + height);
      return at;
    });
    y = below;
    return widgets;
  });
}

function sections(subject: Subject, alarms: (MetricAlarm | CompositeAlarm)[]): Widget[][] {
  const { stage, functions, groups, queues } = subject;
  const each = (name: MetricName, stat?: string): Line[] =>
    functions.map((own) => [own.name, ofFunction(name, nameOn(stage, own.name), stat)]);
  const business = (...names: MetricName[]): Line[] => names.map((name) => [name, ofStage(name, stage.name)]);
  const ownTables = stage.linked === stage.name ? tableIndexes : [];
  const ofTables = (...names: string[]): Line[] =>
    ownTables.flatMap(([table, index]) =>
      names.flatMap((name): Line[] => [
        [`${table} ${name}`, ofAws("DynamoDB", name, { TableName: nameOn(stage, table) })],
        ...(index
          ? [
              [
                `${table}/${index} ${name}`,
                ofAws("DynamoDB", name, { TableName: nameOn(stage, table), GlobalSecondaryIndexName: index }),
              ] as Line,
            ]
          : []),
      ]),
    );
  return [
    alarmStates(subject, alarms),
    [text("## Objectives, over 30 days")],
    groups.map((group) => remainingBudget(subject, group)),
    ...groups.flatMap((group) => [[text(`## Requests of the group ${group.name}`)], groupGraphs(subject, group)]),
    [text("## API Gateway")],
    [
      graph("Requests, and refused and failed ones", [
        ["requests", gateway(subject, "Count")],
        ["4xx", gateway(subject, "4XXError")],
        ["5xx", gateway(subject, "5XXError")],
      ]),
      graph("Latency in ms", [
        ["p50", gateway(subject, "Latency", "p50")],
        ["p99", gateway(subject, "Latency", "p99")],
        ["p99 of functions", gateway(subject, "IntegrationLatency", "p99")],
      ]),
    ],
    [text("## Functions")],
    [
      graph("Requests and events", each("Requests")),
      graph("Faults", each("Faults")),
      graph("Rejected requests", each("Rejected")),
      graph("Latency p99 in ms", each("Latency", "p99")),
      graph("Cold starts", each("ColdStarts")),
      graph(
        "Crashes and throttles",
        functions.flatMap((own): Line[] => [
          [`${own.name} errors`, lambda(subject, own, "Errors")],
          [`${own.name} throttles`, lambda(subject, own, "Throttles")],
        ]),
      ),
    ],
    // part: billing {
    [text("## Money")],
    [
      graph("Purchases", business("PurchasesPaid", "PurchasesDeclined", "PurchasesCanceled", "PurchasesNotMade")),
      graph("Amounts in cents", business("AmountCharged", "AmountRefunded")),
      graph("Age of the oldest PENDING purchase in s", [["age", ofStage("OldestPendingAge", stage.name, "Maximum")]]),
      graph(
        "Disputes, surplus charges and rejected keys",
        business("DisputesOpened", "SurplusCharges", "StripeKeyRejected"),
      ),
      graph("Refused webhook events", business("RejectedEvents", "ContradictingEvents")),
      graph("Runs of billing-reconcile", [
        ...business("ReconcileSettled", "ReconcilePending", "ReconcileAnnounced"),
        ...business("ReconcileErrors", "ReconcileUnfinished", "UnreadablePurchases"),
      ]),
      // part: notify {
      graph("SMS", [
        ...business("SmsSent"),
        ["not delivered", ofAws("SNS", "NumberOfNotificationsFailed", { PhoneNumber: "PhoneNumberDirect" })],
      ]),
      // part: notify }
    ],
    // part: billing }
    [text("## Notes and storage")],
    [
      graph("Notes", business("NotesCreated", "NotesDeleted")),
      graph("Storage in notes", business("StorageBought", "StorageRevoked")), // part: billing
    ],
    [text("## Queues and tables")],
    [
      graph(
        "Messages in dead-letter queues",
        queues.map((queue) => [
          queue,
          ofAws("SQS", "ApproximateNumberOfMessagesVisible", { QueueName: nameOn(stage, queue) }, "Maximum"),
        ]),
      ),
      // part: billing {
      graph(
        "Age of stream records in ms",
        functions
          .filter(({ readsStream }) => readsStream)
          .map((own) => [own.name, lambda(subject, own, "IteratorAge", "Maximum")]),
      ),
      // part: billing }
      ...(ownTables.length === 0
        ? []
        : [
            graph("Throttled requests to tables", ofTables("ReadThrottleEvents", "WriteThrottleEvents")),
            graph("Consumed capacity of tables", ofTables("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits")),
          ]),
    ],
  ];
}

const text = (markdown: string): Widget => ({ type: "text", width: columns, height: 1, properties: { markdown } });

/** The number of alarms that a widget shows at most. */
const alarmsPerWidget = 100;

/** The states of the alarms that notify. */
function alarmStates({ stage }: Subject, alarms: (MetricAlarm | CompositeAlarm)[]): Widget[] {
  const account = accountNamed(stage.account).id;
  const arns = alarms
    .filter(({ notifies }) => notifies)
    .map(({ name }) => `arn:aws:cloudwatch:${region}:${account}:alarm:${nameOn(stage, name)}`);
  return chunks(arns, alarmsPerWidget).map((part) => ({
    type: "alarm",
    width: columns,
    height: 6,
    properties: { title: "Alarms", alarms: part },
  }));
}

/** The part of the error budgets of a group that is left, in percent: 100 if there was no bad request, negative if it is exceeded. */
function remainingBudget(subject: Subject, group: RouteGroup): Widget {
  const faults = faultsOf(subject, group);
  const left = (bad: string, budget: number) => `100 - 100 * ${bad} / ${budget}`;
  return {
    type: "metric",
    width: 8,
    height: 4,
    properties: {
      title: `Remaining error budget of ${group.name} in %`,
      view: "singleValue",
      region,
      start: "-P30D",
      end: "P0D",
      period: month,
      setPeriodToTimeRange: true,
      metrics: [
        ...hidden(faults.metrics),
        ...Object.entries(faults.expressions).map(([id, expression]) => [{ id, expression, visible: false }]),
        ...hidden({ fast: latencyOf(subject, group).fast }),
        [{ expression: left("(100 * bad / all)", budgetOf(group.availability)), label: "availability" }],
        [{ expression: left("(100 - fast)", budgetOf(group.latency)), label: "latency" }],
      ],
    },
  };
}

/** The traffic, errors, latency and cold starts of a group. */
function groupGraphs(subject: Subject, group: RouteGroup): Widget[] {
  const of = (name: MetricName, stat?: string) => ofGroup(name, subject.stage.name, group.name, stat);
  const { metrics, expressions } = faultsOf(subject, group);
  const { requests, faults, ...crashes } = metrics;
  return [
    graph("Requests", [["requests", of("Requests")]], 6),
    graph(
      "Faults and rejected requests",
      [
        ["faults and crashes", expressions.bad, { faults, ...crashes }],
        ["rejected", of("Rejected")],
      ],
      6,
    ),
    graph(
      `Latency in ms; the objective is ${group.latency} % below ${group.within}`,
      [
        ["p50", of("Latency", "p50")],
        ["p99", of("Latency", "p99")],
      ],
      6,
      { annotations: { horizontal: [{ label: "objective", value: group.within }] } },
    ),
    graph("Cold starts", [["cold starts", of("ColdStarts")]], 6),
  ];
}

const graph = (title: string, lines: Line[], width = 8, properties = {}): Widget => ({
  type: "metric",
  width,
  height: 6,
  properties: {
    title,
    view: "timeSeries",
    region,
    period: 60,
    metrics: lines.flatMap(([label, metric, used]): unknown[][] =>
      typeof metric === "string"
        ? [...hidden(used!), [{ expression: metric, label }]]
        : [[...reference(metric), { label, stat: metric.stat }]],
    ),
    ...properties,
  },
});

/** Metrics that only expressions use, by ID. */
const hidden = (metrics: Record<string, Metric>) =>
  Object.entries(metrics).map(([id, metric]) => [...reference(metric), { id, stat: metric.stat, visible: false }]);

const reference = ({ namespace, name, dimensions }: Metric) => [namespace, name, ...Object.entries(dimensions).flat()];
