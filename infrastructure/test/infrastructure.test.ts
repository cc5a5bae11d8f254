import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Match, Template } from "aws-cdk-lib/assertions";
import { securityHeaders } from "../../web/security-headers.ts"; // part: web
import { allTables, dataStacks } from "../lib/data.ts";
import { infrastructure } from "../lib/infrastructure.ts";
import { delegations, type Stage, stageNamed } from "../lib/stage.ts";
import { checkCertificateRegion } from "../lib/web-stack.ts"; // part: web
import { services } from "./services.ts";

/** The units of the stacks with tables. */
const dataUnits = dataStacks.map(([unit]) => unit);
const stacks = (stage: string) =>
  infrastructure(new App({ builtinCloudFormationValidation: false }), stageNamed(stage));
const templates = (stage: string) => stacks(stage).map((stack) => Template.fromStack(stack));
const stages = new Map(["local", "dev", "prod"].map((stage) => [stage, templates(stage)]));
const linkedStacks = () =>
  infrastructure(
    new App({ builtinCloudFormationValidation: false }),
    stageNamed("feature-1", { SCRATCHPAD_INFRASTRUCTURE: "dev" }),
  );
const linked = linkedStacks().map((stack) => Template.fromStack(stack));

/** A stage whose domain is delegated to its hosted zone. */
function delegatedStage(name: string): Stage & { domain: string } {
  const { domain, ...stage } = stageNamed(name);
  assert.ok(domain, `${name} has no domain`);
  return { ...stage, domain, delegated: true, allowedOrigin: `https://${domain}` };
}
const delegated = new Map(
  ["dev", "prod"].map((stage) => [
    stage,
    infrastructure(new App({ builtinCloudFormationValidation: false }), delegatedStage(stage)).map((stack) =>
      Template.fromStack(stack),
    ),
  ]),
);
const allTemplates = [...stages.values(), ...delegated.values(), linked].flat();

/** The resources of one type in the stacks of a stage. Fails if there are none, because the test would check nothing. */
function resources(stage: string, type: string, templates = stages) {
  const found = templates.get(stage)!.flatMap((template) => Object.values(template.findResources(type)));
  assert.notEqual(found.length, 0, `${stage} has no ${type}`);
  return found;
}

const attachments = (stage: string, templates = stages) =>
  resources(stage, "AWS::S3::Bucket", templates).find(({ Properties }) =>
    JSON.stringify(Properties.BucketName).includes("attachments"),
  )!;

// part: billing {
/** The principal that stands for all users and roles of the account whose policies allow an action. */
const accountRoot = {
  "Fn::Join": ["", ["arn:", { Ref: "AWS::Partition" }, ":iam::", { Ref: "AWS::AccountId" }, ":root"]],
};
// part: billing }
const statements = (policy: any): any[] => policy.Properties.PolicyDocument.Statement;

test("a protected stage keeps its data when a stack is deleted", () => {
  for (const type of [
    "AWS::DynamoDB::Table",
    "AWS::S3::Bucket",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::IdentityPool", // its identities are the keys of the data
  ])
    for (const resource of resources("prod", type)) {
      assert.equal(resource.DeletionPolicy, "RetainExceptOnCreate");
      assert.equal(resource.UpdateReplacePolicy, "Retain");
    }
});

test("a resource whose creation failed is deleted, because its name would block the next attempt", () => {
  for (const template of allTemplates)
    for (const resource of Object.values<any>(template.toJSON().Resources))
      assert.notEqual(resource.DeletionPolicy, "Retain");
});

test("an unprotected stage retains no resources", () => {
  for (const stage of ["local", "dev"])
    for (const template of stages.get(stage)!)
      for (const resource of Object.values<any>(template.toJSON().Resources))
        assert.doesNotMatch(resource.DeletionPolicy ?? "Delete", /^Retain/);
});

test("a protected stage's tables have deletion protection and point-in-time recovery", () => {
  for (const { Properties } of resources("prod", "AWS::DynamoDB::Table")) {
    assert.equal(Properties.DeletionProtectionEnabled, true);
    assert.equal(Properties.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled, true);
  }
});

test("a protected stage's user pool and stacks have deletion protection", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPool"))
    assert.equal(Properties.DeletionProtection, "ACTIVE");
  for (const stack of stacks("prod")) assert.equal(stack.terminationProtection, true);
});

test("a protected stage keeps old versions of attachments for 30 days", () => {
  const { Properties } = attachments("prod");
  assert.equal(Properties.VersioningConfiguration.Status, "Enabled");
  assert.equal(Properties.LifecycleConfiguration.Rules[0].NoncurrentVersionExpiration.NoncurrentDays, 30);
});

test("the delete marker of an attachment, which contains its file name, expires after its last version", () => {
  const [rule, ...others] = attachments("prod").Properties.LifecycleConfiguration.Rules;
  assert.equal(others.length, 0);
  assert.deepEqual([rule.Status, rule.Prefix, rule.ExpiredObjectDeleteMarker], ["Enabled", undefined, true]);
});

test("the partition key of every table with user data is the user ID", () => {
  for (const { Properties } of resources("dev", "AWS::DynamoDB::Table")) {
    const [partition] = Properties.KeySchema;
    const name: string = Properties.TableName;
    assert.deepEqual(
      partition,
      { AttributeName: name.endsWith("-Idempotency") ? "id" : "userId", KeyType: "HASH" },
      name,
    );
  }
});

test("the name of each table is that of no table of another stack", () => {
  const names = allTables.map(([name]) => name);
  assert.deepEqual(names, [...new Set(names)]);
});

// part: billing {
/** The values of one property of a stage's tables, by the name of the table without the stage. */
const tables = (stage: string, property: string) =>
  Object.fromEntries(
    resources(stage, "AWS::DynamoDB::Table")
      .filter(({ Properties }) => property in Properties)
      .map(({ Properties }) => [Properties.TableName.split("-").at(-1), Properties[property]]),
  );

test("only the purchases table has a stream, with old and new images", () => {
  for (const stage of stages.keys())
    assert.deepEqual(tables(stage, "StreamSpecification"), { Purchases: { StreamViewType: "NEW_AND_OLD_IMAGES" } });
});

test("an index lists the unsettled purchases of all users by due time", () => {
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
  // The index is sparse: a settled purchase does not have its key attributes.
  const types = tables("dev", "AttributeDefinitions").Purchases;
  assert.deepEqual(Object.fromEntries(types.map((type: any) => [type.AttributeName, type.AttributeType])), {
    userId: "S",
    purchaseId: "S",
    unsettledShard: "N",
    dueAt: "N",
  });
});
// part: billing }

test("only the idempotency table has a TTL", () => {
  for (const { Properties } of resources("prod", "AWS::DynamoDB::Table"))
    assert.equal(
      Properties.TimeToLiveSpecification?.AttributeName,
      Properties.TableName.endsWith("-Idempotency") ? "expiresAt" : undefined,
    );
});

test("tables are billed per request", () => {
  for (const { Properties } of resources("dev", "AWS::DynamoDB::Table"))
    assert.equal(Properties.BillingMode, "PAY_PER_REQUEST");
});

test("the identity pool refuses unauthenticated users", () => {
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

test("a logged-in user may only call the API of their own stage", () => {
  const [policy, ...others] = resources("prod", "AWS::IAM::Policy");
  assert.equal(others.length, 0);
  assert.deepEqual(
    statements(policy).map(({ Effect, Action }) => ({ Effect, Action })),
    [{ Effect: "Allow", Action: "execute-api:Invoke" }],
  );
  assert.match(JSON.stringify(statements(policy)[0].Resource), /:execute-api:.*:\*\/prod\/\*"/);
});

test("the users' role has the permissions boundary of the stage", () => {
  for (const stage of stages.keys())
    for (const { Properties } of resources(stage, "AWS::IAM::Role"))
      assert.match(JSON.stringify(Properties.PermissionsBoundary), new RegExp(`:policy/scratchpad-boundary-${stage}"`));
});

test("dev's users may call the APIs of all stages in dev's account, because ephemeral stages link to dev", () => {
  const [policy] = resources("dev", "AWS::IAM::Policy");
  assert.match(JSON.stringify(statements(policy)[0].Resource), /:execute-api:.*:\*\/\*\/\*"/);
});

test("users sign up with an e-mail address and confirm it with a code", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPool")) {
    assert.deepEqual(Properties.UsernameAttributes, ["email"]);
    assert.deepEqual(Properties.AutoVerifiedAttributes, ["email"]);
    assert.equal(Properties.VerificationMessageTemplate.DefaultEmailOption, "CONFIRM_WITH_CODE");
    assert.equal(Properties.AdminCreateUserConfig.AllowAdminCreateUserOnly, false);
  }
});

test("the app's client has no secret and does not reveal which accounts exist", () => {
  for (const { Properties } of resources("prod", "AWS::Cognito::UserPoolClient")) {
    assert.equal(Properties.GenerateSecret, false);
    assert.equal(Properties.PreventUserExistenceErrors, "ENABLED");
  }
});

test("a protected stage does not allow the plain password flow", () => {
  const flows = (stage: string) => resources(stage, "AWS::Cognito::UserPoolClient")[0]!.Properties.ExplicitAuthFlows;
  assert.ok(flows("local").includes("ALLOW_USER_PASSWORD_AUTH"));
  assert.ok(!flows("prod").includes("ALLOW_USER_PASSWORD_AUTH"));
  for (const stage of stages.keys()) assert.ok(flows(stage).includes("ALLOW_USER_SRP_AUTH"));
});

test("buckets are private and encrypted, and require TLS in the cloud", () => {
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

test("an account that is emulated locally has the same stacks without the TLS requirement", () => {
  const app = new App({ builtinCloudFormationValidation: false, context: { cloud: "local" } });
  const emulated = infrastructure(app, stageNamed("prod"));
  assert.deepEqual(
    emulated.map((stack) => stack.stackName),
    stacks("prod")
      .map((stack) => stack.stackName)
      .filter((name) => name !== "scratchpad-firewall-prod"), // the local cloud has no firewall
  );
  for (const stack of emulated) assert.doesNotMatch(JSON.stringify(Template.fromStack(stack)), /SecureTransport/);
});

test("uploads are sent to EventBridge without a custom resource", () => {
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

test("only the app of the stage, and of stages that link to it, may upload", () => {
  const rules = (stage: string) =>
    attachments(stage, delegated).Properties.CorsConfiguration.CorsRules.map((rule: any) => [
      rule.AllowedOrigins,
      rule.AllowedMethods,
    ]);
  const methods = ["GET", "HEAD", "PUT"];
  assert.deepEqual(rules("prod"), [[["https://scratchpad.example.com"], methods]]);
  const origins = [
    "https://dev.scratchpad.example.com",
    "https://*.cloudfront.net", // part: web
  ];
  assert.deepEqual(rules("dev"), [[origins, methods]]);
});

test("every origin may upload to a stage whose domain is not delegated", () => {
  for (const stage of ["dev", "prod"]) {
    const [{ AllowedOrigins }] = attachments(stage).Properties.CorsConfiguration.CorsRules;
    assert.equal(AllowedOrigins[0], "*");
  }
});

// part: web {
test("only the distribution reads the app's bucket, and the distribution requires TLS", () => {
  for (const stage of ["dev", "prod"]) {
    const { Properties } = resources(stage, "AWS::CloudFront::Distribution")[0]!;
    const { DefaultCacheBehavior, CacheBehaviors, Origins } = Properties.DistributionConfig;
    for (const behavior of [DefaultCacheBehavior, ...CacheBehaviors]) {
      assert.equal(behavior.ViewerProtocolPolicy, "redirect-to-https");
      assert.equal(behavior.Compress, true);
    }
    // CloudFront chooses the minimum for its own domain.
    const [{ Properties: own }] = resources(stage, "AWS::CloudFront::Distribution", delegated) as [any];
    assert.equal(own.DistributionConfig.ViewerCertificate.MinimumProtocolVersion, "TLSv1.2_2021");
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

/** The sources of the scripts that the app loads. */
const sources = [
  /^'self'$/,
  /^https:\/\/(\*\.)?([a-z]+\.)+stripe\.com$/, // part: billing
];

test("the content security policy allows only scripts of known sources", () => {
  for (const stage of ["dev", "prod"])
    for (const { Properties } of resources(stage, "AWS::CloudFront::ResponseHeadersPolicy")) {
      const { SecurityHeadersConfig } = Properties.ResponseHeadersPolicyConfig;
      const csp = JSON.stringify(SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy);
      assert.match(csp, /default-src 'none'; script-src 'self'/);
      const [, scripts] = csp.match(/script-src ([^;]*);/)!;
      for (const source of scripts!.split(" "))
        assert.ok(
          sources.some((known) => known.test(source)),
          source,
        );
      assert.doesNotMatch(csp, /unsafe/);
      assert.equal(SecurityHeadersConfig.FrameOptions.FrameOption, "DENY");
    }
});

test("a stage has only one response headers policy, and the policy does not set Cache-Control", () => {
  for (const stage of ["dev", "prod"]) {
    const [policy, ...others] = resources(stage, "AWS::CloudFront::ResponseHeadersPolicy");
    assert.equal(others.length, 0);
    assert.doesNotMatch(JSON.stringify(policy), /cache-control/i);
    const { Properties } = resources(stage, "AWS::CloudFront::Distribution")[0]!;
    const { DefaultCacheBehavior, CacheBehaviors } = Properties.DistributionConfig;
    for (const behavior of [DefaultCacheBehavior, ...CacheBehaviors])
      assert.ok(behavior.ResponseHeadersPolicyId?.Ref, "no policy");
  }
});

test("CloudFront and the local preview server send the same headers", () => {
  const headers = securityHeaders({ api: [], files: "", others: [] });
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
// part: web }

test("a stage with a domain has a hosted zone, and a sender of e-mail that SES verifies by records in it", () => {
  for (const stage of ["dev", "prod"]) {
    const { domain } = stageNamed(stage);
    assert.equal(resources(stage, "AWS::Route53::HostedZone")[0]!.Properties.Name, `${domain}.`);
    assert.equal(resources(stage, "AWS::SES::EmailIdentity")[0]!.Properties.EmailIdentity, domain);
    const records = resources(stage, "AWS::Route53::RecordSet").map(({ Properties }) => [
      Properties.Type,
      Properties.Name["Fn::GetAtt"][1],
      Properties.ResourceRecords[0]["Fn::GetAtt"][1],
    ]);
    assert.deepEqual(
      records,
      [1, 2, 3].map((record) => ["CNAME", `DkimDNSTokenName${record}`, `DkimDNSTokenValue${record}`]),
    );
  }
});

// part: web {
test("until the domain of a stage is delegated, no certificate waits for it, and its app has CloudFront's domain", () => {
  for (const stage of ["dev", "prod"]) {
    for (const template of stages.get(stage)!) template.resourceCountIs("AWS::CertificateManager::Certificate", 0);
    const { Properties } = resources(stage, "AWS::CloudFront::Distribution")[0]!;
    assert.equal(Properties.DistributionConfig.Aliases, undefined);
    const urls = stages.get(stage)!.flatMap((template) => template.findOutputs("WebUrl").WebUrl ?? []);
    assert.match(JSON.stringify(urls[0]!.Value), /"https:\/\/",.*"DomainName"/);
    assert.equal(stageNamed(stage).allowedOrigin, "*");
  }
});

test("once the domain of a stage is delegated, its app has it", () => {
  for (const stage of ["dev", "prod"]) {
    const { domain } = delegatedStage(stage);
    const [certificate] = resources(stage, "AWS::CertificateManager::Certificate", delegated);
    assert.equal(certificate!.Properties.DomainName, domain);
    const zone = { "Fn::ImportValue": `scratchpad-${stage}-HostedZoneId` };
    assert.deepEqual(certificate!.Properties.DomainValidationOptions, [{ DomainName: domain, HostedZoneId: zone }]);
    const [distribution] = resources(stage, "AWS::CloudFront::Distribution", delegated);
    assert.deepEqual(distribution!.Properties.DistributionConfig.Aliases, [domain]);
    const records = resources(stage, "AWS::Route53::RecordSet", delegated)
      .map(({ Properties }) => Properties)
      .filter(({ Type }) => Type !== "CNAME");
    assert.deepEqual(
      records.map(({ Type, Name, HostedZoneId }) => [Type, Name, HostedZoneId]),
      ["A", "AAAA"].map((type) => [type, `${domain}.`, zone]),
    );
  }
});

// CloudFormation waits for the validation of a certificate. The name servers of the zone, which the parent domain needs for the
// validation, would be known only afterwards.
test("a certificate is never in the same stack as a hosted zone", () => {
  let certificates = 0;
  for (const template of allTemplates) {
    const types = new Set(Object.values<any>(template.toJSON().Resources).map(({ Type }) => Type));
    const both = types.has("AWS::CertificateManager::Certificate") && types.has("AWS::Route53::HostedZone");
    assert.equal(both, false);
    certificates += Number(types.has("AWS::CertificateManager::Certificate"));
  }
  assert.equal(certificates, delegated.size);
});

test("a delegated domain is refused outside us-east-1, where CloudFront's certificates must be", () => {
  const check = (stage: Stage, region: string) => () => checkCertificateRegion(stage, region);
  assert.throws(check(delegatedStage("prod"), "eu-central-1"), /in eu-central-1: .* us-east-1/);
  assert.doesNotThrow(check(delegatedStage("prod"), "us-east-1"));
  assert.doesNotThrow(check(stageNamed("prod"), "eu-central-1"));
});
// part: web }

// `cargo xtask test` checks the templates of the rows with cfn-lint. No row of this repository has a delegated domain.
test("cfn-lint accepts the templates of a stage with a delegated domain", () => {
  const root = resolve(import.meta.dirname, "../..");
  const folder = mkdtempSync(join(tmpdir(), "scratchpad-"));
  try {
    const files = delegated.get("prod")!.map((template, index) => {
      const file = join(folder, `${index}.template.json`);
      writeFileSync(file, JSON.stringify(template));
      return file;
    });
    const lint = spawnSync(join(root, ".venv/bin/cfn-lint"), files, { cwd: root, encoding: "utf8" });
    assert.equal(lint.status, 0, lint.error?.message ?? lint.stdout + lint.stderr);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("e-mail to users is sent by Cognito until the domain is delegated, and then by SES from the domain", () => {
  for (const stage of ["dev", "prod"]) {
    assert.equal(resources(stage, "AWS::Cognito::UserPool")[0]!.Properties.EmailConfiguration, undefined);
    assert.deepEqual(resources(stage, "AWS::Cognito::UserPool", delegated)[0]!.Properties.EmailConfiguration, {
      EmailSendingAccount: "DEVELOPER",
      From: `Scratchpad <no-reply@${stageNamed(stage).domain}>`,
      SourceArn: { "Fn::ImportValue": `scratchpad-${stage}-EmailIdentityArn` },
    });
  }
});

test("a stage delegates the subdomain of another stage once the other stage's name servers are known", () => {
  const nameServers = ["ns-1.awsdns-1.org", "ns-2.awsdns-2.com"];
  const dev = { domain: "dev.app.test", nameServers };
  const known = delegations("app.test", [dev, { domain: "other.test", nameServers }, { domain: "new.app.test" }]);
  assert.deepEqual(known, [dev]);
  const prod = infrastructure(new App({ builtinCloudFormationValidation: false }), {
    ...stageNamed("prod"),
    delegations: known,
  });
  const records = prod.flatMap((stack) =>
    Object.values(Template.fromStack(stack).findResources("AWS::Route53::RecordSet", { Properties: { Type: "NS" } })),
  );
  assert.deepEqual(
    records.map(({ Properties }) => [Properties.Name, Properties.ResourceRecords]),
    [[`${dev.domain}.`, nameServers]],
  );
});

test("every export name contains the stage, and every stage in the cloud has the same exports", () => {
  const exports = (stage: string) =>
    stages
      .get(stage)!
      .flatMap((template) => Object.values(template.findOutputs("*")).flatMap((output) => output.Export?.Name ?? []));
  for (const stage of stages.keys())
    assert.deepEqual(
      exports(stage).sort(),
      [
        ...allTables.flatMap(([name, { stream }]) =>
          ["Arn", "Name", ...(stream ? ["StreamArn"] : [])].map((value) => `${name}Table${value}`),
        ),
        "AlarmsTopicArn",
        "AttachmentsBucketArn",
        "AttachmentsBucketName",
        "IdentityPoolId",
        "PurchasesTopicArn", // part: billing
        "UserHashKey",
        "UserPoolClientId",
        "UserPoolId",
        ...(stage === "local"
          ? []
          : [
              "EmailIdentityArn",
              "HostedZoneId",
              "NameServers",
              "WebBucketName", // part: web
              "WebDistributionId", // part: web
              "WebUrl", // part: web
            ]),
      ]
        .sort()
        .map((name) => `scratchpad-${stage}-${name}`),
    );
});

/** The exports that stacks import, sorted. */
const imports = (templates: Template[]) => {
  const found = templates.flatMap((template) => [
    ...JSON.stringify(template.toJSON()).matchAll(/"Fn::ImportValue":"([^"]*)"/g),
  ]);
  return [...new Set(found.map(([, name]) => name))].sort();
};

test("stacks are named by unit and stage, and import only from the stack dns", () => {
  assert.deepEqual(
    stacks("dev").map((stack) => stack.stackName),
    [
      ...dataUnits.map((unit) => `scratchpad-${unit}-dev`),
      "scratchpad-dns-dev",
      "scratchpad-cognito-dev",
      "scratchpad-s3-dev",
      "scratchpad-topics-dev", // part: billing
      "scratchpad-web-dev", // part: web
      "scratchpad-alarms-dev",
      "scratchpad-operations-dev",
    ],
  );
  const withoutOperations = (templates: Template[]) =>
    templates.filter((template) => Object.keys(template.findResources("AWS::CloudWatch::Dashboard")).length === 0);
  assert.deepEqual(imports(withoutOperations(stages.get("dev")!)), []);
  const imported = [
    "EmailIdentityArn",
    "HostedZoneId", // part: web
  ];
  assert.deepEqual(
    imports(withoutOperations(delegated.get("dev")!)),
    imported.map((name) => `scratchpad-dev-${name}`),
  );
});

test("the alarms and the web ACL are deployed after the services, because they import from them", () => {
  const importsOf = (stack: string) =>
    imports([Template.fromStack(stacks("prod").find(({ stackName }) => stackName === stack)!)]);
  assert.deepEqual(importsOf("scratchpad-operations-prod"), [
    "scratchpad-prod-AlarmsTopicArn",
    ...services.map((service) => `scratchpad-prod-${service}`),
  ]);
  assert.deepEqual(importsOf("scratchpad-firewall-prod"), ["scratchpad-prod-RestApiId"]);
});

test("a stage with a limit of requests per address blocks the addresses that exceed it", () => {
  const { requestsPer5Minutes } = stageNamed("prod").webAcl!;
  const [{ Properties: acl }] = resources("prod", "AWS::WAFv2::WebACL") as [any];
  assert.deepEqual([acl.Scope, acl.DefaultAction], ["REGIONAL", { Allow: {} }]);
  assert.deepEqual(
    acl.Rules.map(({ Action, Statement }: any) => [Action, Statement.RateBasedStatement]),
    [[{ Block: {} }, { AggregateKeyType: "IP", EvaluationWindowSec: 300, Limit: requestsPer5Minutes }]],
  );
  const [{ Properties: association }] = resources("prod", "AWS::WAFv2::WebACLAssociation") as [any];
  assert.match(JSON.stringify(association.ResourceArn), /:apigateway:.*::\/restapis\/.*prod-RestApiId.*\/stages\/prod/);
  for (const stage of ["local", "dev"])
    for (const template of stages.get(stage)!) template.resourceCountIs("AWS::WAFv2::WebACL", 0);
});

test("a stage without a row has its own infrastructure", () => {
  const names = stacks("feature-1").map((stack) => stack.stackName);
  const units = [
    ...dataUnits,
    "cognito",
    "s3",
    "topics", // part: billing
    "web", // part: web
  ];
  assert.deepEqual(
    names,
    units.map((unit) => `scratchpad-${unit}-feature-1`),
  );
});

test("a stage that links to dev's infrastructure has no tables, users and files of its own", () => {
  const units = [
    "topics", // part: billing
    "web", // part: web
  ];
  assert.deepEqual(
    linkedStacks().map((stack) => stack.stackName),
    units.map((unit) => `scratchpad-${unit}-feature-1`),
  );
});

// part: web {
test("the app of a stage that links to dev's infrastructure has CloudFront's domain", () => {
  const web = linked.at(-1);
  const { WebUrl } = web!.findOutputs("WebUrl");
  assert.match(JSON.stringify(WebUrl!.Value), /"https:\/\/",.*"DomainName"/);
  web!.resourceCountIs("AWS::Route53::HostedZone", 0);
  for (const { Properties } of Object.values(web!.findResources("AWS::CloudFront::Distribution")))
    assert.equal(Properties.DistributionConfig.Aliases, undefined);
});

test("the app of a stage that links to dev may show dev's attachments", () => {
  for (const { Properties } of Object.values(linked.at(-1)!.findResources("AWS::CloudFront::ResponseHeadersPolicy"))) {
    const csp =
      Properties.ResponseHeadersPolicyConfig.SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy;
    assert.match(JSON.stringify(csp), /https:\/\/scratchpad-dev-attachments-/);
  }
});
// part: web }

test("a stage's alarms go to the e-mail address of its row, and only CloudWatch may publish them", () => {
  for (const stage of ["local", "dev", "prod"]) {
    const [subscription] = resources(stage, "AWS::SNS::Subscription");
    const { Protocol, Endpoint } = subscription!.Properties;
    assert.deepEqual([Protocol, Endpoint], ["email", stageNamed(stage).alarms]);
    const policy = resources(stage, "AWS::SNS::TopicPolicy").find((each) =>
      JSON.stringify(each).includes("cloudwatch"),
    );
    const [{ Principal, Action, Condition }, ...others] = statements(policy);
    assert.equal(others.length, 0);
    assert.deepEqual([Principal, Action], [{ Service: "cloudwatch.amazonaws.com" }, "sns:Publish"]);
    assert.deepEqual(Condition.StringEquals, { "aws:SourceAccount": { Ref: "AWS::AccountId" } });
    assert.match(JSON.stringify(Condition.ArnLike), new RegExp(`:alarm:scratchpad-${stage}-\\*"`));
  }
  for (const template of linked)
    template.resourcePropertiesCountIs("AWS::SNS::Topic", { TopicName: Match.stringLikeRegexp("alarms") }, 0);
});

// part: billing {
test("every stage has its own topic of purchases, and only roles of its account may publish to it", () => {
  for (const [stage, templates] of [...stages, ["feature-1", linked] as const]) {
    const topics = templates.flatMap((template) =>
      Object.entries(template.findResources("AWS::SNS::Topic")).filter(
        ([, { Properties }]) => Properties.TopicName === `scratchpad-${stage}-Purchases`,
      ),
    );
    assert.equal(topics.length, 1, stage);
    const [id] = topics[0]!;
    const policies = templates.flatMap((template) => Object.values(template.findResources("AWS::SNS::TopicPolicy")));
    const own = policies.filter(({ Properties }) => JSON.stringify(Properties.Topics).includes(id));
    assert.deepEqual(
      own.flatMap(statements).map(({ Effect, Action, Principal }) => [Effect, Action, JSON.stringify(Principal)]),
      [["Allow", "sns:Publish", JSON.stringify({ AWS: accountRoot })]],
    );
  }
});
// part: billing }
