// Finds the row of the stage, and creates CloudFormation resources from tables of serverless.yml. Services include them under
// `custom.stage` and `resources`.

const shared = "file(../../serverless.yml)";
const pascalCase = (exports.pascalCase = (name) =>
  name.replace(/(?:^|[-_])(\w)([^-_]*)/g, (_, first, rest) => first.toUpperCase() + rest));
const kebabCase = (name) => name.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();

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

// The origin that may call the API. Until the stage's domain is delegated, the app has a domain of CloudFront, which is not
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
    Object.entries(rows).map(([ResponseType, [status, title]]) => [
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

// An AWS::CloudWatch::Alarm per row of `alarms` and applicable function, if the stage has alarms. The service that owns the API
// has the alarms of the API.
exports.alarms = async ({ resolveConfigurationProperty, resolveVariable }) => {
  const [rows, { alarms, traffic }, stage, functions, api] = await Promise.all([
    resolveVariable(`${shared}:alarms`),
    resolveVariable("self:custom.stage"),
    resolveVariable("sls:stage"),
    resolveConfigurationProperty(["functions"]),
    resolveConfigurationProperty(["custom", "apiGateway"]),
  ]);
  const settings = (name) => functions[name] ?? { events: [] }; // the API is not a function
  const routes = (name) => settings(name).events.flatMap(({ http }) => http ?? []);
  const streams = (name) => settings(name).events.flatMap(({ stream }) => stream ?? []);
  const ownsApi = !api && Object.keys(functions).some((name) => routes(name).length > 0);
  const applies = {
    ServerErrors: (name) => name === "api",
    RejectedEvents: (name) => routes(name).some(({ authorizer }) => !authorizer),
    Lag: (name) => streams(name).length > 0,
    Regression: (name) => name in functions && shiftsTraffic(traffic),
    DeadLetters: (name) =>
      "DEAD_LETTER_QUEUE" in (settings(name).environment ?? {}) ||
      [settings(name), ...streams(name)].some(({ destinations }) => destinations?.onFailure),
  };
  const dimensions = {
    "AWS/ApiGateway": () => ({ ApiName: `scratchpad-${stage}`, Stage: stage }),
    Scratchpad: (name) => ({ FunctionName: `scratchpad-${stage}-${name}` }),
    "AWS/Lambda": (name) => ({ FunctionName: `scratchpad-${stage}-${name}` }),
    "AWS/SQS": (name) => ({ QueueName: `scratchpad-${stage}-${name}-dead-letters` }),
  };
  // While an alias splits traffic, Lambda also reports metrics per version:
  // https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
  const newVersionDimensions = {
    Regression: (name) => ({
      Resource: `scratchpad-${stage}-${name}:live`,
      ExecutedVersion: { "Fn::GetAtt": [`${pascalCase(name)}Version`, "Version"] },
    }),
  };
  const actions = [{ "Fn::ImportValue": `scratchpad-${stage}-AlarmsTopicArn` }];
  const alarm = (name, kind, row) => [
    `${pascalCase(name)}${kind}Alarm`,
    {
      Type: "AWS::CloudWatch::Alarm",
      Properties: {
        ...row,
        AlarmName: `scratchpad-${stage}-${name}-${kebabCase(kind)}`,
        Dimensions: Object.entries({
          ...dimensions[row.Namespace](name),
          ...newVersionDimensions[kind]?.(name),
        }).map(([Name, Value]) => ({ Name, Value })),
        ComparisonOperator: "GreaterThanOrEqualToThreshold",
        Period: 60,
        TreatMissingData: "notBreaching",
        AlarmActions: actions,
        OKActions: actions,
      },
    },
  ];
  const all = [...Object.keys(functions), ...(ownsApi ? ["api"] : [])].flatMap((name) =>
    Object.entries(rows).flatMap(([kind, { except, ...row }]) => {
      const Threshold = except && name in except ? except[name] : row.Threshold;
      const isWanted = Threshold !== null && (applies[kind]?.(name) ?? name in functions);
      return isWanted ? [alarm(name, kind, { ...row, Threshold })] : [];
    }),
  );
  return { Resources: Object.fromEntries(alarms ? all : []) };
};
