import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve as resolvePath } from "node:path";
import { App, type Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { infrastructure } from "../lib/infrastructure.ts";
import type { Stage } from "../lib/stage.ts";
import { generatedName } from "./fair-split.ts";
import { packageService, services } from "./services.ts";

const root = resolvePath(import.meta.dirname, "../..");

/** Where resources are created. */
export interface Place {
  account: string;
  region: string;
}

/** A resource of a template, with resolved properties and with the name and the ARN that it will have. */
export interface Resource {
  stack: string;
  id: string;
  type: string;
  properties: any;
  /** Whether CloudFormation keeps the resource when it is removed from the template. */
  retained: boolean;
  /** The UpdatePolicy of the resource, with resolved values. */
  updatePolicy?: any;
  /** The name, or a placeholder for an ID that AWS assigns. */
  name: string;
  arn: string;
}

/** Templates by the names of their stacks. */
export type Templates = Map<string, any>;

/** The templates of CDK stacks. */
export const cdkTemplates = (stacks: Stack[]): Templates =>
  new Map(stacks.map((stack) => [stack.stackName, Template.fromStack(stack).toJSON()]));

export const newApp = () => new App({ builtinCloudFormationValidation: false });

/** All templates of a stage: the stacks of the CDK and those of the services. */
export async function stageTemplates(stage: Stage): Promise<Templates> {
  const templates = cdkTemplates(infrastructure(newApp(), stage));
  const packaged = services.map(async (service) => {
    const template = await packagedOnce(service, stage.name);
    templates.set(`scratchpad-${service}-${stage.name}`, withoutDeploymentBucket(template));
  });
  await Promise.all(packaged);
  return templates;
}

/** Like xtask, removes the deployment bucket of osls, because the zips are in the releases bucket. */
function withoutDeploymentBucket({ Resources, Outputs, ...template }: any) {
  const { ServerlessDeploymentBucket, ServerlessDeploymentBucketPolicy, ...resources } = Resources;
  const { ServerlessDeploymentBucketName, ...outputs } = Outputs;
  for (const { Type, Properties } of Object.values<any>(resources))
    if (Type === "AWS::Lambda::Function") delete Properties.Code;
  return { ...template, Outputs: outputs, Resources: resources };
}

/** Packages a service. The template is read from a cache below target/ if none of the inputs has changed. */
async function packagedOnce(service: string, stage: string) {
  const shared = readdirSync(root).filter((name) => name.startsWith("serverless."));
  const inputs = [...shared, "package-lock.json", `services/${service}/serverless.yml`];
  const hash = createHash("sha256").update(JSON.stringify([service, stage]));
  for (const input of inputs) hash.update(readFileSync(join(root, input)));
  const folder = join(root, "target/test-templates");
  const file = join(folder, `${hash.digest("hex")}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  const template = await packageService(service, stage);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, JSON.stringify(template));
  return template;
}

/** The property with the name of a resource, and the limit of a generated name in characters. */
const nameProperties: Record<string, [property: string, limit: number]> = {
  "AWS::CloudFront::Function": ["Name", 64], // part: web
  "AWS::CloudWatch::Alarm": ["AlarmName", 255],
  "AWS::CloudWatch::CompositeAlarm": ["AlarmName", 255],
  "AWS::CloudWatch::Dashboard": ["DashboardName", 255],
  "AWS::CodeDeploy::Application": ["ApplicationName", 100],
  "AWS::CodeDeploy::DeploymentGroup": ["DeploymentGroupName", 100],
  "AWS::DynamoDB::Table": ["TableName", 255],
  "AWS::Events::Rule": ["Name", 64],
  "AWS::IAM::ManagedPolicy": ["ManagedPolicyName", 128],
  "AWS::IAM::Role": ["RoleName", 64],
  "AWS::Lambda::Alias": ["Name", 128],
  "AWS::Lambda::Function": ["FunctionName", 64],
  "AWS::Logs::LogGroup": ["LogGroupName", 512],
  "AWS::S3::Bucket": ["BucketName", 63],
  "AWS::SES::EmailIdentity": ["EmailIdentity", 255],
  "AWS::SNS::Topic": ["TopicName", 256],
  "AWS::SQS::Queue": ["QueueName", 80],
  "AWS::WAFv2::WebACL": ["Name", 128],
};

/** The ARN of a resource, from its name, its resolved properties, and its place. Other types have no ARN of their own. */
const arns: Record<string, (name: string, properties: any, place: Place) => string> = {
  "AWS::ApiGateway::RestApi": (name, _, { region }) => `arn:aws:apigateway:${region}::/restapis/${name}`,
  "AWS::CertificateManager::Certificate": (name, _, place) => regional("acm", `certificate/${name}`, place), // part: web
  "AWS::CloudFront::Distribution": (name, _, { account }) => `arn:aws:cloudfront::${account}:distribution/${name}`, // part: web
  "AWS::CloudFront::Function": (name, _, { account }) => `arn:aws:cloudfront::${account}:function/${name}`, // part: web
  // part: web {
  "AWS::CloudFront::OriginAccessControl": (name, _, { account }) =>
    `arn:aws:cloudfront::${account}:origin-access-control/${name}`,
  // part: web }
  // part: web {
  "AWS::CloudFront::ResponseHeadersPolicy": (name, _, { account }) =>
    `arn:aws:cloudfront::${account}:response-headers-policy/${name}`,
  // part: web }
  "AWS::CloudWatch::Alarm": (name, _, place) => regional("cloudwatch", `alarm:${name}`, place),
  "AWS::CloudWatch::CompositeAlarm": (name, _, place) => regional("cloudwatch", `alarm:${name}`, place),
  "AWS::CloudWatch::Dashboard": (name, _, { account }) => `arn:aws:cloudwatch::${account}:dashboard/${name}`,
  "AWS::CodeDeploy::Application": (name, _, place) => regional("codedeploy", `application:${name}`, place),
  "AWS::CodeDeploy::DeploymentGroup": (name, { ApplicationName }, place) =>
    regional("codedeploy", `deploymentgroup:${ApplicationName}/${name}`, place),
  "AWS::Cognito::IdentityPool": (name, _, place) => regional("cognito-identity", `identitypool/${name}`, place),
  "AWS::Cognito::UserPool": (name, _, place) => regional("cognito-idp", `userpool/${name}`, place),
  "AWS::DynamoDB::Table": (name, _, place) => regional("dynamodb", `table/${name}`, place),
  "AWS::Events::Rule": (name, _, place) => regional("events", `rule/${name}`, place),
  "AWS::IAM::ManagedPolicy": (name, _, { account }) => `arn:aws:iam::${account}:policy/${name}`,
  "AWS::IAM::OIDCProvider": (name, _, { account }) => `arn:aws:iam::${account}:oidc-provider/${name}`,
  "AWS::IAM::Role": (name, _, { account }) => `arn:aws:iam::${account}:role/${name}`,
  "AWS::Lambda::Alias": (name, { FunctionName }, place) => `${functionArn(FunctionName, place)}:${name}`,
  "AWS::Lambda::EventSourceMapping": (name, _, place) => regional("lambda", `event-source-mapping:${name}`, place),
  "AWS::Lambda::Function": functionArn,
  "AWS::Lambda::Version": (_, { FunctionName }, place) => `${functionArn(FunctionName, place)}:1`,
  "AWS::Logs::LogGroup": (name, _, place) => regional("logs", `log-group:${name}`, place),
  "AWS::Route53::HostedZone": (name) => `arn:aws:route53:::hostedzone/${name}`,
  "AWS::S3::Bucket": (name) => `arn:aws:s3:::${name}`,
  "AWS::SES::EmailIdentity": (name, _, place) => regional("ses", `identity/${name}`, place),
  "AWS::SNS::Topic": (name, _, place) => regional("sns", name, place),
  "AWS::SQS::Queue": (name, _, place) => regional("sqs", name, place),
  "AWS::WAFv2::WebACL": (name, _, place) => regional("wafv2", `regional/webacl/${name}/assigned`, place),
};

/** What `Ref` returns, for types for which it is not the name. */
const references: Record<string, (resource: Pick<Resource, "name" | "arn">, place: Place) => string> = {
  "AWS::CertificateManager::Certificate": ({ arn }) => arn, // part: web
  "AWS::CloudFront::Function": ({ arn }) => arn, // part: web
  "AWS::IAM::ManagedPolicy": ({ arn }) => arn,
  "AWS::IAM::OIDCProvider": ({ arn }) => arn,
  "AWS::Lambda::Alias": ({ arn }) => arn,
  "AWS::Lambda::Version": ({ arn }) => arn,
  "AWS::SNS::Topic": ({ arn }) => arn,
  "AWS::SQS::Queue": ({ name }, { account, region }) => `https://sqs.${region}.amazonaws.com/${account}/${name}`,
};

const regional = (service: string, resource: string, { account, region }: Place) =>
  `arn:aws:${service}:${region}:${account}:${resource}`;

/** The ARN of a function without a qualifier, from its name or ARN, which may have a qualifier. */
export function functionArn(name: string, ...others: [any, Place] | [Place]): string {
  const short = name.replace(/^arn:.*:function:/, "").split(":")[0]!;
  return regional("lambda", `function:${short}`, others.at(-1) as Place);
}

/** Resolves the intrinsic functions in templates, with the exports of all of them. */
export class Resolver {
  private readonly exports = new Map<string, { stack: string; value: any }>();
  private readonly resolved = new Map<string, Resource>();

  constructor(
    private readonly templates: Templates,
    private readonly place: Place,
  ) {
    for (const [stack, template] of templates)
      for (const { Export, Value } of Object.values<any>(template.Outputs ?? {}))
        if (Export) this.exports.set(this.resolve(Export.Name, stack), { stack, value: Value });
  }

  /** The resources of a stack. Those whose condition is never true are left out. */
  resources(stack: string): Resource[] {
    const declarations = Object.entries<any>(this.templates.get(stack)!.Resources);
    return declarations.filter(([, { Condition }]) => Condition !== "Never").map(([id]) => this.resource(stack, id));
  }

  private resource(stack: string, id: string): Resource {
    const known = this.resolved.get(`${stack}/${id}`);
    if (known) return known;
    const declaration = this.templates.get(stack)!.Resources[id];
    if (!declaration) throw new Error(`${stack} has no resource ${id}`);
    const { Type: type, Properties = {}, UpdatePolicy, DeletionPolicy = "Delete" } = declaration;
    const retained = DeletionPolicy !== "Delete";
    const [property, limit] = nameProperties[type] ?? [];
    const explicit = property === undefined ? undefined : Properties[property];
    const name: string =
      explicit !== undefined
        ? this.resolve(explicit, stack)
        : limit !== undefined
          ? generatedName(stack, id, limit)
          : `assigned-${id}`;
    const resource: Resource = { stack, id, type, name, arn: "", properties: {}, retained };
    // References to the resource from its own properties, or from those of its dependencies, need only its name.
    this.resolved.set(`${stack}/${id}`, resource);
    resource.properties = this.resolve(Properties, stack);
    resource.updatePolicy = this.resolve(UpdatePolicy, stack);
    resource.arn = arns[type]?.(name, resource.properties, this.place) ?? "";
    return resource;
  }

  private reference(stack: string, name: string): string {
    const { account, region } = this.place;
    const pseudo: Record<string, string> = {
      "AWS::AccountId": account,
      "AWS::Partition": "aws",
      "AWS::Region": region,
      "AWS::StackId": regional("cloudformation", `stack/${stack}/assigned`, this.place),
      "AWS::StackName": stack,
      "AWS::URLSuffix": "amazonaws.com",
    };
    if (pseudo[name] !== undefined) return pseudo[name];
    const resource = this.resource(stack, name);
    return references[resource.type]?.(resource, this.place) ?? resource.name;
  }

  private attribute(stack: string, id: string, name: string): string {
    const { arn, type, name: own } = this.resource(stack, id);
    if (type === "AWS::SES::EmailIdentity" && name.startsWith("DkimDNSTokenName")) return `assigned._domainkey.${own}`;
    if (name === "Arn" || name.endsWith("ARN") || name === "TopicArn") return arn;
    if (name === "StreamArn") return `${arn}/stream/assigned`;
    if (name === "AliasArn") return arn;
    return type === "AWS::Lambda::Version" && name === "Version" ? "1" : `assigned-${id}-${name}`;
  }

  /** Resolves a value of a template of a stack. */
  resolve(value: any, stack: string): any {
    if (Array.isArray(value)) return value.map((item) => this.resolve(item, stack));
    if (typeof value !== "object" || value === null) return value;
    const [[name, argument] = [undefined, undefined], ...others] = Object.entries<any>(value);
    if (name !== undefined && others.length === 0)
      switch (name) {
        case "Ref":
          return this.reference(stack, argument);
        case "Fn::GetAtt": {
          const [id, attribute] = Array.isArray(argument) ? argument : argument.split(".");
          return this.attribute(stack, id, attribute);
        }
        case "Fn::ImportValue": {
          const found = this.exports.get(this.resolve(argument, stack));
          if (!found) throw new Error(`${stack} imports ${JSON.stringify(argument)}, which no stack exports`);
          return this.resolve(found.value, found.stack);
        }
        case "Fn::Join":
          return [this.resolve(argument[1], stack)].flat().join(argument[0]);
        case "Fn::Sub": {
          const [text, values = {}] = [argument].flat();
          return text.replace(/\$\{([^}]+)\}/g, (_: string, key: string) => {
            if (key in values) return this.resolve(values[key], stack);
            const [id, attribute] = key.split(/\.(.*)/);
            return attribute ? this.attribute(stack, id!, attribute) : this.reference(stack, key);
          });
        }
        case "Fn::Select":
        case "Fn::Split":
        case "Fn::If":
          return `assigned-${name}`;
      }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.resolve(item, stack)]));
  }
}
