import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { infrastructure } from "../lib/infrastructure.ts";
import { type Stage, stageNamed } from "../lib/stage.ts";
import { packageService, services } from "./services.ts";

/** The longest stage name that xtask accepts. */
const longest = "s".repeat(maxLength());

function maxLength(): number {
  const table = readFileSync(new URL("../../xtask/src/release/table.rs", import.meta.url), "utf8");
  const [, most, others] = table.match(/const MAX_LENGTH: usize = (\d+) - "(.+)".len\(\);/)!;
  return Number(most) - others!.length;
}

// No region has a longer name than us-isof-south-1, and no partition has a longer suffix than China.
const pseudoParameters: Record<string, string> = {
  "AWS::AccountId": "111111111111",
  "AWS::Partition": "aws-us-gov",
  "AWS::Region": "us-isof-south-1",
  "AWS::URLSuffix": "amazonaws.com.cn",
};

/** The text to which CloudFormation resolves a value. Undefined if it is not text, or depends on other resources or stacks. */
function text(value: any): string | undefined {
  if (typeof value === "string") return value;
  if (value?.Ref in pseudoParameters) return pseudoParameters[value.Ref];
  if (!value?.["Fn::Join"]) return;
  const [separator, parts] = value["Fn::Join"];
  const texts = Array.isArray(parts) ? parts.map(text) : [undefined];
  return texts.includes(undefined) ? undefined : texts.join(separator);
}

const stacks = (stage: Stage) =>
  infrastructure(new App({ builtinCloudFormationValidation: false }), stage).map((stack) =>
    Template.fromStack(stack).toJSON(),
  );

// Prod has the most resources: alarms, and a gradual shift of traffic. In the templates of the longest stage name, tools shorten
// some names.
const prod = { ...stageNamed("prod"), delegated: true };
const templates = [
  ...stacks({ ...prod, name: longest, linked: longest }),
  ...(await Promise.all(services.map((service) => packageService(service, longest)))),
  ...(await Promise.all(services.map((service) => packageService(service, "prod")))).map((template) =>
    JSON.parse(JSON.stringify(template).replaceAll("scratchpad-prod-", `scratchpad-${longest}-`)),
  ),
];
const resources: any[] = templates
  .flatMap(({ Resources }) => Object.values<any>(Resources))
  .filter(({ Condition }) => Condition !== "Never"); // CloudFormation does not create these

/**
 * The greatest length of each name that a stage's resources have, by property and type. The limits are in the API references of
 * the services.
 */
const limits: Record<string, Record<string, number>> = {
  AlarmName: { "AWS::CloudWatch::Alarm": 255, "AWS::CloudWatch::CompositeAlarm": 255 },
  ApplicationName: { "AWS::CodeDeploy::Application": 100 },
  BucketName: { "AWS::S3::Bucket": 63 },
  ClientName: { "AWS::Cognito::UserPoolClient": 128 },
  DashboardName: { "AWS::CloudWatch::Dashboard": 255 },
  DeploymentGroupName: { "AWS::CodeDeploy::DeploymentGroup": 100 },
  FunctionName: { "AWS::Lambda::Function": 64 },
  IdentityPoolName: { "AWS::Cognito::IdentityPool": 128 },
  LogGroupName: { "AWS::Logs::LogGroup": 512 },
  Name: {
    "AWS::ApiGateway::RestApi": 255,
    "AWS::CloudFront::Function": 64, // part: web
    "AWS::CloudFront::OriginAccessControl": 64, // part: web
    "AWS::CloudFront::ResponseHeadersPolicy": 128, // part: web
    "AWS::Events::Rule": 64,
    "AWS::Logs::QueryDefinition": 255,
    "AWS::WAFv2::WebACL": 128,
  },
  PolicyName: { "AWS::IAM::Role": 128 },
  QueueName: { "AWS::SQS::Queue": 80 },
  RoleName: { "AWS::IAM::Role": 64 },
  TableName: { "AWS::DynamoDB::Table": 255 },
  TopicName: { "AWS::SNS::Topic": 256 },
  UserPoolName: { "AWS::Cognito::UserPool": 128 },
};

/** The properties at any depth whose name ends in `Name`: property and value. */
function names(value: any): [property: string, name: string][] {
  if (Array.isArray(value)) return value.flatMap(names);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries<any>(value).flatMap(([property, inner]): [string, string][] => {
    const name = property.endsWith("Name") ? text(inner) : undefined;
    return name === undefined ? names(inner) : [[property, name]];
  });
}

test("the resources of the stage with the longest name have names that AWS accepts", () => {
  const checked = new Set<string>();
  for (const { Type, Properties } of resources)
    for (const [property, name] of names(Properties)) {
      const limit = limits[property]?.[Type];
      if (limit === undefined) continue;
      checked.add(`${Type} ${property}`);
      assert.ok(name.length <= limit, `${Type} ${property} ${name} has ${name.length} characters`);
    }
  const all = Object.entries(limits).flatMap(([property, types]) =>
    Object.keys(types).map((type) => `${type} ${property}`),
  );
  assert.deepEqual([...checked].sort(), all.sort(), "each limit is used");
});

test("names that the templates give to resources begin with the name of the product and the whole name of the stage", () => {
  const named = ["AWS::Events::Rule", "AWS::IAM::Role", "AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::SNS::Topic"];
  for (const { Type, Properties } of resources.filter((resource) => named.includes(resource.Type))) {
    const name = Properties.Name ?? Properties.RoleName ?? Properties.FunctionName ?? Properties.QueueName;
    const own: unknown = name ?? Properties.TopicName;
    assert.ok(typeof own === "string" && own.startsWith(`scratchpad-${longest}-`), `${Type} ${own}`);
  }
});

// part: web {
test("the content security policy has at most the 1,783 characters that CloudFront accepts", () => {
  const [policy, ...others] = resources.filter(({ Type }) => Type === "AWS::CloudFront::ResponseHeadersPolicy");
  assert.equal(others.length, 0);
  const { SecurityHeadersConfig } = policy.Properties.ResponseHeadersPolicyConfig;
  const csp = text(SecurityHeadersConfig.ContentSecurityPolicy.ContentSecurityPolicy)!;
  assert.match(csp, /us-isof-south-1\.amazonaws\.com\.cn/);
  assert.ok(csp.length <= 1783, `the policy has ${csp.length} characters`);
});
// part: web }

test("the inline policies of a role have together at most the 10,240 characters that IAM accepts", () => {
  for (const { Properties } of resources.filter(({ Type }) => Type === "AWS::IAM::Role")) {
    const policies: any[] = Properties.Policies ?? [];
    const length = policies.reduce((sum, { PolicyDocument }) => sum + JSON.stringify(PolicyDocument).length, 0);
    assert.ok(length <= 10_240, `${Properties.RoleName} has ${length} characters`);
  }
});

// part: web {
test("the code of the CloudFront Function has at most the 10 KB that CloudFront accepts", () => {
  const [pages] = resources.filter(({ Type }) => Type === "AWS::CloudFront::Function");
  const { length } = pages.Properties.FunctionCode;
  assert.ok(length <= 10_240, `the code has ${length} characters`);
});
// part: web }

test("the rule of a composite alarm has at most the 10,240 characters that CloudWatch accepts", () => {
  const rules = resources.flatMap(({ Properties }) => Properties?.AlarmRule ?? []);
  assert.notEqual(rules.length, 0);
  for (const rule of rules) assert.ok(rule.length <= 10_240, `${rule.slice(0, 80)}… has ${rule.length} characters`);
});

test("each template has at most the size, resources and outputs that CloudFormation accepts", () => {
  for (const template of templates) {
    const size = JSON.stringify(template).length;
    const resourceCount = Object.keys(template.Resources).length;
    const outputCount = Object.keys(template.Outputs ?? {}).length;
    const isAccepted = size < 1_000_000 && resourceCount < 500 && outputCount < 200;
    assert.ok(isAccepted, `${size} bytes, ${resourceCount} resources, ${outputCount} outputs`);
  }
});
