import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { accountInfrastructure, githubStack } from "../lib/account/infrastructure.ts";
import { type Account, accountNamed } from "../lib/account.ts";
import { boundaryOf, rowOf, stageTable, tables } from "../lib/stage.ts";
import { packageService } from "./services.ts";

const newApp = (context = {}) => new App({ builtinCloudFormationValidation: false, context });
const stacks = (account: string) => accountInfrastructure(newApp(), accountNamed(account));
const names = ["local", "dev", "previews", "prod"];
const cloudAccounts = names.slice(1);
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
    assert.deepEqual(Properties.BucketName, {
      "Fn::Join": ["", ["scratchpad-releases-", { Ref: "AWS::AccountId" }]],
    });
    assert.deepEqual(new Set(Object.values(Properties.PublicAccessBlockConfiguration)), new Set([true]));
    assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration.length, 1);
    assert.equal(DeletionPolicy, "Delete");
    accounts.get(name)!.get("scratchpad-releases")!.resourceCountIs("AWS::Lambda::Function", 0); // a custom resource would empty it
  }
});

/** The statements of the policy of the releases bucket of an account. */
const bucketPolicy = (account: string): any[] =>
  resources(account, "scratchpad-releases", "AWS::S3::BucketPolicy").flatMap(
    ({ Properties }) => Properties.PolicyDocument.Statement,
  );

test("the releases bucket requires TLS in the cloud", () => {
  const requiresTls = ({ Effect, Condition }: any) =>
    Effect === "Deny" && Condition.Bool?.["aws:SecureTransport"] === "false";
  for (const name of cloudAccounts) assert.ok(bucketPolicy(name).some(requiresTls), name);
  assert.ok(!bucketPolicy("local").some(requiresTls));
});

test("nobody can overwrite an artifact, and the bucket keeps earlier versions of other objects in the cloud", () => {
  for (const name of names) {
    const overwrites = bucketPolicy(name).filter(({ Condition }) => Condition.Null);
    assert.deepEqual(
      overwrites.map(({ Effect, Principal, Action, Condition }) => ({ Effect, Principal, Action, Condition })),
      [
        {
          Effect: "Deny",
          Principal: { AWS: "*" },
          Action: "s3:PutObject",
          Condition: { Null: { "s3:if-none-match": "true" } },
        },
      ],
    );
    assert.match(JSON.stringify(overwrites[0].Resource), /"\/\*\/artifacts\/\*"/);
    const [bucket] = resources(name, "scratchpad-releases", "AWS::S3::Bucket");
    const { VersioningConfiguration, LifecycleConfiguration } = bucket!.Properties;
    assert.equal(VersioningConfiguration?.Status, name === "local" ? undefined : "Enabled");
    const [rule] = LifecycleConfiguration.Rules;
    assert.equal(rule.NoncurrentVersionExpiration?.NoncurrentDays, name === "local" ? undefined : 30);
  }
});

test("an unknown account is rejected", () => {
  assert.throws(() => accountNamed("pord"), /no account pord.*local, dev, previews, prod/);
});

test("the owner is notified at 50, 80 and 100 percent of the budget, and when 100 percent is forecast", () => {
  for (const name of cloudAccounts) {
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

test("an account in the local cloud has the same stacks, but no budget", () => {
  const everywhere = ["scratchpad-releases", "scratchpad-boundary", "scratchpad-api-logs"];
  assert.deepEqual([...accounts.get("local")!.keys()], everywhere);
  const emulated = accountInfrastructure(newApp({ cloud: "local" }), accountNamed("prod"));
  assert.deepEqual(
    emulated.map(({ stackName }) => stackName),
    [...everywhere, "scratchpad-github"],
  );
  const github = emulated.at(-1);
  Template.fromStack(github!).resourceCountIs("AWS::IAM::OIDCProvider", 0); // the local cloud cannot create one
  assert.match(JSON.stringify(Template.fromStack(github!)), /oidc-provider\/token\.actions\.githubusercontent\.com/);
});

/** The values of CloudFormation's pseudo parameters, with a long region name. */
const parameters: Record<string, string> = {
  "AWS::AccountId": "123456789012",
  "AWS::Partition": "aws",
  "AWS::Region": "ap-southeast-2",
  "AWS::URLSuffix": "amazonaws.com",
};

/** Replaces the references in a part of a template. */
function resolved(value: any): any {
  if (Array.isArray(value)) return value.map(resolved);
  if (typeof value !== "object" || value === null) return value;
  if (value.Ref) return parameters[value.Ref] ?? value.Ref;
  if (value["Fn::Join"]) return resolved(value["Fn::Join"][1]).join(value["Fn::Join"][0]);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, resolved(part)]));
}

/** The managed policies of a template: name, document, and the logical ids of their roles. */
const managedPolicies = (template: Template) =>
  Object.values(template.findResources("AWS::IAM::ManagedPolicy")).map(({ Properties }) => ({
    name: Properties.ManagedPolicyName as string,
    document: resolved(Properties.PolicyDocument),
    roles: (Properties.Roles ?? []).map(({ Ref }: any) => Ref),
  }));

interface WorkflowRole {
  name: string;
  trust: any;
  allowed: { actions: string[]; resources: string[]; Condition?: any }[];
  denied: { actions: string[]; resources: string[] }[];
}

/** The roles for GitHub workflows in a template, with their trust and permission statements. */
function workflowRoles(template: Template): WorkflowRole[] {
  const policies = managedPolicies(template);
  return Object.entries(template.findResources("AWS::IAM::Role")).map(([id, { Properties }]) => {
    const [trust, ...others] = Properties.AssumeRolePolicyDocument.Statement;
    assert.equal(others.length, 0);
    const statements = policies
      .filter(({ roles }) => roles.includes(id))
      .flatMap(({ document }) => document.Statement)
      .map((statement: any) => ({
        ...statement,
        actions: [statement.Action].flat(),
        resources: [statement.Resource].flat(),
      }));
    return {
      name: Properties.RoleName.replace("scratchpad-github-", ""),
      trust,
      allowed: statements.filter(({ Effect }) => Effect === "Allow"),
      denied: statements.filter(({ Effect }) => Effect === "Deny"),
    };
  });
}
const rolesOf = (account: string) => workflowRoles(accounts.get(account)!.get("scratchpad-github")!);
const allWorkflowRoles = cloudAccounts.flatMap(rolesOf);

/** The roles of dev's account if previews share it. */
const sharedRoles = (() => {
  const account = { ...accountNamed("dev") };
  account.github = { ...account.github, ...accountNamed("previews").github };
  const table = stageTable();
  table["pr-*"]!.account = "dev";
  return workflowRoles(Template.fromStack(githubStack(newApp(), account, table)));
})();

const matches = (pattern: string, text: string) =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "s").test(text);

/** The condition operators that the policies use. `values` are those of the request; undefined if it has none. */
const operators: Record<string, (values: string[] | undefined, expected: string[]) => boolean> = {
  ArnLike: (values, expected) => values?.some((value) => expected.some((one) => matches(one, value))) ?? false,
  "ForAllValues:StringLike": (values = [], expected) =>
    values.every((value) => expected.some((one) => matches(one, value))),
  "ForAllValues:StringNotEquals": (values = [], expected) => values.every((value) => !expected.includes(value)),
  StringEquals: (values, expected) => values?.some((value) => expected.includes(value)) ?? false,
  StringLike: (values, expected) => values?.some((value) => expected.some((one) => matches(one, value))) ?? false,
  StringLikeIfExists: (values, expected) => values === undefined || operators.StringLike!(values, expected),
};

/** Whether a role may call an action on a resource, in a request with the values `context` of condition keys. */
function may({ allowed, denied }: WorkflowRole, action: string, arn: string, context: Record<string, string[]> = {}) {
  const applies = ({ actions, resources, Condition = {} }: any) =>
    actions.some((pattern: string) => matches(pattern, action)) &&
    resources.some((pattern: string) => matches(pattern, arn)) &&
    Object.entries<any>(Condition).every(([operator, keys]) =>
      Object.entries<any>(keys).every(([key, expected]) => operators[operator]!(context[key], [expected].flat())),
    );
  return allowed.some(applies) && !denied.some(applies);
}
const role = (roles: WorkflowRole[], wanted: string) => roles.find(({ name }) => name === wanted)!;
const taggedWith = (stage: string) => ({ "aws:ResourceTag/scratchpad:stage": [stage] });
const arnOf = (service: string, end: string) => `arn:aws:${service}:ap-southeast-2:123456789012:${end}`;
const releases = "arn:aws:s3:::scratchpad-releases-123456789012";

test("a workflow assumes a role only with a GitHub token for AWS, this repository and an exact subject", () => {
  const github = "token.actions.githubusercontent.com";
  for (const account of cloudAccounts) {
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
  // GitHub's tokens name a repository with ids if it was created, renamed or transferred after 2026-07-15.
  const { repository, repositoryIds } = tables();
  const [owner, name] = repository.split("/");
  const subjectsOf = (...contexts: string[]) =>
    contexts.flatMap((context) => [
      `repo:${owner}/${name}:${context}`,
      `repo:${owner}@${repositoryIds.owner}/${name}@${repositoryIds.repository}:${context}`,
    ]);
  assert.deepEqual(Object.fromEntries(subjects), {
    preview: subjectsOf("pull_request"),
    dev: subjectsOf("ref:refs/heads/main"),
    releases: subjectsOf("ref:refs/heads/main", "environment:prod"),
    show: subjectsOf("ref:refs/heads/main"),
    prod: subjectsOf("environment:prod"),
  });
});

test("API Gateway may write the logs of APIs in every account, with the permissions that AWS defines for it", () => {
  for (const name of names) {
    const stack = accounts.get(name)!.get("scratchpad-api-logs")!;
    const [[id, role], ...others] = Object.entries(stack.findResources("AWS::IAM::Role")) as [[string, any]];
    assert.equal(others.length, 0);
    assert.deepEqual(role.Properties.AssumeRolePolicyDocument.Statement, [
      { Effect: "Allow", Action: "sts:AssumeRole", Principal: { Service: "apigateway.amazonaws.com" } },
    ]);
    assert.match(JSON.stringify(role.Properties.ManagedPolicyArns), /AmazonAPIGatewayPushToCloudWatchLogs/);
    stack.hasResourceProperties("AWS::ApiGateway::Account", { CloudWatchRoleArn: { "Fn::GetAtt": [id, "Arn"] } });
  }
});

test("an account that already has GitHub's OIDC provider uses it", () => {
  const account: Account = { ...accountNamed("prod"), oidcProvider: "existing" };
  const template = Template.fromStack(githubStack(newApp(), account));
  template.resourceCountIs("AWS::IAM::OIDCProvider", 0);
  const provider = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
  for (const { trust } of workflowRoles(template)) assert.deepEqual(resolved(trust.Principal), { Federated: provider });
});

test("a role for workflows must name a row of the stage table in its account, other than ephemeral", () => {
  const { github, ...account } = accountNamed("dev");
  for (const stages of ["ephemeral", "prod", "feature-1", "pr-*"])
    assert.throws(
      () => githubStack(newApp(), { ...account, github: { own: { from: ["pull_request"], may: "deploy", stages } } }),
      /cannot have permissions for/,
    );
});

test("there are no IAM users and no access keys", () => {
  for (const templates of accounts.values())
    for (const template of templates.values())
      for (const type of ["AWS::IAM::User", "AWS::IAM::AccessKey"]) template.resourceCountIs(type, 0);
});

test("policies do not exceed IAM's limits, and a role has at most ten policies", () => {
  for (const [name, templates] of accounts)
    for (const template of templates.values()) {
      template.resourceCountIs("AWS::IAM::Policy", 0);
      const policies = managedPolicies(template);
      for (const policy of policies) assert.ok(JSON.stringify(policy.document).length <= 6144, policy.name);
      for (const id of Object.keys(template.findResources("AWS::IAM::Role")))
        assert.ok(policies.filter(({ roles }) => roles.includes(id)).length <= 10, name);
    }
});

test("each row of the stage table has a permissions boundary in its account, for its stages only", () => {
  const boundaries = names.map((name) => [
    name,
    managedPolicies(accounts.get(name)!.get("scratchpad-boundary")!).map((policy) => policy.name),
  ]);
  assert.deepEqual(Object.fromEntries(boundaries), {
    local: ["scratchpad-boundary-local"],
    dev: ["scratchpad-boundary-dev", "scratchpad-boundary-ephemeral"],
    previews: ["scratchpad-boundary-pr"],
    prod: ["scratchpad-boundary-prod"],
  });
  for (const [account, stages] of [
    ["dev", "dev"],
    ["previews", "pr-*"],
    ["prod", "prod"],
  ] as const) {
    const policies = managedPolicies(accounts.get(account)!.get("scratchpad-boundary")!);
    const { document } = policies.find(({ name }) => name === boundaryOf(stages))!;
    for (const { Action, Resource, NotResource } of document.Statement)
      for (const resource of [Resource].flat())
        if (/^(dynamodb|lambda|logs|s3|sqs|ssm):/.test([Action].flat()[0]) || /:scratchpad/.test(resource))
          assert.ok(resource.includes(`scratchpad-${stages}-`) || resource.includes(`scratchpad/${stages}/`), resource);
        else if (Action === "sns:Publish") assert.equal(NotResource, "arn:aws:sns:*:*:*");
  }
});

/** The stages that each deploying role may change. */
const stagesOf: Record<string, string> = { preview: "pr-*", dev: "dev", prod: "prod" };
const deployers = allWorkflowRoles.filter(({ name }) => name in stagesOf);

test("a workflow cannot change those resources of another stage whose names we choose", () => {
  // AWS names these resources.
  const namedByAws = /^(acm|apigateway|cognito-identity|cognito-idp|route53):|EventSourceMapping/;
  // part: web {
  const distributions = /^cloudfront:.*(Distribution|Invalidation|OriginAccessControl|ResponseHeadersPolicy|Function$)/;
  // part: web }
  const readOnly = /:(Describe|Get|List|Validate)[A-Za-z]*\*?$/;
  const ours = /scratchpad[-/]/;
  assert.equal(deployers.length, 3);
  for (const { name, allowed } of [...deployers, ...sharedRoles.filter(({ name }) => name in stagesOf)])
    for (const { actions, resources, Condition } of allowed) {
      const changes = actions.filter(
        (action) =>
          !namedByAws.test(action) &&
          !distributions.test(action) && // part: web
          !readOnly.test(action),
      );
      const tagged = JSON.stringify(Condition ?? {}).includes("scratchpad:stage");
      if (changes.length === 0 || actions.includes("iam:CreateServiceLinkedRole")) continue;
      if (/codedeploy:StopDeployment|logs:PutQueryDefinition/.test(String(changes)) && resources.includes("*"))
        continue; // support no resources
      for (const resource of resources) {
        if (tagged && !ours.test(resource)) continue;
        if (/API-Gateway-Execution-Logs_\*|:identity\//.test(resource)) continue;
        const part = resource.replace("scratchpad-releases-123456789012", "").replace("changeSet/scratchpad-*/", "");
        assert.ok(
          part.includes(`-${stagesOf[name]}`) ||
            part.includes(`/${stagesOf[name]}/`) ||
            part.endsWith(`/restapis/*/stages/${stagesOf[name]}`) || // the stage of an API has the name of the stage
            tagged,
          `${name}: ${changes} on ${resource}`,
        );
      }
    }
});

test("a preview reaches nothing of dev, even in dev's account", () => {
  const preview = role(sharedRoles, "preview");
  const dev = taggedWith("dev");
  const forbidden: [action: string, arn: string, context?: Record<string, string[]>][] = [
    ["s3:GetObject", `${releases}/dev/releases/000001.json`],
    ["s3:GetObject", `${releases}/dev/artifacts/templates/0.json`],
    ["s3:PutObject", `${releases}/dev/artifacts/templates/0.json`],
    ["s3:PutObject", `${releases}/dev/lock.json`],
    ["s3:DeleteObject", `${releases}/dev/artifacts/functions/0.zip`],
    ["s3:ListBucket", releases, { "s3:prefix": ["dev/"] }],
    ["s3:ListBucket", releases, { "s3:prefix": [""] }],
    ["s3:ListBucket", releases],
    ["s3:PutBucketPolicy", releases],
    ["s3:PutObject", "arn:aws:s3:::scratchpad-dev-web-123456789012/index.html"], // part: web
    ["s3:GetObject", "arn:aws:s3:::scratchpad-dev-attachments-123456789012/private/x"],
    ["cloudformation:UpdateStack", arnOf("cloudformation", "stack/scratchpad-notes-api-dev/1")],
    ["ssm:GetParameters", arnOf("ssm", "parameter/scratchpad/dev/key")],
    ["ssm:DeleteParameters", arnOf("ssm", "parameter/scratchpad/dev/key")],
    ["dynamodb:DeleteTable", arnOf("dynamodb", "table/scratchpad-dev-Notes")],
    ["lambda:UpdateFunctionCode", arnOf("lambda", "function:scratchpad-dev-notes-get")],
    ["lambda:UpdateEventSourceMapping", "*", { "lambda:FunctionArn": [arnOf("lambda", "function:scratchpad-dev-x")] }],
    ["lambda:TagResource", arnOf("lambda", "event-source-mapping:1"), dev],
    [
      "iam:PassRole",
      "arn:aws:iam::123456789012:role/scratchpad-dev-x",
      { "iam:PassedToService": ["lambda.amazonaws.com"] },
    ],
    ["iam:DeleteRole", "arn:aws:iam::123456789012:role/scratchpad-github-dev"],
    ["logs:DeleteLogGroup", arnOf("logs", "log-group:API-Gateway-Execution-Logs_abc/dev")],
    ["apigateway:PATCH", "arn:aws:apigateway:ap-southeast-2::/restapis/abc", dev],
    ["apigateway:PUT", "arn:aws:apigateway:ap-southeast-2::/restapis/abc/resources/1/methods/GET", dev],
    ["apigateway:DELETE", "arn:aws:apigateway:ap-southeast-2::/restapis/abc", dev],
    ["apigateway:UpdateRestApiPolicy", "arn:aws:apigateway:ap-southeast-2::/restapis/abc", dev],
    ["apigateway:DELETE", "arn:aws:apigateway:ap-southeast-2::/tags/abc", { "aws:TagKeys": ["scratchpad:stage"] }],
    ["cognito-idp:DeleteUserPool", arnOf("cognito-idp", "userpool/1"), dev],
    ["cognito-idp:UpdateUserPool", arnOf("cognito-idp", "userpool/1"), dev],
    ["cognito-idp:CreateUserPoolClient", arnOf("cognito-idp", "userpool/1"), dev],
    ["cognito-idp:ListUsers", arnOf("cognito-idp", "userpool/1"), dev],
    [
      "cognito-idp:TagResource",
      arnOf("cognito-idp", "userpool/1"),
      { ...dev, "aws:RequestTag/scratchpad:stage": ["pr-1"] },
    ],
    ["cognito-idp:UntagResource", arnOf("cognito-idp", "userpool/1"), { ...dev, "aws:TagKeys": ["scratchpad:stage"] }],
    ["cognito-identity:DeleteIdentityPool", arnOf("cognito-identity", "identitypool/1"), dev],
    ["cognito-identity:UpdateIdentityPool", arnOf("cognito-identity", "identitypool/1"), dev],
    ["cognito-identity:ListIdentities", arnOf("cognito-identity", "identitypool/1"), dev],
    ["cloudfront:UpdateDistribution", "arn:aws:cloudfront::123456789012:distribution/1", dev], // part: web
    ["cloudfront:CreateInvalidation", "arn:aws:cloudfront::123456789012:distribution/1", dev], // part: web
    ["cloudfront:UpdateFunction", "arn:aws:cloudfront::123456789012:function/scratchpad-dev-single-page"], // part: web
    ["route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/1"],
    ["acm:DeleteCertificate", arnOf("acm", "certificate/1"), dev], // part: web
    ["ses:DeleteEmailIdentity", arnOf("ses", "identity/dev.scratchpad.example.com")],
    ["cloudwatch:DeleteAlarms", arnOf("cloudwatch", "alarm:scratchpad-dev-causes")],
    ["cloudwatch:PutCompositeAlarm", arnOf("cloudwatch", "alarm:scratchpad-dev-causes")],
    ["cloudwatch:PutDashboard", "arn:aws:cloudwatch::123456789012:dashboard/scratchpad-dev"],
    ["logs:DeleteQueryDefinition", "*"],
    ["logs:DeleteLogGroup", arnOf("logs", "log-group:/aws/apigateway/scratchpad-dev")],
    ["apigateway:SetWebACL", "arn:aws:apigateway:ap-southeast-2::/restapis/abc/stages/dev"],
  ];
  const allowed = forbidden.filter(([action, arn, context]) => may(preview, action, arn, context));
  assert.deepEqual(allowed, []);
});

test("a preview can do on its own stage what it cannot do on dev", () => {
  const own = taggedWith("pr-1");
  for (const preview of [role(sharedRoles, "preview"), role(allWorkflowRoles, "preview")])
    for (const [action, arn, context] of [
      ["s3:PutObject", `${releases}/pr-1/artifacts/templates/0.json`],
      ["s3:PutObject", `${releases}/pr-1/lock.json`],
      ["s3:ListBucket", releases, { "s3:prefix": ["pr-1/releases/"] }],
      ["s3:GetBucketLocation", releases],
      ["logs:DeleteLogGroup", arnOf("logs", "log-group:API-Gateway-Execution-Logs_abc/pr-1")],
      // part: billing {
      [
        "lambda:TagResource",
        arnOf("lambda", "event-source-mapping:1"),
        { "aws:RequestTag/scratchpad:stage": ["pr-1"] },
      ],
      // part: billing }
      [
        "apigateway:POST",
        "arn:aws:apigateway:ap-southeast-2::/restapis",
        { "aws:RequestTag/scratchpad:stage": ["pr-1"] },
      ],
      ["apigateway:PUT", "arn:aws:apigateway:ap-southeast-2::/restapis/abc/resources/1/methods/GET", own],
      ["apigateway:UpdateRestApiPolicy", "arn:aws:apigateway:ap-southeast-2::/restapis/abc", own],
      ["cognito-idp:CreateUserPool", "*", { "aws:RequestTag/scratchpad:stage": ["pr-1"] }],
      ["cognito-idp:DeleteUserPool", arnOf("cognito-idp", "userpool/1"), own],
      ["cognito-identity:DeleteIdentityPool", arnOf("cognito-identity", "identitypool/1"), own],
      ["cloudfront:UpdateDistribution", "arn:aws:cloudfront::123456789012:distribution/1", own], // part: web
      ["cloudfront:TagResource", "arn:aws:cloudfront::123456789012:function/scratchpad-pr-1-single-page"], // part: web
      ["cloudfront:CreateFunction", "arn:aws:cloudfront::123456789012:function/scratchpad-pr-1-single-page"], // part: web
    ] as [string, string, Record<string, string[]>?][])
      assert.ok(may(preview, action, arn, context), action);
});

test("a role has permissions for domains, certificates and e-mail only on its stage's domain", () => {
  const records = "route53:ChangeResourceRecordSetsNormalizedRecordNames";
  const zone = "arn:aws:route53:::hostedzone/1";
  const [dev, prod] = ["dev", "prod"].map((name) => role(allWorkflowRoles, name));
  const changes = (one: WorkflowRole, ...changed: string[]) =>
    may(one, "route53:ChangeResourceRecordSets", zone, { [records]: changed });
  assert.ok(changes(dev!, "dev.scratchpad.example.com", "x._domainkey.dev.scratchpad.example.com"));
  assert.ok(!changes(dev!, "dev.scratchpad.example.com", "scratchpad.example.com"));
  assert.ok(changes(prod!, "scratchpad.example.com", "dev.scratchpad.example.com"));
  assert.ok(!changes(prod!, "example.com"));
  assert.ok(may(dev!, "acm:RequestCertificate", "*", { "acm:DomainNames": ["dev.scratchpad.example.com"] })); // part: web
  assert.ok(!may(dev!, "acm:RequestCertificate", "*", { "acm:DomainNames": ["scratchpad.example.com"] })); // part: web
  const uses = role(allWorkflowRoles, "preview").allowed.flatMap(({ actions }) => actions);
  assert.deepEqual(
    uses.filter((action) => /^(acm|route53|ses):/.test(action)),
    [],
  );
});

test("actions that support no resource ARNs are allowed on *", () => {
  const prod = role(allWorkflowRoles, "prod");
  for (const action of [
    "codedeploy:StopDeployment",
    "logs:DescribeIndexPolicies",
    "logs:DescribeResourcePolicies",
    "cloudfront:CreateFunction", // part: web
    "cognito-identity:SetIdentityPoolRoles",
  ])
    assert.ok(may(prod, action, "*"), action);
});

test("a service may create its own service-linked role, and no other role is created without a boundary", () => {
  const create = (name: string, service: string) =>
    may(role(allWorkflowRoles, "prod"), "iam:CreateServiceLinkedRole", `arn:aws:iam::123456789012:role/${name}`, {
      "iam:AWSServiceName": [service],
    });
  const path = "aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway";
  assert.ok(create(path, "ops.apigateway.amazonaws.com"));
  assert.ok(!create(path, "ecs.amazonaws.com"));
});

test("a workflow changes alarms, dashboards and web ACLs only of its stage, and only if the stage has them", () => {
  const acl = (stage: string) => arnOf("wafv2", `regional/webacl/scratchpad-${stage}-api/1`);
  const api = (stage: string) => `arn:aws:apigateway:ap-southeast-2::/restapis/abc/stages/${stage}`;
  const calls = (stage: string): [action: string, arn: string][] => [
    ["cloudwatch:PutMetricAlarm", arnOf("cloudwatch", `alarm:scratchpad-${stage}-notes-latency`)],
    ["cloudwatch:PutCompositeAlarm", arnOf("cloudwatch", `alarm:scratchpad-${stage}-causes`)],
    ["cloudwatch:PutDashboard", `arn:aws:cloudwatch::123456789012:dashboard/scratchpad-${stage}`],
    ["wafv2:UpdateWebACL", acl(stage)],
    ["wafv2:AssociateWebACL", acl(stage)],
    ["wafv2:AssociateWebACL", api(stage)],
    ["apigateway:SetWebACL", api(stage)],
  ];
  const allowed = (name: string, stage: string) =>
    calls(stage).map(([action, arn]) => may(role(allWorkflowRoles, name), action, arn));
  const [yes, no] = [true, false];
  assert.deepEqual(allowed("prod", "prod"), [yes, yes, yes, yes, yes, yes, yes]);
  assert.deepEqual(allowed("dev", "dev"), [yes, yes, yes, no, no, no, no]);
  assert.deepEqual(allowed("preview", "pr-1"), [no, no, no, no, no, no, no]);
  assert.deepEqual(allowed("prod", "dev"), [no, no, no, no, no, no, no]);
});

test("a workflow may use CodeDeploy only on a stage that shifts traffic", () => {
  const usesCodeDeploy = deployers.map(({ name, allowed }) => [
    name,
    allowed.some(({ actions }) => actions.some((action) => action.startsWith("codedeploy:"))),
  ]);
  assert.deepEqual(Object.fromEntries(usesCodeDeploy), { preview: false, dev: false, prod: true });
});

test("a preview workflow cannot write dev's release records", () => {
  for (const { allowed } of [...rolesOf("previews"), role(sharedRoles, "preview")]) {
    const writes = allowed
      .filter(({ actions }) => actions.some((action) => /^s3:(Put|Delete)Object/.test(action)))
      .flatMap(({ resources }) => resources.filter((resource) => resource.startsWith(releases)));
    assert.notEqual(writes.length, 0);
    for (const resource of writes) assert.ok(resource.startsWith(`${releases}/pr-*/`), resource);
  }
});

test("the role that promotes reads only dev's releases", () => {
  const reader = role(rolesOf("dev"), "releases");
  assert.ok(may(reader, "s3:GetObject", `${releases}/dev/releases/000001.json`));
  assert.ok(!may(reader, "s3:GetObject", `${releases}/pr-1/artifacts/templates/0.json`));
  assert.ok(!may(reader, "s3:PutObject", `${releases}/dev/artifacts/templates/0.json`));
});

test("a deploying workflow cannot create a role without the permissions boundary", () => {
  for (const { name, allowed } of deployers) {
    const roles = allowed.filter(
      ({ actions }) =>
        actions.some((action) => action.startsWith("iam:")) && !actions.includes("iam:CreateServiceLinkedRole"),
    );
    for (const { actions, Condition, resources } of roles) {
      for (const resource of resources)
        assert.match(resource, new RegExp(`role/scratchpad-${stagesOf[name]!.replace("*", "\\*")}-`));
      for (const action of actions) {
        assert.doesNotMatch(action, /DeleteRolePermissionsBoundary|\*Role|iam:\*|User|AccessKey/);
        if (/^iam:(Attach|Create|Put)/.test(action))
          assert.equal(
            Condition.StringEquals["iam:PermissionsBoundary"],
            `arn:aws:iam::123456789012:policy/${boundaryOf(stagesOf[name]!)}`,
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
    const showWrites = [
      "cloudformation:CreateChangeSet",
      "cloudformation:DeleteChangeSet",
      "cloudformation:TagResource", // of a change set
      "s3:PutObject",
    ];
    assert.deepEqual(actions.sort(), name === "show" ? showWrites : []);
  }
  const show = role(allWorkflowRoles, "show");
  const stack = arnOf("cloudformation", "stack/scratchpad-notes-api-prod/1");
  const tags = (action: string) =>
    may(show, "cloudformation:TagResource", stack, { "cloudformation:CreateAction": [action] });
  assert.deepEqual([tags("CreateChangeSet"), tags("CreateStack")], [true, false]);
  assert.ok(may(show, "s3:PutObject", `${releases}/prod/artifacts/templates/0.json`));
  for (const key of ["releases/000001.json", "lock.json", "artifacts/functions/0.zip"])
    assert.ok(!may(show, "s3:PutObject", `${releases}/prod/${key}`), key);
});

test("a workflow cannot delete user data of a protected stage, or the pools that identify users", () => {
  for (const { name, denied } of deployers) if (name !== "prod") assert.deepEqual(denied, []);
  const prod = role(allWorkflowRoles, "prod");
  const suffix = (resource: string) => resource.replace(/^arn:.*?(table\/|parameter\/|scratchpad-prod)/, "$1");
  const denied = prod.denied.flatMap(({ actions, resources }) =>
    actions.map((action) => [action, resources.map(suffix).join(" ")]),
  );
  assert.deepEqual(Object.fromEntries(denied), {
    "cognito-identity:DeleteIdentities": "*",
    "cognito-identity:DeleteIdentityPool": "*",
    "cognito-idp:DeleteUserPool": "*",
    "dynamodb:DeleteTable": "table/scratchpad-prod-*",
    "s3:DeleteBucket": "scratchpad-prod-attachments-*",
    "s3:DeleteObject*": "scratchpad-prod-attachments-*",
    "ssm:DeleteParameter*": "parameter/scratchpad/prod/*",
  });
  assert.ok(
    !may(prod, "cognito-identity:DeleteIdentityPool", arnOf("cognito-identity", "identitypool/1"), taggedWith("prod")),
  );
});

test("no workflow can read attachments, table items, users or secrets", () => {
  for (const { allowed } of [...allWorkflowRoles, ...sharedRoles])
    for (const { actions, resources } of allowed) {
      for (const action of actions) {
        assert.doesNotMatch(action, /^\*|ssm:(\*|Get|Put)|^(s3|dynamodb):\*|dynamodb:.*(Item|Query|Scan|Records)/);
        assert.doesNotMatch(action, /^cognito-id.*:(\*|List\*|ListUsers|ListIdentities|Admin|Get\*)/);
      }
      if (actions.some((action) => /^s3:Get(Object.*|\*)$/.test(action)))
        for (const resource of resources) {
          if (resource.endsWith("-web-*/*")) continue; // part: web
          assert.match(resource, /scratchpad-releases-/);
        }
    }
});

test("a stage uses its own row, or the row whose pattern it matches, or the row ephemeral", async () => {
  const rows = Object.keys(stageTable());
  const found = ["dev", "pr-1", "feature-1", "local"].map((stage) => rowOf(stage, rows));
  assert.deepEqual(found, ["dev", "pr-*", "ephemeral", "local"]);
  for (const stage of ["dev-2", "my-dev", "prod-x", "pr", "x-pr-1", "pr-1-dev"])
    assert.throws(() => rowOf(stage, rows), /IAM policies for stages .* would apply to it/, stage);
  // osls finds the same rows.
  for (const stage of ["pr-1", "feature-1"]) {
    const { Resources } = await packageService("notes-api", stage);
    assert.match(JSON.stringify(Resources), new RegExp(`policy/${boundaryOf(rowOf(stage, rows))}"`));
  }
  await assert.rejects(packageService("notes-api", "dev-2"), ({ stdout, stderr }) =>
    /A stage cannot be named dev-2/.test(stdout + stderr),
  );
});
