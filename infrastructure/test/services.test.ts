import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { BoundaryStack } from "../lib/account/boundary-stack.ts";
import { accountNamed } from "../lib/account.ts";
import { readServices } from "../lib/manifests.ts";
import { rowOf, stageTable } from "../lib/stage.ts";
import { functionsOf, packageService, services } from "./services.ts";

/** The resources of each service on a stage. */
const resources = async (stage: string, environment = {}, names = services) =>
  (await Promise.all(names.map((service) => packageService(service, stage, environment)))).map(
    ({ Resources }) => Resources,
  );
const prod = await resources("prod");
const dev = await resources("dev");
const linked = await resources("feature-1", { SCRATCHPAD_INFRASTRUCTURE: "dev" });
const prodInLocalCloud = await resources("prod", { SCRATCHPAD_TRAFFIC: "AllAtOnce" }, ["notes-api"]);

/** The resources of one type in the services of a stage. Fails if there are none, because the test would check nothing. */
function all(stage: any[], type: string): any[] {
  const found = ofType(stage, type);
  assert.notEqual(found.length, 0, `there is no ${type}`);
  return found;
}
const ofType = (stage: any[], type: string) =>
  stage.flatMap((service) => Object.values<any>(service)).filter(({ Type }) => Type === type);

const functions = services.flatMap(functionsOf);

// part: billing {
test("a record of the stream of purchases fails alone, and expires before the stream's retention ends", () => {
  for (const stage of [dev, prod]) {
    const [{ Properties }] = all(stage, "AWS::Lambda::EventSourceMapping");
    assert.deepEqual(Properties.FunctionResponseTypes, ["ReportBatchItemFailures"]);
    assert.equal(Properties.MaximumRecordAgeInSeconds, 6 * 60 * 60);
  }
});
// part: billing }

test("services have only the alarms that judge new versions, on stages that shift traffic", () => {
  for (const stage of [dev, linked, prodInLocalCloud]) assert.deepEqual(ofType(stage, "AWS::CloudWatch::Alarm"), []);
  assert.deepEqual(
    all(prod, "AWS::CloudWatch::Alarm")
      .map(({ Properties }) => Properties.AlarmName)
      .sort(),
    functions.map((name) => `scratchpad-prod-${name}-regression`).sort(),
  );
});

test("on prod new code receives 10 percent of the traffic for five minutes, and is rolled back on an alarm", () => {
  const groups = all(prod, "AWS::CodeDeploy::DeploymentGroup").map(({ Properties }) => Properties);
  assert.deepEqual(
    groups.map((group) => group.DeploymentGroupName).sort(),
    functions.map((name) => `scratchpad-prod-${name}`).sort(),
  );
  for (const group of groups) {
    assert.equal(group.DeploymentConfigName, "CodeDeployDefault.LambdaCanary10Percent5Minutes");
    assert.deepEqual(group.DeploymentStyle, { DeploymentType: "BLUE_GREEN", DeploymentOption: "WITH_TRAFFIC_CONTROL" });
    assert.ok(group.AutoRollbackConfiguration.Enabled && group.AlarmConfiguration.Enabled);
    assert.ok(group.AutoRollbackConfiguration.Events.includes("DEPLOYMENT_STOP_ON_ALARM"));
  }
});

test("the rollback alarm counts only the responses and crashes of the new version", () => {
  for (const own of prod)
    for (const { Properties, UpdatePolicy } of all([own], "AWS::Lambda::Alias")) {
      const shift = UpdatePolicy.CodeDeployLambdaAliasUpdate;
      assert.equal(own[shift.ApplicationName.Ref].Properties.ComputePlatform, "Lambda");
      const [{ Name }] = own[shift.DeploymentGroupName.Ref].Properties.AlarmConfiguration.Alarms;
      const name = own[Properties.FunctionName.Ref].Properties.FunctionName;
      const stats = own[Name.Ref].Properties.Metrics.flatMap(({ MetricStat }: any) => MetricStat?.Metric ?? []);
      const version = Properties.FunctionVersion;
      assert.deepEqual(
        stats.map(({ Namespace, MetricName, Dimensions }: any) => [
          Namespace,
          MetricName,
          Object.fromEntries(Dimensions.map(({ Name, Value }: any) => [Name, Value])),
        ]),
        [
          ["Scratchpad", "Requests", { FunctionName: name, Version: version }],
          ["Scratchpad", "Faults", { FunctionName: name, Version: version }],
          ["AWS/Lambda", "Errors", { FunctionName: name, Resource: `${name}:live`, ExecutedVersion: version }],
        ],
      );
      const [id] = version["Fn::GetAtt"];
      assert.deepEqual(own[id], {
        Type: "AWS::Lambda::Version",
        Properties: { FunctionName: Properties.FunctionName },
      });
    }
});

/** The part of a resource's properties that refers to the function it invokes, by resource type. */
const invocationTargets: Record<string, (properties: any) => unknown> = {
  "AWS::ApiGateway::Method": ({ Integration }) => (Integration.Type === "AWS_PROXY" ? Integration.Uri : undefined),
  "AWS::Events::Rule": ({ Targets }) => Targets,
  "AWS::Lambda::EventInvokeConfig": ({ Qualifier }) => `:${Qualifier}`,
  "AWS::Lambda::EventSourceMapping": ({ FunctionName }) => FunctionName, // part: billing
  "AWS::Lambda::Permission": ({ FunctionName }) => FunctionName,
  "AWS::SNS::Subscription": ({ Endpoint }) => Endpoint, // part: billing
};

test("on prod every trigger invokes the alias and is permitted to do so", () => {
  for (const [type, targetOf] of Object.entries(invocationTargets))
    for (const { Properties } of all(prod, type)) {
      const target = targetOf(Properties);
      if (target !== undefined) assert.match(JSON.stringify(target), /live/, type);
    }
  const permissions = all(prod, "AWS::Lambda::Permission").map(({ DependsOn }) => DependsOn);
  const streams = prod
    .flatMap((own) => Object.values<any>(own))
    .filter(({ Type }) => Type === "AWS::Lambda::EventSourceMapping")
    .flatMap(({ DependsOn }) => DependsOn);
  assert.deepEqual(
    [...permissions, ...streams].sort(),
    prod.flatMap((own) => Object.keys(own).filter((id) => own[id].Type === "AWS::Lambda::Alias")).sort(),
  );
});

test("dev, a linked stage, and prod in a local cloud do not shift traffic", () => {
  for (const stage of [dev, linked, prodInLocalCloud]) {
    for (const type of [
      "AWS::CodeDeploy::Application",
      "AWS::CodeDeploy::DeploymentGroup",
      "AWS::Lambda::Alias",
      "AWS::Lambda::Version",
    ])
      assert.deepEqual(ofType(stage, type), []);
    assert.doesNotMatch(JSON.stringify(stage), /"live"|:live/);
    assert.ok(all(stage, "AWS::Lambda::Permission").every(({ DependsOn }) => DependsOn === undefined));
  }
});

test("every role has the permissions boundary, and the boundary allows all of its actions", () => {
  for (const [stage, account, name] of [
    [dev, "dev", "scratchpad-boundary-dev"],
    [prod, "prod", "scratchpad-boundary-prod"],
    [linked, "dev", "scratchpad-boundary-ephemeral"],
  ] as const) {
    const app = new App({ builtinCloudFormationValidation: false });
    const boundaries = Template.fromStack(new BoundaryStack(app, accountNamed(account)));
    const policies = Object.values(boundaries.findResources("AWS::IAM::ManagedPolicy"));
    const { PolicyDocument } = policies.find(({ Properties }) => Properties.ManagedPolicyName === name)!.Properties;
    const allowedActions = new Set(PolicyDocument.Statement.flatMap(({ Action }: any) => Action));
    for (const { Properties } of all(stage, "AWS::IAM::Role").filter(({ Condition }) => Condition !== "Never")) {
      assert.match(JSON.stringify(Properties.PermissionsBoundary), new RegExp(`policy/${name}"`));
      for (const { PolicyDocument } of Properties.Policies ?? [])
        for (const { Action } of PolicyDocument.Statement)
          for (const action of [Action].flat()) assert.ok(allowedActions.has(action), action);
    }
  }
});

test("no function may scan a table", () => {
  for (const stage of [dev, prod])
    for (const { Properties } of all(stage, "AWS::IAM::Role"))
      for (const { PolicyDocument } of Properties.Policies ?? [])
        for (const { Action } of PolicyDocument.Statement)
          for (const action of [Action].flat()) assert.doesNotMatch(action, /^(\*|dynamodb:(\*|Scan|PartiQL.*))$/);
});

test("API requests are traced: the API's stage is a resource of its own, in the service that owns the API", () => {
  for (const [name, stage] of Object.entries({ dev, prod })) {
    const [owner, ...others] = stage.filter((own) => ofType([own], "AWS::ApiGateway::RestApi").length > 0);
    assert.equal(others.length, 0);
    const [{ Properties }, ...otherStages] = all(stage, "AWS::ApiGateway::Stage");
    assert.equal(otherStages.length, 0);
    const { RestApiId, StageName, DeploymentId, TracingEnabled } = Properties;
    assert.deepEqual(
      [RestApiId, StageName, DeploymentId, TracingEnabled],
      [{ Ref: "ApiGatewayRestApi" }, name, { Ref: "ApiGatewayDeployment" }, true],
    );
    assert.deepEqual(owner.ApiGatewayDeployment.Properties, { RestApiId: { Ref: "ApiGatewayRestApi" } });
  }
});

test("the access log has the request, its route, status and latencies, but no body and nobody's identity", () => {
  for (const [name, stage] of Object.entries({ dev, prod })) {
    const [{ Properties }] = all(stage, "AWS::ApiGateway::Stage");
    const { DestinationArn, Format } = Properties.AccessLogSetting;
    const [owner] = stage.filter((own) => own.ApiGatewayStage);
    assert.equal(owner[DestinationArn["Fn::GetAtt"][0]].Properties.LogGroupName, `/aws/apigateway/scratchpad-${name}`);
    const format = JSON.parse(Format);
    assert.deepEqual(Object.keys(format), [
      "request_id",
      "aws_request_id",
      "trace_id",
      "time",
      "method",
      "route",
      "status",
      "latency_ms",
      "integration_latency_ms",
      "integration_status",
      "error",
    ]);
    assert.equal(format.request_id, "$context.requestId");
    assert.doesNotMatch(Format, /identity|authorizer|body|messageString|path"|\.path\b/);
  }
});

test("each method of the API has the limit of its row, or else the default limit of the stage", () => {
  for (const [name, stage] of Object.entries({ dev, prod, "feature-1": linked })) {
    const { throttling } = stageTable()[rowOf(name, Object.keys(stageTable()))] as any;
    const paths: Record<string, string> = {
      "POST notes/attachments": "/~1notes~1attachments",
      "POST billing": "/~1billing", // part: billing
      "POST billing/webhook": "/~1billing~1webhook", // part: billing
    };
    const [{ Properties }] = all(stage, "AWS::ApiGateway::Stage");
    const { default: all_, ...methods } = throttling;
    assert.deepEqual(
      Properties.MethodSettings,
      [["* *", all_] as const, ...Object.entries<any>(methods)].map(([route, { rate, burst }]) => ({
        ResourcePath: paths[route] ?? "/*",
        HttpMethod: route.split(" ")[0],
        ThrottlingRateLimit: rate,
        ThrottlingBurstLimit: burst,
      })),
    );
  }
});

test("every limit of a stage is for a route of the API", () => {
  const routes = new Set(readServices().flatMap(({ functions }) => functions.flatMap(({ routes }) => routes)));
  for (const [row, { throttling }] of Object.entries<any>(stageTable()))
    for (const route of Object.keys(throttling))
      assert.ok(route === "default" || routes.has(route), `${row}: ${route}`);
});

test("a request above a limit gets a problem with status 429 that says when to try again", () => {
  for (const type of ["THROTTLED", "QUOTA_EXCEEDED", "WAF_FILTERED"]) {
    const found = all(dev, "AWS::ApiGateway::GatewayResponse").filter(
      ({ Properties }) => Properties.ResponseType === type,
    );
    assert.equal(found.length, 1);
    const { StatusCode, ResponseParameters, ResponseTemplates } = found[0].Properties;
    assert.equal(StatusCode, "429");
    assert.match(ResponseParameters["gatewayresponse.header.Retry-After"], /^'\d+'$/);
    assert.equal(ResponseParameters["gatewayresponse.header.Content-Type"], "'application/problem+json'");
    assert.match(ResponseTemplates["application/json"], /"status":429/);
  }
});

// part: billing {
test("only stages whose row says so limit the concurrency of the webhook, and of no other function", () => {
  const limited = (stage: any[]) =>
    all(stage, "AWS::Lambda::Function")
      .filter(({ Properties }) => Properties.ReservedConcurrentExecutions !== undefined)
      .map(({ Properties }) => [Properties.FunctionName, Properties.ReservedConcurrentExecutions]);
  assert.deepEqual(limited(prod), [["scratchpad-prod-billing-webhook", 10]]);
  for (const stage of [dev, linked]) assert.deepEqual(limited(stage), []);
});
// part: billing }

/** The group of the routes of each function that has routes. */
const groups = new Map(
  readServices().flatMap((service) => service.functions.flatMap(({ name, group }) => (group ? [[name, group]] : []))),
);

test("every function knows its stage, the group of its routes, and the key of the hashes of users", () => {
  for (const [name, stage, owner] of [
    ["prod", prod, "prod"],
    ["feature-1", linked, "dev"], // the users are those of dev
  ] as const)
    for (const { Properties } of all(stage, "AWS::Lambda::Function")) {
      const { STAGE, ROUTE_GROUP, USER_HASH_KEY } = Properties.Environment.Variables;
      const own = Properties.FunctionName.replace(`scratchpad-${name}-`, "");
      const group = groups.get(own) ?? ROUTE_GROUP; // a function without a route ignores it
      assert.deepEqual([STAGE, ROUTE_GROUP], [name, group], own);
      assert.deepEqual(USER_HASH_KEY, { "Fn::ImportValue": `scratchpad-${owner}-UserHashKey` });
    }
});

// CloudFormation refuses a StageDescription in a new deployment of an existing stage, so the second deployment would fail.
test("a deployment of an API does not configure the API's stage", () => {
  for (const { Properties } of all([...dev, ...prod, ...linked], "AWS::ApiGateway::Deployment"))
    assert.equal(Properties.StageDescription, undefined);
});

test("only the service that owns the API has a deployment of it: xtask deploys the API after all stacks", () => {
  for (const own of [...dev, ...prod, ...linked]) {
    const owned = Object.values<any>(own).filter(({ Type }) => Type === "AWS::ApiGateway::RestApi").length;
    const deployments = Object.values<any>(own).filter(({ Type }) => Type === "AWS::ApiGateway::Deployment");
    assert.equal(deployments.length, owned);
  }
});

test("no resource of a service is retained if its creation fails", () => {
  for (const own of [...dev, ...prod])
    for (const { Type, DeletionPolicy } of Object.values<any>(own)) assert.notEqual(DeletionPolicy, "Retain", Type);
});

test("an API has no resource policy, because changing it needs a permission of its own", () => {
  for (const { Properties } of all([...dev, ...prod], "AWS::ApiGateway::RestApi"))
    assert.equal(Properties.Policy, undefined);
});

test("a stage that links to dev's infrastructure does not process dev's data", () => {
  for (const { Properties } of all(linked, "AWS::Events::Rule")) assert.equal(Properties.State, "DISABLED");
  for (const { Properties } of ofType(linked, "AWS::Lambda::EventSourceMapping"))
    assert.equal(Properties.Enabled, false);
  for (const { Properties } of all([...dev, ...prod], "AWS::Events::Rule")) assert.equal(Properties.State, "ENABLED");
});

test("the functions of a stage with a limit of free notes get the number of the stage's row", () => {
  for (const stage of [dev, prod, linked])
    for (const name of ["notes-create", "notes-storage"]) {
      const own = all(stage, "AWS::Lambda::Function").find(({ Properties }) => Properties.FunctionName.endsWith(name));
      assert.equal(own.Properties.Environment.Variables.FREE_NOTES, "100");
    }
});

test("every origin may call the API until the stage's domain is delegated", async () => {
  const { allowedOrigin } = createRequire(import.meta.url)("../../serverless.resources.cjs");
  const originOf = (row: object) => allowedOrigin({ resolveVariable: async () => row });
  const own = { allowedOrigin: "https://a.example", domain: "a.example" };
  assert.equal(await originOf(own), "*");
  assert.equal(await originOf({ ...own, delegated: true }), "https://a.example");
  assert.equal(await originOf({ allowedOrigin: "https://b.example" }), "https://b.example");
  for (const { Properties } of all([...dev, ...prod], "AWS::Lambda::Function"))
    assert.equal(Properties.Environment.Variables.ALLOWED_ORIGIN, "*");
});
