// Turns tables of serverless.yml into CloudFormation resources, for services to list under `resources`.

const shared = "file(../../serverless.yml)";
const pascalCase = (exports.pascalCase = (name) =>
  name.replace(/(?:^|[-_])(\w)([^-_]*)/g, (_, first, rest) => first.toUpperCase() + rest));
const kebabCase = (name) => name.replace(/(?<=[a-z])(?=[A-Z])/g, "-").toLowerCase();

// Whether calls come to new code bit by bit, by the stage's row.
const shifts = (exports.shifts = (traffic) => Boolean(traffic) && traffic !== "AllAtOnce");

// An AWS::ApiGateway::GatewayResponse per row of `gatewayResponses`: a problem (RFC 9457) that a browser may read.
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
            // messageString comes with its quotes, and escaped; a server's error says nothing of the inside
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
  // A deployment freezes the responses that exist by then, and waits for its methods: let one of these wait for them.
  const extensions = { ApiGatewayMethodNotesOptions: { DependsOn: Object.keys(Resources) } };
  return { Resources, extensions };
};

// An AWS::CloudWatch::Alarm per row of `alarms` and function it fits, where the stage's row names whom to tell.
exports.alarms = async ({ resolveConfigurationProperty, resolveVariable }) => {
  const [rows, { alarms, traffic }, stage, functions] = await Promise.all([
    resolveVariable(`${shared}:alarms`),
    resolveVariable("self:custom.stage"),
    resolveVariable("sls:stage"),
    resolveConfigurationProperty(["functions"]),
  ]);
  const streams = (name) => functions[name].events.flatMap(({ stream }) => stream ?? []);
  const fits = {
    Lag: (name) => streams(name).length > 0,
    Regression: () => shifts(traffic),
    DeadLetters: (name) => [functions[name], ...streams(name)].some(({ destinations }) => destinations?.onFailure),
  };
  const dimensions = {
    "AWS/Lambda": (name) => ({ FunctionName: `scratchpad-${stage}-${name}` }),
    "AWS/SQS": (name) => ({ QueueName: `scratchpad-${stage}-${name}-dead-letters` }),
  };
  // While an alias shares its calls out, Lambda counts by version as well:
  // https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
  const ofNewCode = {
    Regression: (name) => ({
      Resource: `scratchpad-${stage}-${name}:live`,
      ExecutedVersion: { "Fn::GetAtt": [`${pascalCase(name)}Version`, "Version"] },
    }),
  };
  const told = [{ "Fn::ImportValue": `scratchpad-${stage}-AlarmsTopicArn` }];
  const alarm = (name, kind, row) => [
    `${pascalCase(name)}${kind}Alarm`,
    {
      Type: "AWS::CloudWatch::Alarm",
      Properties: {
        ...row,
        AlarmName: `scratchpad-${stage}-${name}-${kebabCase(kind)}`,
        Dimensions: Object.entries({ ...dimensions[row.Namespace](name), ...ofNewCode[kind]?.(name) }).map(
          ([Name, Value]) => ({
            Name,
            Value,
          }),
        ),
        ComparisonOperator: "GreaterThanOrEqualToThreshold",
        Period: 60,
        TreatMissingData: "notBreaching",
        AlarmActions: told,
        OKActions: told,
      },
    },
  ];
  const all = Object.keys(functions).flatMap((name) =>
    Object.entries(rows).flatMap(([kind, { except, ...row }]) => {
      const Threshold = except && name in except ? except[name] : row.Threshold;
      const wanted = Threshold !== null && (fits[kind]?.(name) ?? true);
      return wanted ? [alarm(name, kind, { ...row, Threshold })] : [];
    }),
  );
  return { Resources: Object.fromEntries(alarms ? all : []) };
};
