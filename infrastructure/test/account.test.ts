import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import assert from "node:assert/strict";
import { test } from "node:test";
import { accountNamed } from "../lib/account.ts";
import { accountInfrastructure } from "../lib/account/infrastructure.ts";

const stacks = (account: string) =>
  accountInfrastructure(new App({ builtinCloudFormationValidation: false }), accountNamed(account));
const names = ["local", "dev", "prod"];
const accounts = new Map(
  names.map((name) => [name, new Map(stacks(name).map((stack) => [stack.stackName, Template.fromStack(stack)]))]),
);

/** What a stack of an account holds of one type; at least one, or the test would be about nothing. */
function resources(account: string, stack: string, type: string) {
  const found = Object.values(accounts.get(account)!.get(stack)!.findResources(type));
  assert.notEqual(found.length, 0, `${stack} of ${account} has no ${type}`);
  return found;
}

test("an account's stacks need nothing that was deployed before them", () => {
  for (const templates of accounts.values())
    for (const template of templates.values()) {
      assert.deepEqual(template.findParameters("*"), {});
      assert.doesNotMatch(JSON.stringify(template), /Fn::ImportValue/);
    }
});

test("every account keeps its releases in a private bucket of its own, which goes once it is empty", () => {
  for (const name of names) {
    const [bucket] = resources(name, "scratchpad-releases", "AWS::S3::Bucket");
    const { Properties, DeletionPolicy } = bucket!;
    assert.deepEqual(Properties.BucketName, { "Fn::Join": ["", ["scratchpad-releases-", { Ref: "AWS::AccountId" }]] });
    assert.deepEqual(new Set(Object.values(Properties.PublicAccessBlockConfiguration)), new Set([true]));
    assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration.length, 1);
    assert.equal(Properties.VersioningConfiguration, undefined);
    assert.equal(DeletionPolicy, "Delete");
    accounts.get(name)!.get("scratchpad-releases")!.resourceCountIs("AWS::Lambda::Function", 0); // that would empty it
  }
});

test("a release goes to the cloud by TLS alone", () => {
  for (const name of ["dev", "prod"]) {
    const [policy] = resources(name, "scratchpad-releases", "AWS::S3::BucketPolicy");
    const [{ Effect, Condition }] = policy!.Properties.PolicyDocument.Statement;
    assert.deepEqual([Effect, Condition], ["Deny", { Bool: { "aws:SecureTransport": "false" } }]);
  }
  accounts.get("local")!.get("scratchpad-releases")!.resourceCountIs("AWS::S3::BucketPolicy", 0);
});

test("an account that is not in the table is not guessed", () => {
  assert.throws(() => accountNamed("pord"), /no account pord.*local, dev, prod/);
});

test("the owner hears of half of the month's budget, of most, of all, and when it looks like all", () => {
  for (const name of ["dev", "prod"]) {
    const { budget, owner } = accountNamed(name);
    const [month, ...others] = resources(name, "scratchpad-budget", "AWS::Budgets::Budget");
    assert.equal(others.length, 0);
    const { Budget, NotificationsWithSubscribers } = month!.Properties;
    assert.deepEqual([Budget.BudgetType, Budget.TimeUnit], ["COST", "MONTHLY"]);
    assert.deepEqual(Budget.BudgetLimit, { Amount: budget, Unit: "USD" });
    assert.deepEqual(
      NotificationsWithSubscribers.map(({ Notification: told, Subscribers }: any) => [
        told.NotificationType,
        told.ThresholdType,
        told.Threshold,
        Subscribers,
      ]),
      [["ACTUAL", 50], ["ACTUAL", 80], ["ACTUAL", 100], ["FORECASTED", 100]].map(([type, percent]) => [
        type,
        "PERCENTAGE",
        percent,
        [{ SubscriptionType: "EMAIL", Address: owner }],
      ]),
    );
  }
});

test("a budget that nobody would hear of is not made", () => {
  const { owner, ...unowned } = accountNamed("dev");
  assert.throws(() => accountInfrastructure(new App(), unowned), /no owner to tell/);
});

test("the local cloud, which bills nobody, has nothing but its releases", () => {
  assert.deepEqual([...accounts.get("local")!.keys()], ["scratchpad-releases"]);
});
