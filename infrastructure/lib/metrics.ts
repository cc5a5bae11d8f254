import table from "../../libs/metrics/metrics.json" with { type: "json" };

/** The name of a metric that functions write to their logs: a row of libs/metrics/metrics.json, from which Rust's enum is generated. */
export type MetricName = keyof typeof table;

/** The namespace of these metrics. */
export const namespace = "Scratchpad";

/** A metric of CloudWatch with its exact dimensions, and the statistic that combines its values. */
export interface Metric {
  namespace: string;
  name: string;
  dimensions: Record<string, string>;
  /** Such as `Sum`, `p99` or `PR(:1000)`: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html */
  stat: string;
}

const own = (name: MetricName, scope: string, dimensions: Record<string, string>, stat: string): Metric => {
  if (table[name].scope !== scope) throw new Error(`The metric ${name} does not have the dimensions of scope ${scope}`);
  return { namespace, name, dimensions, stat };
};

/** A metric of the requests to the routes of a group. */
export const ofGroup = (name: MetricName, stage: string, group: string, stat = "Sum") =>
  own(name, "invocation", { Stage: stage, RouteGroup: group }, stat);

/** A metric of the invocations of a function, whose name contains its stage. */
export const ofFunction = (name: MetricName, functionName: string, stat = "Sum") =>
  own(name, "invocation", { FunctionName: functionName }, stat);

/** The faults of all functions with routes. */
export const faultsOfRoutes = (stage: string) => own("Faults", "invocation", { Stage: stage }, "Sum");

/** A business metric of a stage. */
export const ofStage = (name: MetricName, stage: string, stat = "Sum") => own(name, "stage", { Stage: stage }, stat);

/** A metric that an AWS service publishes. */
export const ofAws = (service: string, name: string, dimensions: Record<string, string>, stat = "Sum"): Metric => ({
  namespace: `AWS/${service}`,
  name,
  dimensions,
  stat,
});
