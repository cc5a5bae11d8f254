import assert from "node:assert/strict";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { securityHeaders } from "../../web/security-headers.ts";
import { infrastructure } from "../lib/infrastructure.ts";
import { delegations, stageNamed } from "../lib/stage.ts";

const stacks = (stage: string) =>
  infrastructure(new App({ builtinCloudFormationValidation: false }), stageNamed(stage));
const templates = (stage: string) => stacks(stage).map((stack) => Template.fromStack(stack));
const stages = new Map(["local", "dev", "prod"].map((stage) => [stage, templates(stage)]));
const linkedStacks = () =>
  infrastructure(
    new App({ builtinCloudFormationValidation: false }),
    stageNamed("pr-1", { SCRATCHPAD_INFRASTRUCTURE: "dev" }),
  );
const linked = linkedStacks().map((stack) => Template.fromStack(stack));

/** What the stacks of a stage hold of one type; at least one, or the test would be about nothing. */
function resources(stage: string, type: string) {
  const found = stages.get(stage)!.flatMap((template) => Object.values(template.findResources(type)));
  assert.notEqual(found.length, 0, `${stage} has no ${type}`);
  return found;
}

const attachments = (stage: string) =>
  resources(stage, "AWS::S3::Bucket").find(({ Properties }) =>
    JSON.stringify(Properties.BucketName).includes("attachments"),
  )!;

const statements = (policy: any): any[] => policy.Properties.PolicyDocument.Statement;

test("a protected stage keeps its data when a stack is deleted", () => {
  for (const type of ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Cognito::UserPool"])
    for (const resource of resources("prod", type)) {
      assert.equal(resource.DeletionPolicy, "Retain");
      assert.equal(resource.UpdateReplacePolicy, "Retain");
    }
});

test("an unprotected stage leaves nothing behind", () => {
  for (const stage of ["local", "dev"])
    for (const template of stages.get(stage)!)
      for (const resource of Object.values<any>(template.toJSON().Resources))
        assert.notEqual(resource.DeletionPolicy, "Retain");
});

test("a protected stage's tables cannot be deleted, and can be taken back to any second of the last month", () => {
  for (const { Properties } of resources("prod", "AWS::DynamoDB::Table")) {
    assert.equal(Properties.DeletionProtectionEnabled, true);
    assert.equal(Properties.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled, true);
  }
});

test("a protected stage's users cannot be deleted with their pool, and its stacks not at all", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPool"))
    assert.equal(Properties.DeletionProtection, "ACTIVE");
  for (const stack of stacks("prod")) assert.equal(stack.terminationProtection, true);
});

test("a protected stage keeps an attachment that was overwritten or deleted for a while", () => {
  const { Properties } = attachments("prod");
  assert.equal(Properties.VersioningConfiguration.Status, "Enabled");
  assert.equal(Properties.LifecycleConfiguration.Rules[0].NoncurrentVersionExpiration.NoncurrentDays, 30);
});

test("every table of a person's things holds them together, in the order of its own key", () => {
  const keys = Object.fromEntries(
    resources("dev", "AWS::DynamoDB::Table").map(({ Properties }) => [
      Properties.TableName,
      Properties.KeySchema.map((key: any) => `${key.KeyType} ${key.AttributeName}`),
    ]),
  );
  assert.deepEqual(keys, {
    "scratchpad-dev-Notes": ["HASH userId", "RANGE noteId"],
    "scratchpad-dev-Attachments": ["HASH userId", "RANGE attachment"],
    "scratchpad-dev-Purchases": ["HASH userId", "RANGE purchaseId"],
    "scratchpad-dev-Idempotency": ["HASH id"],
  });
});

/** What the tables of a stage say of themselves, by the tables' names without the stage. */
const tables = (stage: string, property: string) =>
  Object.fromEntries(
    resources(stage, "AWS::DynamoDB::Table")
      .filter(({ Properties }) => property in Properties)
      .map(({ Properties }) => [Properties.TableName.split("-").at(-1), Properties[property]]),
  );

test("purchases alone have a stream, which tells what they were and what they became", () => {
  for (const stage of stages.keys())
    assert.deepEqual(tables(stage, "StreamSpecification"), { Purchases: { StreamViewType: "NEW_AND_OLD_IMAGES" } });
});

test("unsettled purchases are found whole and by the time they are due, whoever made them", () => {
  const indexes = tables("dev", "GlobalSecondaryIndexes");
  assert.deepEqual(Object.keys(indexes), ["Purchases"]);
  assert.deepEqual(indexes.Purchases, [
    {
      IndexName: "unsettled",
      KeySchema: [
        { AttributeName: "unsettledShard", KeyType: "HASH" },
        { AttributeName: "dueAt", KeyType: "RANGE" },
      ],
      Projection: { ProjectionType: "ALL" },
    },
  ]);
  // Attributes of their own, which a settled purchase goes without: it is not in the index.
  const types = tables("dev", "AttributeDefinitions").Purchases;
  assert.deepEqual(Object.fromEntries(types.map((type: any) => [type.AttributeName, type.AttributeType])), {
    userId: "S",
    purchaseId: "S",
    unsettledShard: "N",
    dueAt: "N",
  });
});

test("what was done once is forgotten after a time, and nothing else is", () => {
  for (const { Properties } of resources("prod", "AWS::DynamoDB::Table"))
    assert.equal(
      Properties.TimeToLiveSpecification?.AttributeName,
      Properties.TableName.endsWith("-Idempotency") ? "expiresAt" : undefined,
    );
});

test("a table costs nothing while nobody uses it", () => {
  for (const { Properties } of resources("dev", "AWS::DynamoDB::Table"))
    assert.equal(Properties.BillingMode, "PAY_PER_REQUEST");
});

test("nobody without an identity is let in", () => {
  for (const stage of stages.keys()) {
    for (const { Properties } of resources(stage, "AWS::Cognito::IdentityPool"))
      assert.equal(Properties.AllowUnauthenticatedIdentities, false);
    for (const { Properties } of resources(stage, "AWS::Cognito::IdentityPoolRoleAttachment"))
      assert.deepEqual(Object.keys(Properties.Roles), ["authenticated"]);
    for (const { Properties } of resources(stage, "AWS::IAM::Role"))
      assert.deepEqual(
        Properties.AssumeRolePolicyDocument.Statement.map((each: any) => each.Condition),
        [
          {
            StringEquals: { "cognito-identity.amazonaws.com:aud": { Ref: "Identities" } },
            "ForAnyValue:StringLike": { "cognito-identity.amazonaws.com:amr": "authenticated" },
          },
        ],
      );
  }
});

test("a user who has signed in may call the API of their own stage, and do nothing else", () => {
  const [policy, ...others] = resources("prod", "AWS::IAM::Policy");
  assert.equal(others.length, 0);
  assert.deepEqual(
    statements(policy).map(({ Effect, Action }) => ({ Effect, Action })),
    [{ Effect: "Allow", Action: "execute-api:Invoke" }],
  );
  assert.match(JSON.stringify(statements(policy)[0].Resource), /:execute-api:.*:\*\/prod\/\*"/);
});

test("what a user may do is within the account's boundary, as every role is that a deploy makes", () => {
  for (const stage of stages.keys())
    for (const { Properties } of resources(stage, "AWS::IAM::Role"))
      assert.match(JSON.stringify(Properties.PermissionsBoundary), /:policy\/scratchpad-boundary"/);
});

test("dev's users may call every stage of dev's account, since ephemeral stages link to dev", () => {
  const [policy] = resources("dev", "AWS::IAM::Policy");
  assert.match(JSON.stringify(statements(policy)[0].Resource), /:execute-api:.*:\*\/\*\/\*"/);
});

test("people sign up with an e-mail address and prove it by a code", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPool")) {
    assert.deepEqual(Properties.UsernameAttributes, ["email"]);
    assert.deepEqual(Properties.AutoVerifiedAttributes, ["email"]);
    assert.equal(Properties.VerificationMessageTemplate.DefaultEmailOption, "CONFIRM_WITH_CODE");
    assert.equal(Properties.AdminCreateUserConfig.AllowAdminCreateUserOnly, false);
  }
});

test("the browser app holds no secret, and tells nobody who has an account", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPoolClient")) {
    assert.equal(Properties.GenerateSecret, false);
    assert.equal(Properties.PreventUserExistenceErrors, "ENABLED");
  }
});

test("a password is never sent as it is on a protected stage", () => {
  const flows = (stage: string) => resources(stage, "AWS::Cognito::UserPoolClient")[0]!.Properties.ExplicitAuthFlows;
  assert.ok(flows("local").includes("ALLOW_USER_PASSWORD_AUTH"));
  assert.ok(!flows("prod").includes("ALLOW_USER_PASSWORD_AUTH"));
  for (const stage of stages.keys()) assert.ok(flows(stage).includes("ALLOW_USER_SRP_AUTH"));
});

test("buckets are never public, are encrypted at rest and, in the cloud, on their way", () => {
  for (const stage of stages.keys())
    for (const { Properties } of resources(stage, "AWS::S3::Bucket")) {
      assert.deepEqual(new Set(Object.values(Properties.PublicAccessBlockConfiguration)), new Set([true]));
      assert.equal(Properties.BucketEncryption.ServerSideEncryptionConfiguration.length, 1);
    }
  for (const stage of ["dev", "prod"])
    assert.ok(
      resources(stage, "AWS::S3::BucketPolicy").some((policy) =>
        statements(policy).some(
          ({ Effect, Condition }) => Effect === "Deny" && Condition.Bool["aws:SecureTransport"] === "false",
        ),
      ),
    );
});

test("a local cloud that plays an account asks nobody for TLS, which it does not speak, and has the rest", () => {
  const app = new App({ builtinCloudFormationValidation: false, context: { cloud: "local" } });
  const played = infrastructure(app, stageNamed("prod"));
  assert.deepEqual(
    played.map((stack) => stack.stackName),
    stacks("prod").map((stack) => stack.stackName),
  );
  for (const stack of played) assert.doesNotMatch(JSON.stringify(Template.fromStack(stack)), /SecureTransport/);
});

test("an upload is announced on the event bus, without a custom resource", () => {
  for (const stage of stages.keys())
    assert.equal(
      attachments(stage).Properties.NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled,
      true,
    );
  for (const template of [...stages.values()].flat())
    assert.deepEqual(
      Object.values<any>(template.toJSON().Resources).filter(({ Type }) => /^(Custom|AWS::Lambda)::/.test(Type)),
      [],
    );
});

test("only the stage's own web app, and those of stages that link to it, may upload from a browser", () => {
  const rules = (stage: string) =>
    attachments(stage).Properties.CorsConfiguration.CorsRules.map((rule: any) => [
      rule.AllowedOrigins,
      rule.AllowedMethods,
    ]);
  const methods = ["GET", "HEAD", "PUT"];
  assert.deepEqual(rules("prod"), [[[stageNamed("prod").allowedOrigin], methods]]);
  assert.deepEqual(rules("dev"), [[[stageNamed("dev").allowedOrigin, "https://*.cloudfront.net"], methods]]);
});

test("the app's bucket is read by its own distribution alone, which speaks nothing but TLS", () => {
  for (const stage of ["dev", "prod"]) {
    const { Properties } = resources(stage, "AWS::CloudFront::Distribution")[0]!;
    const { DefaultCacheBehavior, CacheBehaviors, Origins, ViewerCertificate } = Properties.DistributionConfig;
    for (const behavior of [DefaultCacheBehavior, ...CacheBehaviors]) {
      assert.equal(behavior.ViewerProtocolPolicy, "redirect-to-https");
      assert.equal(behavior.Compress, true);
    }
    assert.equal(ViewerCertificate.MinimumProtocolVersion, "TLSv1.2_2021");
    for (const origin of Origins) assert.ok(origin.OriginAccessControlId);
    const policies = resources(stage, "AWS::S3::BucketPolicy").flatMap(statements);
    const reads = policies.filter(({ Effect, Action }) => Effect === "Allow" && Action === "s3:GetObject");
    assert.deepEqual(
      reads.map(({ Principal }) => Principal),
      [{ Service: "cloudfront.amazonaws.com" }],
    );
    assert.match(JSON.stringify(reads[0].Condition), /AWS:SourceArn.*distribution/);
  }
});

test("a browser is told not to run what is not the app's own, and keeps what never changes", () => {
  for (const stage of ["dev", "prod"]) {
    const policies = resources(stage, "AWS::CloudFront::ResponseHeadersPolicy");
    const keeps = policies.map(({ Properties: { ResponseHeadersPolicyConfig: policy } }) => {
      const { SecurityHeadersConfig, CustomHeadersConfig } = policy;
      const csp = JSON.stringify(SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy);
      assert.match(csp, /default-src 'none'; script-src 'self'/);
      assert.doesNotMatch(csp, /unsafe/);
      assert.equal(SecurityHeadersConfig.FrameOptions.FrameOption, "DENY");
      return CustomHeadersConfig.Items.find(({ Header }: any) => Header === "Cache-Control").Value;
    });
    assert.deepEqual(keeps, ["no-cache", "public, max-age=31536000, immutable"]);
  }
});

test("CloudFront and the server on a laptop send the same headers", () => {
  const headers = securityHeaders({ api: [], files: "", stripe: [] });
  const { Properties } = resources("dev", "AWS::CloudFront::ResponseHeadersPolicy")[0]!;
  const { SecurityHeadersConfig: sent } = Properties.ResponseHeadersPolicyConfig;
  assert.equal(headers["X-Frame-Options"], sent.FrameOptions.FrameOption);
  assert.equal(headers["Referrer-Policy"], sent.ReferrerPolicy.ReferrerPolicy);
  assert.equal(
    headers["Strict-Transport-Security"],
    `max-age=${sent.StrictTransportSecurity.AccessControlMaxAgeSec}; includeSubDomains`,
  );
  assert.ok(sent.ContentTypeOptions && headers["X-Content-Type-Options"] === "nosniff");
});

test("a stage with a domain has a zone and a certificate for it, and lets the app from there alone call", () => {
  for (const stage of ["dev", "prod"]) {
    const { domain, allowedOrigin } = stageNamed(stage);
    assert.equal(allowedOrigin, `https://${domain}`);
    assert.equal(resources(stage, "AWS::Route53::HostedZone")[0]!.Properties.Name, `${domain}.`);
    assert.equal(resources(stage, "AWS::CertificateManager::Certificate")[0]!.Properties.DomainName, domain);
    const distribution = resources(stage, "AWS::CloudFront::Distribution")[0]!;
    assert.deepEqual(distribution.Properties.DistributionConfig.Aliases, [domain]);
    const records = resources(stage, "AWS::Route53::RecordSet").map(({ Properties }) => Properties.Type);
    assert.deepEqual(records.sort(), ["A", "AAAA"]);
  }
});

test("a domain below that of another stage is delegated by it once its name servers are known", () => {
  const nameServers = ["ns-1.awsdns-1.org", "ns-2.awsdns-2.com"];
  const dev = { domain: "dev.scratchpad.example.com", nameServers };
  const below = delegations("scratchpad.example.com", [
    dev,
    { domain: "other.example.com", nameServers },
    { domain: "new.scratchpad.example.com" },
  ]);
  assert.deepEqual(below, [dev]);
  const prod = infrastructure(new App({ builtinCloudFormationValidation: false }), {
    ...stageNamed("prod"),
    delegations: below,
  });
  const records = prod.flatMap((stack) =>
    Object.values(Template.fromStack(stack).findResources("AWS::Route53::RecordSet", { Properties: { Type: "NS" } })),
  );
  assert.deepEqual(
    records.map(({ Properties }) => [Properties.Name, Properties.ResourceRecords]),
    [[`${dev.domain}.`, nameServers]],
  );
});

test("every export carries the stage's name, and every stage in the cloud has the same", () => {
  const exports = (stage: string) =>
    stages
      .get(stage)!
      .flatMap((template) => Object.values(template.findOutputs("*")).map((output) => output.Export.Name));
  for (const stage of stages.keys())
    assert.deepEqual(
      exports(stage).sort(),
      [
        "AttachmentsBucketArn",
        "AttachmentsBucketName",
        "AttachmentsTableArn",
        "AttachmentsTableName",
        "IdempotencyTableArn",
        "IdempotencyTableName",
        "IdentityPoolId",
        "NotesTableArn",
        "NotesTableName",
        "PurchasesTableArn",
        "PurchasesTableName",
        "PurchasesTableStreamArn",
        "UserPoolClientId",
        "UserPoolId",
        ...(stage === "local" ? [] : ["AlarmsTopicArn", "NameServers", "WebBucketName", "WebDistributionId", "WebUrl"]),
      ]
        .sort()
        .map((name) => `scratchpad-${stage}-${name}`),
    );
});

test("stacks are called by unit and stage, and import nothing from each other", () => {
  assert.deepEqual(
    stacks("dev").map((stack) => stack.stackName),
    [
      "scratchpad-cognito-dev",
      "scratchpad-dynamodb-dev",
      "scratchpad-s3-dev",
      "scratchpad-web-dev",
      "scratchpad-alarms-dev",
    ],
  );
  for (const template of stages.get("dev")!) assert.doesNotMatch(JSON.stringify(template), /Fn::ImportValue/);
});

test("a stage without a row has infrastructure of its own", () => {
  const names = stacks("pr-1").map((stack) => stack.stackName);
  assert.deepEqual(
    names,
    ["cognito", "dynamodb", "s3", "web"].map((unit) => `scratchpad-${unit}-pr-1`),
  );
});

test("a stage that links to dev's infrastructure has an app of its own, at CloudFront's own name, and nothing else", () => {
  assert.deepEqual(
    linkedStacks().map((stack) => stack.stackName),
    ["scratchpad-web-pr-1"],
  );
  const [web] = linked;
  const { WebUrl } = web!.findOutputs("WebUrl");
  assert.match(JSON.stringify(WebUrl!.Value), /"https:\/\/",.*"DomainName"/);
  web!.resourceCountIs("AWS::Route53::HostedZone", 0);
  for (const { Properties } of Object.values(web!.findResources("AWS::CloudFront::Distribution")))
    assert.equal(Properties.DistributionConfig.Aliases, undefined);
});

test("an app that links to dev's infrastructure may show dev's files", () => {
  for (const { Properties } of Object.values(linked[0]!.findResources("AWS::CloudFront::ResponseHeadersPolicy"))) {
    const csp =
      Properties.ResponseHeadersPolicyConfig.SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy;
    assert.match(JSON.stringify(csp), /https:\/\/scratchpad-dev-attachments-/);
  }
});

test("a stage's alarms are told by e-mail to whom its row names, and by CloudWatch alone", () => {
  for (const stage of ["dev", "prod"]) {
    const [subscription] = resources(stage, "AWS::SNS::Subscription");
    const { Protocol, Endpoint } = subscription!.Properties;
    assert.deepEqual([Protocol, Endpoint], ["email", stageNamed(stage).alarms]);
    const [policy] = resources(stage, "AWS::SNS::TopicPolicy");
    const [{ Principal, Action, Condition }, ...others] = statements(policy);
    assert.equal(others.length, 0);
    assert.deepEqual([Principal, Action], [{ Service: "cloudwatch.amazonaws.com" }, "sns:Publish"]);
    assert.deepEqual(Condition.StringEquals, { "aws:SourceAccount": { Ref: "AWS::AccountId" } });
    assert.match(JSON.stringify(Condition.ArnLike), new RegExp(`:alarm:scratchpad-${stage}-\\*"`));
  }
  for (const template of [...stages.get("local")!, ...linked]) template.resourceCountIs("AWS::SNS::Topic", 0);
});
