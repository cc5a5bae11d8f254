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
      [
        ["ACTUAL", 50],
        ["ACTUAL", 80],
        ["ACTUAL", 100],
        ["FORECASTED", 100],
      ].map(([type, percent]) => [type, "PERCENTAGE", percent, [{ SubscriptionType: "EMAIL", Address: owner }]]),
    );
  }
});

test("a budget that nobody would hear of is not made", () => {
  const { owner, ...unowned } = accountNamed("dev");
  assert.throws(() => accountInfrastructure(new App(), unowned), /no owner to tell/);
});

test("the local cloud, which bills nobody, has nothing but its releases", () => {
  assert.deepEqual([...accounts.get("local")!.keys()], ["scratchpad-releases"]);
  const app = new App({ builtinCloudFormationValidation: false, context: { cloud: "local" } });
  const [releases, ...others] = accountInfrastructure(app, accountNamed("prod"));
  assert.deepEqual([releases!.stackName, others], ["scratchpad-releases", []]);
  Template.fromStack(releases!).resourceCountIs("AWS::S3::BucketPolicy", 0);
});

interface WorkflowRole {
  name: string;
  trust: any;
  grants: { actions: string[]; on: string; Condition?: any }[];
  denied: { actions: string[]; on: string }[];
}

/** The roles that workflows take in an account: who may take them, and what they may then do. */
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
        on: JSON.stringify(statement.Resource),
      }));
    return {
      name: Properties.RoleName.replace("scratchpad-github-", ""),
      trust,
      grants: statements.filter(({ Effect }) => Effect === "Allow"),
      denied: statements.filter(({ Effect }) => Effect === "Deny"),
    };
  });
}
const allWorkflowRoles = ["dev", "prod"].flatMap(workflowRoles);

test("a workflow takes a role by GitHub's word of what it runs for, said to AWS, of this repository alone", () => {
  const github = "token.actions.githubusercontent.com";
  for (const account of ["dev", "prod"]) {
    const [provider, ...others] = resources(account, "scratchpad-github", "AWS::IAM::OIDCProvider");
    assert.equal(others.length, 0);
    assert.deepEqual(provider!.Properties, { Url: `https://${github}`, ClientIdList: ["sts.amazonaws.com"] });
  }
  const subjects = allWorkflowRoles.map(({ name, trust }) => {
    assert.equal(trust.Action, "sts:AssumeRoleWithWebIdentity");
    assert.deepEqual(Object.keys(trust.Condition), ["StringEquals"]); // exactly so: StringLike would take what begins alike
    const { [`${github}:sub`]: subject, [`${github}:aud`]: audience } = trust.Condition.StringEquals;
    assert.equal(audience, "sts.amazonaws.com");
    return [name, subject];
  });
  const of = (...what: string[]) => what.map((each) => `repo:${repository}:${each}`);
  assert.deepEqual(Object.fromEntries(subjects), {
    preview: of("pull_request"),
    dev: of("ref:refs/heads/main"),
    releases: of("ref:refs/heads/main", "environment:prod"),
    show: of("ref:refs/heads/main"),
    prod: of("environment:prod"),
  });
});

test("no key lasts: there is nobody but roles", () => {
  for (const templates of accounts.values())
    for (const template of templates.values())
      for (const type of ["AWS::IAM::User", "AWS::IAM::AccessKey"]) template.resourceCountIs(type, 0);
});

/** The stages that each role may change. */
const stagesOf: Record<string, string> = { preview: "pr-*", dev: "dev", prod: "prod" };
const deployers = allWorkflowRoles.filter(({ name }) => name in stagesOf);

test("a workflow changes nothing of another stage where AWS lets us say so", () => {
  // Of these only AWS's own names are known, or they are asked for all at once.
  const unnamed = /^(acm|apigateway|cloudfront|cognito-identity|cognito-idp|route53):|EventSourceMapping/;
  const asks = /:(Describe|Get|List|Validate)[A-Za-z]*\*?$/;
  assert.equal(deployers.length, 3);
  for (const { name, grants } of deployers)
    for (const { actions, on } of grants) {
      const changes = actions.filter((action) => !unnamed.test(action) && !asks.test(action));
      if (changes.length === 0 || on.includes("event-source-mapping") || on.includes("/artefacts/")) continue;
      for (const part of on.match(/scratchpad[-/][^"]*/g) ?? assert.fail(`${name}: ${changes} on ${on}`))
        if (part !== "scratchpad-releases-")
          assert.ok(
            part.includes(`-${stagesOf[name]}`) || part.includes(`/${stagesOf[name]}/`),
            `${name}: ${changes} on ${part}`,
          );
    }
});

test("only where traffic is shifted a workflow may shift it", () => {
  const may = deployers.map(({ name, grants }) => [
    name,
    grants.some(({ actions }) => actions.some((action) => action.startsWith("codedeploy:"))),
  ]);
  assert.deepEqual(Object.fromEntries(may), { preview: false, dev: false, prod: true });
});

test("a pull request puts nothing where a release of dev is recorded", () => {
  const [preview] = deployers.filter(({ name }) => name === "preview");
  const writes = preview!.grants.filter(
    ({ actions, on }) => actions.includes("s3:PutObject") && on.includes("releases"),
  );
  assert.deepEqual(writes.map(({ on }) => on.match(/\/[^"]*/)![0]).sort(), ["/artefacts/*", "/releases/pr-*/*"]);
});

test("whoever deploys cannot make itself a role that may do more", () => {
  for (const { name, grants } of deployers) {
    for (const { actions, Condition, on } of grants.filter(({ actions }) =>
      actions.some((action) => action.startsWith("iam:")),
    )) {
      assert.match(on, new RegExp(`role/scratchpad-${stagesOf[name]!.replace("*", "\\*")}-`));
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
    const passes = grants.filter(({ actions }) => actions.includes("iam:PassRole"));
    assert.equal(passes.length, 1);
  }
});

test("what shows or reads changes nothing", () => {
  for (const { name, grants } of allWorkflowRoles.filter(({ name }) => !(name in stagesOf))) {
    const actions = grants
      .flatMap(({ actions }) => actions)
      .filter((action) => !/:(Describe|Get|List|Validate)[A-Za-z]*\*?$/.test(action));
    const putting = ["cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "s3:PutObject"];
    assert.deepEqual(actions.sort(), name === "show" ? putting : []);
  }
});

test("a workflow may take a protected stage's functions away, but not what it knows of people", () => {
  const kept = new Map(deployers.map(({ name, denied }) => [name, denied]));
  assert.deepEqual([kept.get("preview"), kept.get("dev")], [[], []]);
  const ends = (on: string) => on.match(/(userpool|table\/|parameter\/|scratchpad-prod|\*)[^"]*"/)![0];
  assert.deepEqual(Object.fromEntries(kept.get("prod")!.map(({ actions, on }) => [actions.join(" "), ends(on)])), {
    "cognito-idp:DeleteUserPool": '*"',
    "dynamodb:DeleteTable": 'table/scratchpad-prod-*"',
    "s3:DeleteBucket s3:DeleteObject*": 'scratchpad-prod-attachments-*"',
    "ssm:DeleteParameter*": 'parameter/scratchpad/prod/*"',
  });
});

test("no workflow reads people's files, what is in their tables, or a secret", () => {
  for (const { grants } of allWorkflowRoles)
    for (const { actions, on } of grants) {
      for (const action of actions)
        assert.doesNotMatch(action, /^\*|ssm:(\*|Get|Put)|^(s3|dynamodb):\*|dynamodb:.*(Item|Query|Scan|Records)/);
      if (actions.some((action) => /^s3:Get(Object.*|\*)$/.test(action)))
        assert.match(on, /scratchpad-releases-|-web-\*\/\*/);
    }
});
