import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { accountInfrastructure } from "../lib/account/infrastructure.ts";
import { accountNamed, repository } from "../lib/account.ts";

const stacks = (account: string) =>
  accountInfrastructure(new App({ builtinCloudFormationValidation: false }), accountNamed(account));
const names = ["local", "dev", "prod"];
const accounts = new Map(
  names.map((name) => [name, new Map(stacks(name).map((stack) => [stack.stackName, Template.fromStack(stack)]))]),
);

/** The resources of one type in a stack of an account. Fails if there are none, because the test would check nothing. */
function resources(account: string, stack: string, type: string) {
  const found = Object.values(accounts.get(account)!.get(stack)!.findResources(type));
  assert.notEqual(found.length, 0, `${stack} of ${account} has no ${type}`);
  return found;
}

test("an account's stacks have no parameters and import nothing", () => {
  for (const templates of accounts.values())
    for (const template of templates.values()) {
      assert.deepEqual(template.findParameters("*"), {});
      assert.doesNotMatch(JSON.stringify(template), /Fn::ImportValue/);
    }
});

test("every account has a private bucket for its releases, which is deleted only if it is empty", () => {
  for (const name of names) {
    const [bucket] = resources(name, "scratchpad-releases", "AWS::S3::Bucket");
    const { Properties, DeletionPolicy } = bucket!;
    assert.deepEqual(Properties.BucketName, { "Fn::Join": ["", ["scratchpad-releases-", { Ref: "AWS::AccountId" }]] });
    assert.deepEqual(new Set(Object.values(Properties.PublicAccessBlockConfiguration)), new Set([true]));
    assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration.length, 1);
    assert.equal(Properties.VersioningConfiguration, undefined);
    assert.equal(DeletionPolicy, "Delete");
    accounts.get(name)!.get("scratchpad-releases")!.resourceCountIs("AWS::Lambda::Function", 0); // a custom resource would empty it
  }
});

test("the releases bucket requires TLS in the cloud", () => {
  for (const name of ["dev", "prod"]) {
    const [policy] = resources(name, "scratchpad-releases", "AWS::S3::BucketPolicy");
    const [{ Effect, Condition }] = policy!.Properties.PolicyDocument.Statement;
    assert.deepEqual([Effect, Condition], ["Deny", { Bool: { "aws:SecureTransport": "false" } }]);
  }
  accounts.get("local")!.get("scratchpad-releases")!.resourceCountIs("AWS::S3::BucketPolicy", 0);
});

test("an unknown account is rejected", () => {
  assert.throws(() => accountNamed("pord"), /no account pord.*local, dev, prod/);
});

test("the owner is notified at 50, 80 and 100 percent of the budget, and when 100 percent is forecast", () => {
  for (const name of ["dev", "prod"]) {
    const { budget, owner } = accountNamed(name);
    const [month, ...others] = resources(name, "scratchpad-budget", "AWS::Budgets::Budget");
    assert.equal(others.length, 0);
    const { Budget, NotificationsWithSubscribers } = month!.Properties;
    assert.deepEqual([Budget.BudgetType, Budget.TimeUnit], ["COST", "MONTHLY"]);
    assert.deepEqual(Budget.BudgetLimit, { Amount: budget, Unit: "USD" });
    assert.deepEqual(
      NotificationsWithSubscribers.map(({ Notification, Subscribers }: any) => [
        Notification.NotificationType,
        Notification.ThresholdType,
        Notification.Threshold,
        Subscribers,
      ]),
      [
        ["ACTUAL", 50],
        ["ACTUAL", 80],
        ["ACTUAL", 100],
        ["FORECASTED", 100],
      ].map(([type, percent]) => [type, "PERCENTAGE", percent, [{ SubscriptionType: "EMAIL", Address: owner }]]),
    );
  }
});

test("a budget without an owner is rejected", () => {
  const { owner, ...unowned } = accountNamed("dev");
  assert.throws(() => accountInfrastructure(new App(), unowned), /no owner to notify/);
});

test("an account in the local cloud has only the releases stack", () => {
  assert.deepEqual([...accounts.get("local")!.keys()], ["scratchpad-releases"]);
  const app = new App({ builtinCloudFormationValidation: false, context: { cloud: "local" } });
  const [releases, ...others] = accountInfrastructure(app, accountNamed("prod"));
  assert.deepEqual([releases!.stackName, others], ["scratchpad-releases", []]);
  Template.fromStack(releases!).resourceCountIs("AWS::S3::BucketPolicy", 0);
});

interface WorkflowRole {
  name: string;
  trust: any;
  allowed: { actions: string[]; resources: string; Condition?: any }[];
  denied: { actions: string[]; resources: string }[];
}

/** The roles for GitHub workflows in an account, with their trust and permission statements. */
function workflowRoles(account: string): WorkflowRole[] {
  const template = accounts.get(account)!.get("scratchpad-github")!;
  const policies = Object.values(template.findResources("AWS::IAM::Policy")).map(({ Properties }) => Properties);
  return Object.entries(template.findResources("AWS::IAM::Role")).map(([id, { Properties }]) => {
    const [trust, ...others] = Properties.AssumeRolePolicyDocument.Statement;
    assert.equal(others.length, 0);
    const own = policies.filter(({ Roles }) => Roles.some(({ Ref }: any) => Ref === id));
    const statements = own
      .flatMap(({ PolicyDocument }) => PolicyDocument.Statement)
      .map((statement: any) => ({
        ...statement,
        actions: [statement.Action].flat(),
        resources: JSON.stringify(statement.Resource),
      }));
    return {
      name: Properties.RoleName.replace("scratchpad-github-", ""),
      trust,
      allowed: statements.filter(({ Effect }) => Effect === "Allow"),
      denied: statements.filter(({ Effect }) => Effect === "Deny"),
    };
  });
}
const allWorkflowRoles = ["dev", "prod"].flatMap(workflowRoles);

test("a workflow assumes a role only with a GitHub token for AWS, this repository and an exact subject", () => {
  const github = "token.actions.githubusercontent.com";
  for (const account of ["dev", "prod"]) {
    const [provider, ...others] = resources(account, "scratchpad-github", "AWS::IAM::OIDCProvider");
    assert.equal(others.length, 0);
    assert.deepEqual(provider!.Properties, { Url: `https://${github}`, ClientIdList: ["sts.amazonaws.com"] });
  }
  const subjects = allWorkflowRoles.map(({ name, trust }) => {
    assert.equal(trust.Action, "sts:AssumeRoleWithWebIdentity");
    assert.deepEqual(Object.keys(trust.Condition), ["StringEquals"]); // StringLike would accept patterns
    const { [`${github}:sub`]: subject, [`${github}:aud`]: audience } = trust.Condition.StringEquals;
    assert.equal(audience, "sts.amazonaws.com");
    return [name, subject];
  });
  const subjectsOf = (...names: string[]) => names.map((name) => `repo:${repository}:${name}`);
  assert.deepEqual(Object.fromEntries(subjects), {
    preview: subjectsOf("pull_request"),
    dev: subjectsOf("ref:refs/heads/main"),
    releases: subjectsOf("ref:refs/heads/main", "environment:prod"),
    show: subjectsOf("ref:refs/heads/main"),
    prod: subjectsOf("environment:prod"),
  });
});

test("there are no IAM users and no access keys", () => {
  for (const templates of accounts.values())
    for (const template of templates.values())
      for (const type of ["AWS::IAM::User", "AWS::IAM::AccessKey"]) template.resourceCountIs(type, 0);
});

/** The stages that each deploying role may change. */
const stagesOf: Record<string, string> = { preview: "pr-*", dev: "dev", prod: "prod" };
const deployers = allWorkflowRoles.filter(({ name }) => name in stagesOf);

test("a workflow cannot change those resources of another stage whose names we choose", () => {
  // AWS names these resources.
  const namedByAws = /^(acm|apigateway|cloudfront|cognito-identity|cognito-idp|route53):|EventSourceMapping/;
  const readOnly = /:(Describe|Get|List|Validate)[A-Za-z]*\*?$/;
  assert.equal(deployers.length, 3);
  for (const { name, allowed } of deployers)
    for (const { actions, resources } of allowed) {
      const changes = actions.filter((action) => !namedByAws.test(action) && !readOnly.test(action));
      if (changes.length === 0 || resources.includes("event-source-mapping") || resources.includes("/artifacts/"))
        continue;
      for (const part of resources.match(/scratchpad[-/][^"]*/g) ?? assert.fail(`${name}: ${changes} on ${resources}`))
        if (part !== "scratchpad-releases-")
          assert.ok(
            part.includes(`-${stagesOf[name]}`) || part.includes(`/${stagesOf[name]}/`),
            `${name}: ${changes} on ${part}`,
          );
    }
});

test("a workflow may use CodeDeploy only on a stage that shifts traffic", () => {
  const usesCodeDeploy = deployers.map(({ name, allowed }) => [
    name,
    allowed.some(({ actions }) => actions.some((action) => action.startsWith("codedeploy:"))),
  ]);
  assert.deepEqual(Object.fromEntries(usesCodeDeploy), { preview: false, dev: false, prod: true });
});

test("a preview workflow cannot write dev's release records", () => {
  const [preview] = deployers.filter(({ name }) => name === "preview");
  const writes = preview!.allowed.filter(
    ({ actions, resources }) => actions.includes("s3:PutObject") && resources.includes("releases"),
  );
  assert.deepEqual(writes.map(({ resources }) => resources.match(/\/[^"]*/)![0]).sort(), [
    "/artifacts/*",
    "/releases/pr-*/*",
  ]);
});

test("a deploying workflow cannot create a role without the permissions boundary", () => {
  for (const { name, allowed } of deployers) {
    for (const { actions, Condition, resources } of allowed.filter(({ actions }) =>
      actions.some((action) => action.startsWith("iam:")),
    )) {
      assert.match(resources, new RegExp(`role/scratchpad-${stagesOf[name]!.replace("*", "\\*")}-`));
      for (const action of actions) {
        assert.doesNotMatch(action, /DeleteRolePermissionsBoundary|\*Role|iam:\*|User|AccessKey/);
        if (/^iam:(Attach|Create|Put)/.test(action))
          assert.match(
            JSON.stringify(Condition.StringEquals["iam:PermissionsBoundary"]),
            /:policy\/scratchpad-boundary"/,
          );
        if (action === "iam:PassRole")
          assert.deepEqual(Condition.StringEquals["iam:PassedToService"], [
            "lambda.amazonaws.com",
            "codedeploy.amazonaws.com",
            "cognito-identity.amazonaws.com",
          ]);
      }
    }
    const passes = allowed.filter(({ actions }) => actions.includes("iam:PassRole"));
    assert.equal(passes.length, 1);
  }
});

test("the role releases only reads, and the role show also creates and deletes change sets and uploads templates", () => {
  for (const { name, allowed } of allWorkflowRoles.filter(({ name }) => !(name in stagesOf))) {
    const actions = allowed
      .flatMap(({ actions }) => actions)
      .filter((action) => !/:(Describe|Get|List|Validate)[A-Za-z]*\*?$/.test(action));
    const showWrites = ["cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "s3:PutObject"];
    assert.deepEqual(actions.sort(), name === "show" ? showWrites : []);
  }
});

test("a workflow cannot delete user data of a protected stage", () => {
  const denied = new Map(deployers.map(({ name, denied }) => [name, denied]));
  assert.deepEqual([denied.get("preview"), denied.get("dev")], [[], []]);
  const suffix = (resources: string) => resources.match(/(userpool|table\/|parameter\/|scratchpad-prod|\*)[^"]*"/)![0];
  assert.deepEqual(
    Object.fromEntries(denied.get("prod")!.map(({ actions, resources }) => [actions.join(" "), suffix(resources)])),
    {
      "cognito-idp:DeleteUserPool": '*"',
      "dynamodb:DeleteTable": 'table/scratchpad-prod-*"',
      "s3:DeleteBucket s3:DeleteObject*": 'scratchpad-prod-attachments-*"',
      "ssm:DeleteParameter*": 'parameter/scratchpad/prod/*"',
    },
  );
});

test("no workflow can read attachments, table items or secrets", () => {
  for (const { allowed } of allWorkflowRoles)
    for (const { actions, resources } of allowed) {
      for (const action of actions)
        assert.doesNotMatch(action, /^\*|ssm:(\*|Get|Put)|^(s3|dynamodb):\*|dynamodb:.*(Item|Query|Scan|Records)/);
      if (actions.some((action) => /^s3:Get(Object.*|\*)$/.test(action)))
        assert.match(resources, /scratchpad-releases-|-web-\*\/\*/);
    }
});
