import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { BoundaryStack } from "../lib/account/boundary-stack.ts";
import { accountNamed } from "../lib/account.ts";
import { functionsOf, packaged, services } from "./services.ts";

/** The resources of services of a stage, each service's by themselves. */
const resources = async (stage: string, environment = {}, some = services) =>
  (await Promise.all(some.map((service) => packaged(service, stage, environment)))).map(({ Resources }) => Resources);
const prod = await resources("prod");
const dev = await resources("dev");
const linked = await resources("pr-1", { SCRATCHPAD_INFRASTRUCTURE: "dev" }, ["notify-job"]);
const prodOnALocalCloud = await resources("prod", { SCRATCHPAD_TRAFFIC: "AllAtOnce" }, ["billing-api"]);

/** What the services of a stage hold of a type; at least one, or the test would be about nothing. */
function all(stage: any[], type: string): any[] {
  const found = some(stage, type);
  assert.notEqual(found.length, 0, `there is no ${type}`);
  return found;
}
const some = (stage: any[], type: string) =>
  stage.flatMap((service) => Object.values<any>(service)).filter(({ Type }) => Type === type);

const functions = services.flatMap(functionsOf);

test("every alarm of a stage is told to whoever its topic tells, and so is its end", () => {
  for (const [name, stage] of Object.entries({ dev, prod })) {
    const topic = [{ "Fn::ImportValue": `scratchpad-${name}-AlarmsTopicArn` }];
    const alarms = all(stage, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    for (const { AlarmActions, OKActions } of alarms) assert.deepEqual([AlarmActions, OKActions], [topic, topic]);
    const names = new Set(alarms.map(({ AlarmName }) => AlarmName));
    for (const of of functions)
      for (const kind of ["errors", "throttles"]) assert.ok(names.has(`scratchpad-${name}-${of}-${kind}`));
  }
});

test("a stage of nobody's has no alarms", () => {
  assert.deepEqual(some(linked, "AWS::CloudWatch::Alarm"), []);
});

test("on prod new code has a tenth of the calls for five minutes, and no more if it fails", () => {
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

test("new code is taken back for its own errors, not for those of the code that it is to mend", () => {
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

/** Where in a resource a function is named that is called: its own properties name it as a function. */
const calls: Record<string, (properties: any) => unknown> = {
  "AWS::ApiGateway::Method": ({ Integration }) => (Integration.Type === "AWS_PROXY" ? Integration.Uri : undefined),
  "AWS::Events::Rule": ({ Targets }) => Targets,
  "AWS::Lambda::EventInvokeConfig": ({ Qualifier }) => `:${Qualifier}`,
  "AWS::Lambda::EventSourceMapping": ({ FunctionName }) => FunctionName,
  "AWS::Lambda::Permission": ({ FunctionName }) => FunctionName,
  "AWS::SNS::Subscription": ({ Endpoint }) => Endpoint,
};

test("whatever calls a function of prod calls its alias, and may", () => {
  for (const [type, called] of Object.entries(calls))
    for (const { Properties } of all(prod, type)) {
      const by = called(Properties);
      if (by !== undefined) assert.match(JSON.stringify(by), /live/, type);
    }
  const triggered = all(prod, "AWS::Lambda::Permission").map(({ DependsOn }) => DependsOn);
  const streams = all(prod, "AWS::Lambda::EventSourceMapping").flatMap(({ DependsOn }) => DependsOn);
  assert.deepEqual(
    [...triggered, ...streams].sort(),
    prod.flatMap((own) => Object.keys(own).filter((id) => own[id].Type === "AWS::Lambda::Alias")).sort(),
  );
});

test("no other stage shifts traffic, nor prod where there is no CodeDeploy", () => {
  for (const stage of [dev, linked, prodOnALocalCloud]) {
    for (const type of [
      "AWS::CodeDeploy::Application",
      "AWS::CodeDeploy::DeploymentGroup",
      "AWS::Lambda::Alias",
      "AWS::Lambda::Version",
    ])
      assert.deepEqual(some(stage, type), []);
    assert.doesNotMatch(JSON.stringify(stage), /"live"|:live/);
    assert.ok(all(stage, "AWS::Lambda::Permission").every(({ DependsOn }) => DependsOn === undefined));
  }
});

test("no function's role has more than the account's boundary allows, and none has less for it", () => {
  const boundary = Template.fromStack(
    new BoundaryStack(new App({ builtinCloudFormationValidation: false }), accountNamed("prod")),
  );
  const [policy, ...others] = Object.values(boundary.findResources("AWS::IAM::ManagedPolicy"));
  assert.equal(others.length, 0);
  const { ManagedPolicyName, PolicyDocument } = policy!.Properties;
  const most = new Set(PolicyDocument.Statement.flatMap(({ Action }: any) => Action));
  for (const stage of [dev, prod, linked])
    for (const { Properties } of all(stage, "AWS::IAM::Role").filter(({ Condition }) => Condition !== "Never")) {
      assert.match(JSON.stringify(Properties.PermissionsBoundary), new RegExp(`policy/${ManagedPolicyName}"`));
      for (const { PolicyDocument } of Properties.Policies ?? [])
        for (const { Action } of PolicyDocument.Statement)
          for (const action of [Action].flat()) assert.ok(most.has(action), action);
    }
});

test("the calls of the API are traced, by the service that has it", () => {
  const traced = [...dev, ...prod].map((own) =>
    some([own], "AWS::ApiGateway::Deployment").map(({ Properties }) => Properties.StageDescription),
  );
  assert.deepEqual(traced.flat().filter(Boolean), [{ TracingEnabled: true }, { TracingEnabled: true }]);
});
