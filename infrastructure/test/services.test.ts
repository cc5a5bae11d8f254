import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { BoundaryStack } from "../lib/account/boundary-stack.ts";
import { accountNamed } from "../lib/account.ts";
import { functionsOf, packageService, services } from "./services.ts";

/** The resources of each service on a stage. */
const resources = async (stage: string, environment = {}, names = services) =>
  (await Promise.all(names.map((service) => packageService(service, stage, environment)))).map(
    ({ Resources }) => Resources,
  );
const prod = await resources("prod");
const dev = await resources("dev");
const linked = await resources("feature-1", { SCRATCHPAD_INFRASTRUCTURE: "dev" });
const prodInLocalCloud = await resources("prod", { SCRATCHPAD_TRAFFIC: "AllAtOnce" }, ["billing-api"]);

/** The resources of one type in the services of a stage. Fails if there are none, because the test would check nothing. */
function all(stage: any[], type: string): any[] {
  const found = ofType(stage, type);
  assert.notEqual(found.length, 0, `there is no ${type}`);
  return found;
}
const ofType = (stage: any[], type: string) =>
  stage.flatMap((service) => Object.values<any>(service)).filter(({ Type }) => Type === type);

const functions = services.flatMap(functionsOf);

test("every alarm notifies the stage's topic when it fires and when it ends", () => {
  for (const [name, stage] of Object.entries({ dev, prod })) {
    const topic = [{ "Fn::ImportValue": `scratchpad-${name}-AlarmsTopicArn` }];
    const alarms = all(stage, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    for (const { AlarmActions, OKActions } of alarms) assert.deepEqual([AlarmActions, OKActions], [topic, topic]);
    const names = new Set(alarms.map(({ AlarmName }) => AlarmName));
    for (const functionName of functions)
      for (const kind of ["errors", "throttles"]) assert.ok(names.has(`scratchpad-${name}-${functionName}-${kind}`));
  }
});

test("every dead-letter queue has an alarm", () => {
  for (const stage of [dev, prod]) {
    const alarms = all(stage, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    for (const { Properties } of all(stage, "AWS::SQS::Queue")) {
      const [alarm] = alarms.filter(({ Dimensions }) =>
        Dimensions.some(({ Value }: any) => Value === Properties.QueueName),
      );
      assert.ok(alarm, Properties.QueueName);
      const { Namespace, MetricName, Threshold } = alarm;
      assert.deepEqual(
        [Namespace, MetricName, Threshold],
        ["AWS/SQS", "ApproximateNumberOfMessagesVisible", 1],
        Properties.QueueName,
      );
    }
  }
});

test("the API has an alarm on server errors, and the webhook has one on events whose signature does not match", () => {
  for (const [name, stage] of Object.entries({ dev, prod })) {
    const alarms = all(stage, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    const of = (metric: string) =>
      alarms
        .filter(({ MetricName }) => MetricName === metric)
        .map(({ Namespace, Dimensions }) => [Namespace, Dimensions]);
    assert.deepEqual(of("5XXError"), [
      [
        "AWS/ApiGateway",
        [
          { Name: "ApiName", Value: `scratchpad-${name}` },
          { Name: "Stage", Value: name },
        ],
      ],
    ]);
    assert.deepEqual(of("RejectedEvents"), [
      ["Scratchpad", [{ Name: "FunctionName", Value: `scratchpad-${name}-billing-webhook` }]],
    ]);
  }
});

test("a record of the stream of purchases fails alone, and expires before the stream's retention ends", () => {
  for (const stage of [dev, prod]) {
    const [{ Properties }] = all(stage, "AWS::Lambda::EventSourceMapping");
    assert.deepEqual(Properties.FunctionResponseTypes, ["ReportBatchItemFailures"]);
    assert.equal(Properties.MaximumRecordAgeInSeconds, 6 * 60 * 60);
  }
});

test("a stage without a row has no alarms", () => {
  assert.deepEqual(ofType(linked, "AWS::CloudWatch::Alarm"), []);
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

test("the rollback alarm counts only the errors of the new version", () => {
  for (const own of prod)
    for (const { Properties, UpdatePolicy } of all([own], "AWS::Lambda::Alias")) {
      const shift = UpdatePolicy.CodeDeployLambdaAliasUpdate;
      assert.equal(own[shift.ApplicationName.Ref].Properties.ComputePlatform, "Lambda");
      const [{ Name }] = own[shift.DeploymentGroupName.Ref].Properties.AlarmConfiguration.Alarms;
      const { MetricName, Dimensions } = own[Name.Ref].Properties;
      const name = own[Properties.FunctionName.Ref].Properties.FunctionName;
      assert.deepEqual(
        [MetricName, Object.fromEntries(Dimensions.map(({ Name, Value }: any) => [Name, Value]))],
        ["Errors", { FunctionName: name, Resource: `${name}:live`, ExecutedVersion: Properties.FunctionVersion }],
      );
      const [version] = Properties.FunctionVersion["Fn::GetAtt"];
      assert.deepEqual(own[version], {
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
  "AWS::Lambda::EventSourceMapping": ({ FunctionName }) => FunctionName,
  "AWS::Lambda::Permission": ({ FunctionName }) => FunctionName,
  "AWS::SNS::Subscription": ({ Endpoint }) => Endpoint,
};

test("on prod every trigger invokes the alias and is permitted to do so", () => {
  for (const [type, targetOf] of Object.entries(invocationTargets))
    for (const { Properties } of all(prod, type)) {
      const target = targetOf(Properties);
      if (target !== undefined) assert.match(JSON.stringify(target), /live/, type);
    }
  const permissions = all(prod, "AWS::Lambda::Permission").map(({ DependsOn }) => DependsOn);
  const streams = all(prod, "AWS::Lambda::EventSourceMapping").flatMap(({ DependsOn }) => DependsOn);
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
    assert.deepEqual(
      all(stage, "AWS::ApiGateway::Stage").map(({ Properties }) => Properties),
      [
        {
          RestApiId: { Ref: "ApiGatewayRestApi" },
          StageName: name,
          DeploymentId: { Ref: "ApiGatewayDeployment" },
          TracingEnabled: true,
        },
      ],
    );
    assert.deepEqual(owner.ApiGatewayDeployment.Properties, { RestApiId: { Ref: "ApiGatewayRestApi" } });
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
  const rules = all(linked, "AWS::Events::Rule").map(({ Properties }) => [Properties.Name, Properties.State]);
  assert.deepEqual(rules, [
    ["scratchpad-feature-1-reconcile", "DISABLED"],
    ["scratchpad-feature-1-notes-attachment-uploaded", "DISABLED"],
  ]);
  for (const { Properties } of all(linked, "AWS::Lambda::EventSourceMapping")) assert.equal(Properties.Enabled, false);
  for (const { Properties } of all([...dev, ...prod], "AWS::Events::Rule")) assert.equal(Properties.State, "ENABLED");
});

test("the functions of a stage with a limit of free notes get the number of the stage's row", () => {
  for (const stage of [dev, prod, linked])
    for (const name of ["notes-create", "notes-storage"]) {
      const own = all(stage, "AWS::Lambda::Function").find(({ Properties }) => Properties.FunctionName.endsWith(name));
      assert.equal(own.Properties.Environment.Variables.FREE_NOTES, "100");
    }
});

test("every origin may call the API until the stage's domain is delegated, because the app has CloudFront's domain", async () => {
  const { allowedOrigin } = createRequire(import.meta.url)("../../serverless.resources.cjs");
  const originOf = (row: object) => allowedOrigin({ resolveVariable: async () => row });
  const own = { allowedOrigin: "https://a.example", domain: "a.example" };
  assert.equal(await originOf(own), "*");
  assert.equal(await originOf({ ...own, delegated: true }), "https://a.example");
  assert.equal(await originOf({ allowedOrigin: "https://b.example" }), "https://b.example");
  for (const { Properties } of all([...dev, ...prod], "AWS::Lambda::Function"))
    assert.equal(Properties.Environment.Variables.ALLOWED_ORIGIN, "*");
});
