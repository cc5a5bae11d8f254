import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import table from "../../libs/metrics/metrics.json" with { type: "json" };
import { allTables } from "../lib/data.ts";
import { readServices } from "../lib/manifests.ts";
import { OperationsStack, subjectOf } from "../lib/operations-stack.ts";
import { type Stage, stageNamed } from "../lib/stage.ts";
import { evaluate, type MetricValue } from "./evaluate-alarms.ts";
import { packageService, services } from "./services.ts";

const newApp = () => new App({ builtinCloudFormationValidation: false });
const synthesized = (stage: Stage) => Template.fromStack(new OperationsStack(newApp(), stage)).toJSON();
const stages = new Map(["local", "dev", "prod"].map((name) => [name, synthesized(stageNamed(name))]));
const manifests = readServices();
const functions = manifests.flatMap((service) => service.functions);

const propertiesOf = ({ Resources }: any, ...types: string[]): any[] =>
  Object.values<any>(Resources).flatMap(({ Type, Properties }) => (types.includes(Type) ? [Properties] : []));
const METRIC = "AWS::CloudWatch::Alarm";
const COMPOSITE = "AWS::CloudWatch::CompositeAlarm";

/** The alarms of a stage in the stack of operations. */
const alarms = (stage: string): any[] => propertiesOf(stages.get(stage), METRIC, COMPOSITE);
const alarmNamed = (stage: string, name: string) =>
  alarms(stage).find(({ AlarmName }) => AlarmName === `scratchpad-${stage}-${name}`) ?? assert.fail(`no alarm ${name}`);

/** The alarms that judge new versions, in the services of prod. */
const regressions = (await Promise.all(services.map((service) => packageService(service, "prod")))).flatMap(
  (template) => propertiesOf(template, METRIC),
);

/** A metric that an alarm or a widget reads. */
interface Metric {
  namespace: string;
  name: string;
  dimensions: Record<string, unknown>;
}

/** The metrics of an alarm. */
function metricsOf({ Metrics, Namespace, MetricName, Dimensions }: any): Metric[] {
  const all = Metrics
    ? Metrics.flatMap(({ MetricStat }: any) => MetricStat?.Metric ?? [])
    : [{ Namespace, MetricName, Dimensions }];
  return all.map((metric: any) => ({
    namespace: metric.Namespace,
    name: metric.MetricName,
    dimensions: Object.fromEntries(metric.Dimensions.map(({ Name, Value }: any) => [Name, Value])),
  }));
}

const dashboardOf = (stage: string) =>
  JSON.parse(propertiesOf(stages.get(stage), "AWS::CloudWatch::Dashboard")[0].DashboardBody);

/** The metrics of a dashboard: each is an array of namespace, name, names and values of dimensions, and an object of options. */
const metricsOfDashboard = (stage: string): Metric[] =>
  dashboardOf(stage)
    .widgets.flatMap(({ properties }: any) => properties.metrics ?? [])
    .filter(([first]: any) => typeof first === "string")
    .map(([namespace, name, ...others]: any[]) => {
      const parts = others.filter((part) => typeof part === "string");
      const pairs = parts.flatMap((part, index) => (index % 2 === 0 ? [[part, parts[index + 1]]] : []));
      return { namespace, name, dimensions: Object.fromEntries(pairs) };
    });

/** The names of the metric alarms that a composite alarm combines, also through others. */
const leaves = (stage: string, name: string): string[] => {
  const { AlarmName, AlarmRule } = alarmNamed(stage, name);
  if (!AlarmRule) return [AlarmName];
  return children(AlarmRule).flatMap((child) => leaves(stage, child.replace(`scratchpad-${stage}-`, "")));
};

/** The names of the alarms that a rule combines. */
const children = (rule: string) => [...rule.matchAll(/ALARM\("([^"]+)"\)/g)].map(([, name]) => name!);

test("the description of each alarm names a section of the runbook", () => {
  const runbook = readFileSync(resolve(import.meta.dirname, "../../docs/runbook.md"), "utf8");
  const anchors = [...runbook.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title!.toLowerCase().replaceAll(" ", "-"));
  for (const { AlarmName, AlarmDescription } of [...[...stages.keys()].flatMap(alarms), ...regressions]) {
    const [, sentence, anchor] = AlarmDescription.match(/^([A-Za-z].*\.|.*) See docs\/runbook\.md#([a-z-]+)$/) ?? [];
    assert.ok(sentence && anchor, `${AlarmName}: ${AlarmDescription}`);
    assert.ok(anchors.includes(anchor), `${AlarmName}: the runbook has no section ${anchor}`);
  }
});

test("each metric of an alarm or of the dashboard that functions write has exactly the dimensions with which they write it", () => {
  const dimensionSets: Record<string, string[]> = {
    invocation: ["FunctionName", "FunctionName Version", "RouteGroup Stage", "Stage"],
    stage: ["Stage"],
  };
  const ofAlarms = [...[...stages.keys()].flatMap(alarms), ...regressions]
    .filter(({ AlarmRule }) => AlarmRule === undefined)
    .flatMap(metricsOf);
  const own = [...ofAlarms, ...[...stages.keys()].flatMap(metricsOfDashboard)].filter(
    ({ namespace }) => !namespace.startsWith("AWS/"),
  );
  assert.notEqual(own.length, 0);
  const names = functions.map(({ name }) => name);
  for (const { namespace, name, dimensions } of own) {
    assert.equal(namespace, "Scratchpad");
    const row = (table as Record<string, { scope: string }>)[name];
    assert.ok(row, `metrics.json has no metric ${name}`);
    assert.ok(dimensionSets[row.scope]!.includes(Object.keys(dimensions).sort().join(" ")), name);
    const { FunctionName, Stage: stage, RouteGroup } = dimensions as Record<string, string>;
    if (FunctionName)
      assert.ok(names.includes(FunctionName.replace(/^scratchpad-(local|dev|prod)-/, "")), FunctionName);
    if (stage) assert.ok(stages.has(stage), stage);
    if (RouteGroup)
      assert.ok(
        functions.some(({ group }) => group === RouteGroup),
        RouteGroup,
      );
  }
});

test("the dashboard shows each metric that functions write", () => {
  for (const stage of stages.keys()) {
    const shown = new Set(metricsOfDashboard(stage).map(({ name }) => name));
    assert.deepEqual(
      Object.keys(table).filter((name) => !shown.has(name)),
      [],
    );
  }
});

test("the group of each route has an objective, and each objective is for a group that has routes", () => {
  for (const name of stages.keys()) {
    const stage = stageNamed(name);
    const { groups } = subjectOf(stage, manifests);
    const covered = groups.flatMap((group) => group.functions.flatMap(({ routes }) => routes));
    assert.deepEqual(covered.sort(), functions.flatMap(({ routes }) => routes).sort());
    const { notes, ...others } = stage.objectives!;
    assert.throws(() => subjectOf({ ...stage, objectives: others }, manifests), /no objective for notes/);
    assert.throws(
      () => subjectOf({ ...stage, objectives: { ...stage.objectives, other: notes! } }, manifests),
      /objectives for other, which no route has/,
    );
  }
});

test("every group has an alarm on its availability and one on its latency", () => {
  for (const stage of stages.keys())
    for (const group of Object.keys(stageNamed(stage).objectives!))
      for (const objective of ["availability", "latency"]) {
        const part = (window: string) => `ALARM("scratchpad-${stage}-${group}-${objective}-${window}")`;
        assert.equal(
          alarmNamed(stage, `${group}-${objective}`).AlarmRule,
          `(${part("1h")} AND ${part("5m")}) OR (${part("6h")} AND ${part("30m")})`,
        );
      }
});

test("every function, queue, stream and table has its alarms", () => {
  for (const stage of stages.keys()) {
    const names = new Set(alarms(stage).map(({ AlarmName }) => AlarmName.replace(`scratchpad-${stage}-`, "")));
    for (const { name, readsStream, hasFailureQueue } of functions) {
      assert.ok(names.has(`${name}-function-throttles`), name);
      // Lambda repeats failed events: the alarm on the queue fires in the end.
      assert.equal(names.has(`${name}-function-errors`), !readsStream && !hasFailureQueue, name);
      assert.equal(names.has(`${name}-stream-lag`), readsStream, name);
    }
    for (const queue of manifests.flatMap(({ queues }) => queues))
      assert.ok(names.has(queue.replace("dead-letters", "waiting-dead-letters")), queue);
    for (const [name] of allTables) assert.ok(names.has(`${name}-throttles`), name);
  }
});

test("every dead-letter queue that a service creates has an alarm from its first message on", async () => {
  const queues = (await Promise.all(services.map((service) => packageService(service, "dev")))).flatMap((template) =>
    propertiesOf(template, "AWS::SQS::Queue"),
  );
  assert.notEqual(queues.length, 0);
  for (const { QueueName } of queues) {
    const { Namespace, MetricName, Threshold, Dimensions } = alarmNamed(
      "dev",
      QueueName.replace(/^scratchpad-dev-(.*)-dead-letters$/, "$1-waiting-dead-letters"),
    );
    assert.deepEqual([Namespace, MetricName, Threshold], ["AWS/SQS", "ApproximateNumberOfMessagesVisible", 1]);
    assert.deepEqual(Dimensions, [{ Name: "QueueName", Value: QueueName }]);
  }
});

/** The kinds of alarms on causes. */
const causing = [
  "function-errors",
  "throttles",
  "stripe-key", // part: billing
];

test("a cause has one alarm that notifies: no two of them watch the same, and the others are parts of composite alarms", () => {
  for (const stage of stages.keys()) {
    const topic = [{ "Fn::ImportValue": `scratchpad-${stage}-AlarmsTopicArn` }];
    const watched = new Map<string, string>();
    const composites = alarms(stage).filter(({ AlarmRule }) => AlarmRule);
    const parts = new Set(composites.flatMap(({ AlarmRule }) => children(AlarmRule)));
    for (const { AlarmName, AlarmActions, OKActions, AlarmRule, ActionsSuppressor, ...others } of alarms(stage)) {
      const notifies = AlarmActions !== undefined;
      assert.deepEqual([AlarmActions, OKActions], notifies ? [topic, topic] : [undefined, undefined], AlarmName);
      if (!notifies && AlarmName !== `scratchpad-${stage}-causes`) assert.ok(parts.has(AlarmName), AlarmName);
      if (!notifies) continue;
      if (AlarmRule) {
        // It reports effects, unless an alarm on the cause notifies.
        assert.equal(ActionsSuppressor, `scratchpad-${stage}-causes`, AlarmName);
        const silent = alarms(stage).filter((alarm) => children(AlarmRule).includes(alarm.AlarmName));
        assert.ok(
          silent.every((alarm) => alarm.AlarmActions === undefined),
          AlarmName,
        );
      } else {
        const key = JSON.stringify(metricsOf(others));
        assert.equal(watched.get(key), undefined, `${AlarmName} watches the same as ${watched.get(key)}`);
        watched.set(key, AlarmName);
      }
    }
    const causes = leaves(stage, "causes");
    const expected = alarms(stage)
      .map(({ AlarmName }) => AlarmName)
      .filter((name) => causing.some((kind) => name.endsWith(`-${kind}`)));
    assert.deepEqual(causes.sort(), expected.sort());
  }
});

// CloudFormation deletes the alarms that an update of a service removes after it has reported that the update is complete, and by
// their names. A rollback to an earlier release creates them while the stack of operations still exists.
test("no alarm has the name of an alarm that the services of earlier releases have", () => {
  const kinds = ["errors", "throttles", "latency", "lag", "rejected-events", "dead-letters"];
  const earlier = functions.flatMap(({ name }) => kinds.map((kind) => `scratchpad-prod-${name}-${kind}`));
  const names = new Set(alarms("prod").map(({ AlarmName }) => AlarmName));
  assert.deepEqual(
    [...earlier, "scratchpad-prod-api-server-errors"].filter((name) => names.has(name)),
    [],
  );
});

test("alarms, the dashboard and queries do not exceed CloudWatch's limits", () => {
  for (const stage of stages.keys()) {
    for (const alarm of [...alarms(stage), ...regressions]) {
      const { AlarmName, AlarmDescription, AlarmRule, Metrics = [], Period, EvaluationPeriods } = alarm;
      assert.ok(AlarmDescription.length <= 1024 && AlarmName.length <= 255, AlarmName);
      if (AlarmRule) {
        const combined = children(AlarmRule);
        assert.ok(AlarmRule.length <= 10_240 && combined.length <= 100, AlarmName);
        for (const name of combined) alarmNamed(stage, name.replace(`scratchpad-${stage}-`, ""));
        continue;
      }
      const stats = Metrics.filter(({ MetricStat }: any) => MetricStat);
      // https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
      assert.ok(stats.length <= 10 && Metrics.length - stats.length <= 10, `${AlarmName} has ${stats.length} metrics`);
      const periods = Metrics.length > 0 ? stats.map(({ MetricStat }: any) => MetricStat.Period) : [Period];
      for (const period of periods) {
        assert.equal(period % 60, 0, AlarmName);
        const longest = period >= 3600 ? 7 * 24 * 3600 : 24 * 3600;
        assert.ok(period * EvaluationPeriods <= longest, AlarmName);
      }
      if (Metrics.length > 0) {
        const returned = Metrics.filter(({ ReturnData }: any) => ReturnData).map(({ Expression }: any) => Expression);
        assert.equal(returned.length, 1, AlarmName);
        assert.ok(returned[0], AlarmName);
        for (const { Id } of Metrics) assert.match(Id, /^[a-z][a-zA-Z0-9_]*$/);
      }
    }
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
    const { widgets } = dashboardOf(stage);
    assert.ok(widgets.length <= 500);
    assert.ok(metricsOfDashboard(stage).length <= 2500);
    for (const { type, x, width, properties } of widgets) {
      assert.ok(x + width <= 24, properties.title);
      if (type === "metric")
        assert.ok(properties.metrics.length <= 500 && properties.metrics.length > 0, properties.title);
      if (type === "alarm") assert.ok(properties.alarms.length <= 100);
    }
    for (const { QueryString, LogGroupNames } of propertiesOf(stages.get(stage), "AWS::Logs::QueryDefinition"))
      assert.ok(QueryString.length <= 10_000 && LogGroupNames.length <= 50);
  }
});

test("alarms, the dashboard and queries do not exceed CloudWatch's limits with 20 route groups", () => {
  const existing = new Set(functions.flatMap(({ group }) => group ?? [])).size;
  const more = Array.from({ length: Math.max(20 - existing, 0) }, (_, index) => {
    const named = functions.filter(({ routes }) => routes.length > 0).slice(0, 5);
    return {
      name: `service${index}-api`,
      functions: named.map((one) => ({ ...one, name: `service${index}-${one.name}`, group: `service${index}` })),
      queues: [],
    };
  });
  const stage = stageNamed("prod");
  const objective = Object.values(stage.objectives!)[0]!;
  const objectives = Object.fromEntries(more.map(({ name }) => [name.replace("-api", ""), objective]));
  const large = { ...stage, objectives: { ...stage.objectives, ...objectives } };
  const template = Template.fromStack(new OperationsStack(newApp(), large, [...manifests, ...more])).toJSON();
  for (const { AlarmName, AlarmRule, Metrics = [] } of propertiesOf(template, METRIC, COMPOSITE)) {
    if (AlarmRule) assert.ok(AlarmRule.length <= 10_240 && children(AlarmRule).length <= 100, AlarmName);
    assert.ok(Metrics.filter(({ MetricStat }: any) => MetricStat).length <= 10, AlarmName);
  }
  const { widgets } = JSON.parse(propertiesOf(template, "AWS::CloudWatch::Dashboard")[0].DashboardBody);
  assert.ok(widgets.length <= 500);
  for (const { properties } of widgets) {
    assert.ok((properties.alarms ?? []).length <= 100);
    assert.ok((properties.metrics ?? []).length <= 500, properties.title);
  }
  const queries = propertiesOf(template, "AWS::Logs::QueryDefinition");
  for (const { LogGroupNames } of queries) assert.ok(LogGroupNames.length <= 50);
  const groups = new Set(queries.flatMap(({ LogGroupNames }) => LogGroupNames));
  assert.equal(groups.size, functions.length + more.length * 5 + 1);
});

test("no two widgets of the dashboard overlap", () => {
  const { widgets } = dashboardOf("prod");
  const taken = new Set<string>();
  for (const { x, y, width, height, properties } of widgets)
    for (let column = x; column < x + width; column++)
      for (let row = y; row < y + height; row++) {
        assert.ok(!taken.has(`${column} ${row}`), properties.title ?? properties.markdown);
        taken.add(`${column} ${row}`);
      }
});

test("saved queries find what they are named after in the logs of all functions and in the access log", () => {
  for (const stage of stages.keys()) {
    const queries = propertiesOf(stages.get(stage), "AWS::Logs::QueryDefinition");
    const groups = functions.map(({ name }) => `/aws/lambda/scratchpad-${stage}-${name}`);
    for (const [name, filter] of [
      ["one request", "request_id ="],
      ["one user", "user ="],
      ["every step of a purchase", "@message like"], // part: billing
    ] as const) {
      // A query with many log groups has several parts.
      const parts = queries.filter(({ Name }) => Name.replace(/ \(\d+\)$/, "") === `scratchpad/${stage}/${name}`);
      assert.deepEqual(
        parts.flatMap(({ LogGroupNames }) => LogGroupNames),
        [...groups, `/aws/apigateway/scratchpad-${stage}`],
      );
      for (const { QueryString } of parts) assert.equal(QueryString.match(/\| filter (.*) "/)[1], filter);
    }
  }
});

/** Values of a metric in each minute of a range. */
function each(
  metric: Omit<MetricValue, "at" | "value">,
  [from, to]: [number, number],
  ...values: number[]
): MetricValue[] {
  const minutes = Array.from({ length: to - from }, (_, index) => from + index);
  return minutes.flatMap((at) => values.map((value) => ({ ...metric, at, value })));
}

const own = (name: string, dimensions: Record<string, unknown>) => ({
  namespace: "Scratchpad",
  name,
  dimensions,
});
const repeated = (value: number, times: number) => Array.from({ length: times }, () => value);

/** The requests to a group of prod in each minute of a range: how many, how many of them are faults, and their latency in ms. */
function requests(group: string, range: [number, number], count: number, faults: number, latency = 20): MetricValue[] {
  const dimensions = { Stage: "prod", RouteGroup: group };
  return [
    ...each(own("Requests", dimensions), range, ...repeated(1, count)),
    ...each(own("Faults", dimensions), range, ...repeated(1, faults), ...repeated(0, count - faults)),
    ...each(own("Latency", dimensions), range, ...repeated(latency, count)),
  ];
}

// part: billing {
/** The runs of billing-reconcile, without which its alarm fires. */
const runs = (end: number) => each(own("Requests", { FunctionName: "scratchpad-prod-billing-reconcile" }), [0, end], 1);
// part: billing }

/** Evaluates prod's alarms. Returns the alarms that sent an e-mail when they fired, and the last e-mail. */
function notifications(metrics: MetricValue[], at: number) {
  const notifying = new Set(alarms("prod").flatMap(({ AlarmName, AlarmActions }) => (AlarmActions ? AlarmName : [])));
  const all = [
    ...metrics,
    ...runs(at), // part: billing
  ];
  const emails = evaluate(alarms("prod"), all, at).actions.filter(({ alarm }) => notifying.has(alarm));
  const fired = emails.flatMap(({ alarm, state }) => (state === "ALARM" ? alarm.replace("scratchpad-prod-", "") : []));
  return { fired: [...new Set(fired)], last: emails.at(-1) };
}

test("a group that answers with 5xx raises the alarm on its availability, and no other", () => {
  const healthy = [...requests("notes", [0, 10], 20, 0), ...requests("other", [0, 40], 20, 0)];
  const failing = [...healthy, ...requests("notes", [10, 20], 20, 10)];
  assert.deepEqual(notifications(failing, 20).fired, ["notes-availability"]);
  const recovered = [...failing, ...requests("notes", [20, 60], 20, 0)];
  assert.deepEqual(notifications(recovered, 60).last?.state, "OK");
});

test("a few faults do not raise an alarm: less than five, or fewer than the objective allows", () => {
  assert.deepEqual(
    notifications([...requests("notes", [0, 60], 1, 0), ...requests("notes", [60, 62], 2, 2)], 90).fired,
    [],
  );
  const rare = Array.from({ length: 12 }, (_, block) => [
    ...requests("notes", [block * 5, block * 5 + 4], 250, 0),
    ...requests("notes", [block * 5 + 4, block * 5 + 5], 250, 1),
  ]).flat();
  assert.deepEqual(notifications(rare, 60).fired, []);
});

test("a group that is slower than its objective raises the alarm on its latency, and no other", () => {
  const metrics = [...requests("notes", [0, 10], 20, 0), ...requests("notes", [10, 20], 20, 0, 1500)];
  assert.deepEqual(notifications(metrics, 20).fired, ["notes-latency"]);
});

test("a known cause of faults suppresses the alarms on their effects, also after its end", () => {
  const failing = [...requests("notes", [0, 10], 20, 0), ...requests("notes", [10, 30], 20, 10)];
  const throttles = {
    namespace: "AWS/DynamoDB",
    name: "WriteThrottleEvents",
    dimensions: { TableName: "scratchpad-prod-Notes" },
  };
  const metrics = [...failing, ...each(throttles, [10, 30], 3), ...requests("notes", [30, 90], 20, 0)];
  assert.deepEqual(notifications(metrics, 90).fired, ["Notes-throttles"]);
  // Faults that continue after the throttling have another cause.
  const others = [...failing, ...each(throttles, [10, 30], 3), ...requests("notes", [30, 90], 20, 10)];
  assert.deepEqual(notifications(others, 90).fired, ["Notes-throttles", "notes-availability"]);
});

// part: billing {
test("a missing run of billing-reconcile raises an alarm, and runs with errors raise one until a run has none", () => {
  const counted = (name: string, at: number, value: number) => each(own(name, { Stage: "prod" }), [at, at + 1], value);
  const dimensions = { FunctionName: "scratchpad-prod-billing-reconcile" };
  const run = (at: number) => each(own("Requests", dimensions), [at, at + 1], 1);
  const fired = (metrics: MetricValue[], at: number, name: string) =>
    evaluate(alarms("prod"), metrics, at).states[`scratchpad-prod-${name}`];
  const stopped = [...run(0), ...run(5), ...run(10)];
  assert.equal(fired(stopped, 20, "reconcile-stopped"), "OK");
  assert.equal(fired(stopped, 26, "reconcile-stopped"), "ALARM");
  assert.equal(fired([...stopped, ...run(30)], 32, "reconcile-stopped"), "OK");
  const counts = (at: number, errors: number, unreadable: number) => [
    ...counted("ReconcileErrors", at, errors),
    ...counted("UnreadablePurchases", at, unreadable),
  ];
  for (const failed of [counts(5, 2, 0), counts(5, 0, 1)]) {
    assert.equal(fired([...counts(0, 0, 0), ...failed], 9, "reconcile-errors"), "ALARM");
    assert.equal(fired([...failed, ...counts(10, 0, 0)], 12, "reconcile-errors"), "OK");
  }
  const old = [...run(0), ...counted("OldestPendingAge", 0, 6000)];
  assert.equal(fired(old, 4, "pending-purchases"), "ALARM");
  assert.equal(fired([...old, ...counted("OldestPendingAge", 5, 0)], 8, "pending-purchases"), "OK");
});
// part: billing }

/** The invocations of a version of a function in each minute of a range: how many, how many of them answer with 5xx or crash. */
function invocations(name: string, version: unknown, range: [number, number], count: number, faults = 0, crashes = 0) {
  const FunctionName = `scratchpad-prod-${name}`;
  const dimensions = { FunctionName, Version: version };
  const errors = {
    namespace: "AWS/Lambda",
    name: "Errors",
    dimensions: { FunctionName, Resource: `${FunctionName}:live`, ExecutedVersion: version },
  };
  return [
    ...each(own("Requests", dimensions), range, ...repeated(1, count - crashes)),
    ...each(own("Faults", dimensions), range, ...repeated(1, faults), ...repeated(0, count - crashes - faults)),
    ...each(errors, range, ...repeated(1, crashes), ...repeated(0, count - crashes)),
  ];
}

/** The new versions that are rolled back: CodeDeploy stops when the alarm of a function fires. */
function rolledBack(metrics: MetricValue[], at: number) {
  const { states } = evaluate(regressions, metrics, at);
  return Object.keys(states).flatMap((name) =>
    states[name] === "ALARM" ? name.replace("scratchpad-prod-", "").replace("-regression", "") : [],
  );
}

/** The version that an alarm judges: a function of CloudFormation that returns the number of the new version. */
const newVersion = (name: string) =>
  metricsOf(regressions.find(({ AlarmName }) => AlarmName === `scratchpad-prod-${name}-regression`))[0]!.dimensions
    .Version;

/** All routes of the API: each minute, 18 invocations of the old version of each function and 2 of the new one. */
const canary = (ofRoute: (name: string) => MetricValue[]) =>
  functions.filter(({ group }) => group).flatMap(({ name }) => ofRoute(name));

test("a release that answers 500 on one route is rolled back", () => {
  const metrics = canary((name) => [
    ...invocations(name, "7", [0, 5], 18),
    ...invocations(name, newVersion(name), [0, 5], 2, name === "notes-get" ? 2 : 0),
  ]);
  assert.deepEqual(rolledBack(metrics, 5), ["notes-get"]);
});

test("a release that crashes is rolled back", () => {
  const metrics = canary((name) => [
    ...invocations(name, "7", [0, 5], 18),
    ...invocations(name, newVersion(name), [0, 5], 2, 0, name === "notes-get" ? 1 : 0),
  ]);
  assert.deepEqual(rolledBack(metrics, 5), ["notes-get"]);
});

test("a release that fixes errors is not rolled back", () => {
  const metrics = canary((name) => [
    ...invocations(name, "7", [0, 5], 18, 9, 4),
    ...invocations(name, newVersion(name), [0, 5], 2),
  ]);
  assert.deepEqual(rolledBack(metrics, 5), []);
});

test("a release is not rolled back because of one response with 503, or of fewer faults than 5 percent", () => {
  const one = canary((name) => [
    ...invocations(name, "7", [0, 5], 18),
    ...invocations(name, newVersion(name), [0, 4], 2),
    ...invocations(name, newVersion(name), [4, 5], 2, 1),
  ]);
  assert.deepEqual(rolledBack(one, 5), []);
  const busy = invocations("notes-get", newVersion("notes-get"), [0, 5], 50, 2);
  assert.deepEqual(rolledBack(busy, 5), []);
});
