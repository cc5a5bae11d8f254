// Finds the row of the stage, and creates CloudFormation resources from tables of serverless.yml. Services include them under
// `custom.stage` and `resources`.

const metrics = require("./libs/metrics/metrics.json");

const shared = "file(../../serverless.yml)";
const pascalCase = (exports.pascalCase = (name) =>
  name.replace(/(?:^|[-_])(\w)([^-_]*)/g, (_, first, rest) => first.toUpperCase() + rest));

// The row of the stage, as in infrastructure/lib/stage.ts, with the name of its permissions boundary.
exports.stage = async ({ resolveVariable }) => {
  const [stage, rows] = await Promise.all(["sls:stage", `${shared}:stages`].map((name) => resolveVariable(name)));
  const row = rowOf(stage, Object.keys(rows));
  return { ...rows[row], boundary: `scratchpad-boundary-${row.replace(/-\*$/, "")}` };
};
const rowOf = (stage, rows) => {
  if (rows.includes(stage)) return stage;
  const [confused] = rows.filter((row) =>
    row.endsWith("*")
      ? `${stage}-*` === row || stage.includes(`-${row.slice(0, -1)}`)
      : stage.startsWith(`${row}-`) || stage.endsWith(`-${row}`),
  );
  if (confused)
    throw new Error(`A stage cannot be named ${stage}: IAM policies for stages ${confused} would apply to it`);
  return rows.find((row) => row.endsWith("*") && stage.startsWith(row.slice(0, -1))) ?? "ephemeral";
};

// Whether traffic shifts gradually to a new version, by the column `traffic` of the stage.
const shiftsTraffic = (exports.shiftsTraffic = (traffic) => Boolean(traffic) && traffic !== "AllAtOnce");

// The origin that may call the API. Until the stage's domain is delegated, the app has another domain, which is not
// known here.
exports.allowedOrigin = async ({ resolveVariable }) => {
  const { domain, delegated, allowedOrigin } = await resolveVariable("self:custom.stage");
  return domain && !delegated ? "*" : allowedOrigin;
};

// An AWS::ApiGateway::GatewayResponse per row of `gatewayResponses`: a problem (RFC 9457) with CORS headers.
exports.gatewayResponses = async ({ resolveVariable }) => {
  const [rows, { origin }, exposedHeaders] = await Promise.all(
    ["gatewayResponses", "cors", "exposedHeaders"].map((table) => resolveVariable(`${shared}:${table}`)),
  );
  const Resources = Object.fromEntries(
    Object.entries(rows).map(([ResponseType, [status, title, retryAfter]]) => [
      `GatewayResponse${pascalCase(ResponseType.toLowerCase())}`,
      {
        Type: "AWS::ApiGateway::GatewayResponse",
        Properties: {
          RestApiId: { Ref: "ApiGatewayRestApi" },
          ResponseType,
          StatusCode: String(status),
          ResponseParameters: {
            "gatewayresponse.header.Access-Control-Allow-Origin": `'${origin}'`,
            "gatewayresponse.header.Access-Control-Expose-Headers": `'${exposedHeaders.join(",")}'`,
            "gatewayresponse.header.Content-Type": "'application/problem+json'",
            ...(retryAfter && { "gatewayresponse.header.Retry-After": `'${retryAfter}'` }),
          },
          ResponseTemplates: {
            // messageString is quoted and escaped. The detail of a server error does not reveal internals.
            "application/json":
              `{"type":"about:blank","title":"${title}","status":${status},` +
              (status < 500
                ? `"detail":$context.error.messageString,`
                : `"detail":"The request could not be handled.",`) +
              `"requestId":"$context.requestId"}`,
          },
        },
      },
    ]),
  );
  // An API deployment contains only the responses that exist when it is created. It depends on the methods, so one
  // method depends on the responses.
  const extensions = { ApiGatewayMethodNotesOptions: { DependsOn: Object.keys(Resources) } };
  return { Resources, extensions };
};

// The group of a service's routes, whose requests have objectives together: the prefix of the service's functions, which is the
// name of the service's folder without its last word.
exports.routeGroup = async ({ resolveVariable }) => (await resolveVariable("self:custom.unit")).replace(/-[^-]*$/, "");

// An alarm per function that CodeDeploy watches while it shifts traffic to a new version. It judges the new version alone, so
// errors of the old version do not block a new version that fixes them, and by its responses: Lambda does not count a 5xx response
// as an error. Lambda reports metrics per version while an alias splits traffic:
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
exports.regressionAlarms = async ({ resolveConfigurationProperty, resolveVariable }) => {
  const [{ regression }, { traffic }, stage, functions] = await Promise.all([
    resolveVariable(`${shared}:alarms`),
    resolveVariable("self:custom.stage"),
    resolveVariable("sls:stage"),
    resolveConfigurationProperty(["functions"]),
  ]);
  if (!shiftsTraffic(traffic)) return { Resources: {} };
  const actions = [{ "Fn::ImportValue": `scratchpad-${stage}-AlarmsTopicArn` }];
  const alarm = (name) => {
    const FunctionName = `scratchpad-${stage}-${name}`;
    const Version = { "Fn::GetAtt": [`${pascalCase(name)}Version`, "Version"] };
    const metric = (Id, Namespace, MetricName, dimensions) => ({
      Id,
      MetricStat: {
        Metric: {
          Namespace,
          MetricName,
          Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
        },
        Period: regression.minutes * 60,
        Stat: "Sum",
      },
      ReturnData: false,
    });
    const crashes = { FunctionName, Resource: `${FunctionName}:live`, ExecutedVersion: Version };
    return {
      Type: "AWS::CloudWatch::Alarm",
      Properties: {
        AlarmName: `${FunctionName}-regression`,
        AlarmDescription: `The new version of ${name} fails: it was rolled back. See docs/runbook.md#regression`,
        Metrics: [
          metric("requests", namespace, metricName("Requests"), { FunctionName, Version }),
          metric("faults", namespace, metricName("Faults"), { FunctionName, Version }),
          metric("crashes", "AWS/Lambda", "Errors", crashes), // a crashed invocation writes no line with metrics
          { Id: "bad", Expression: "SUM([FILL(faults, 0), FILL(crashes, 0)])", ReturnData: false },
          { Id: "all", Expression: "SUM([FILL(requests, 0), FILL(crashes, 0)])", ReturnData: false },
          {
            Id: "regression",
            Expression: `IF(bad >= ${regression.threshold} AND bad * 100 > all * ${regression.percent}, 1, 0)`,
            Label: "Whether the new version fails",
            ReturnData: true,
          },
        ],
        ComparisonOperator: "GreaterThanOrEqualToThreshold",
        Threshold: 1,
        EvaluationPeriods: regression.periods,
        TreatMissingData: "notBreaching",
        AlarmActions: actions,
        OKActions: actions,
      },
    };
  };
  const alarms = Object.keys(functions).map((name) => [`${pascalCase(name)}RegressionAlarm`, alarm(name)]);
  return { Resources: Object.fromEntries(alarms) };
};

// The metrics that functions write to their logs: libs/metrics/metrics.json.
const namespace = "Scratchpad";
const metricName = (name) => {
  if (!(name in metrics)) throw new Error(`libs/metrics/metrics.json has no metric ${name}`);
  return name;
};
