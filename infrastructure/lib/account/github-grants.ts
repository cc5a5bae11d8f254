import type { Stack } from "aws-cdk-lib";
import { Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Access } from "../account.ts";
import { stageNamed } from "../stage.ts";
import { boundaryName } from "./boundary-stack.ts";

/** Actions of a service, separated by spaces, on resources, given as the last part of their ARNs, with conditions. */
type Grant = [
  service: string,
  actions: string,
  resources: string[],
  conditions?: Record<string, Record<string, string | string[]>>,
];

/**
 * The policy statements of a role for GitHub workflows.
 *
 * Where AWS lets us name a resource, its name contains the stage, and the statements are limited to the stages of the role.
 */
export function grants({ may, stages }: Access, stack: Stack): PolicyStatement[] {
  const arn = (service: string, end: string) => {
    const region = ["cloudfront", "iam", "s3"].includes(service) ? "" : stack.region;
    const account = ["apigateway", "s3"].includes(service) ? "" : stack.account;
    return end === "*" ? "*" : `arn:${stack.partition}:${service}:${region}:${account}:${end}`;
  };
  const statement =
    (effect: Effect) =>
    ([service, actions, resources, conditions = {}]: Grant) =>
      new PolicyStatement({
        effect,
        actions: actions.split(" ").map((action) => `${service}:${action}`),
        resources: resources.map((end) => arn(service, end)),
        conditions,
      });
  const releases = `scratchpad-releases-${stack.account}`;
  const allowed = [...readGrants(releases)];
  const denied: Grant[] = [];
  if (stages !== undefined) {
    allowed.push(...showGrants(stages, releases));
    const stage = stageNamed(stages);
    if (stage.protected) denied.push(...dataDeletionGrants(stages));
    if (may === "deploy") {
      allowed.push(...deployGrants(stages, releases, arn));
      if (stage.infrastructure === "own") allowed.push(...infrastructureGrants(stages));
      if (stage.traffic) allowed.push(...trafficGrants(stages));
    }
  }
  return [...allowed.map(statement(Effect.ALLOW)), ...denied.map(statement(Effect.DENY))];
}

const stacks = (stages: string) => `stack/scratchpad-*-${stages}/*`;

const readGrants = (releases: string): Grant[] => [
  ["s3", "GetBucketLocation GetObject ListBucket", [releases, `${releases}/*`]],
];

const showGrants = (stages: string, releases: string): Grant[] => [
  ["s3", "PutObject", [`${releases}/artifacts/*`]], // the templates, which CloudFormation reads from there
  ["cloudformation", "DescribeStacks GetTemplateSummary ListExports ListImports ListStacks ValidateTemplate", ["*"]],
  ["cloudformation", "CreateChangeSet DeleteChangeSet Describe* Get* List*", [stacks(stages)]],
];

/** Deploys what every stage has: functions, an API, the browser app and alarms. */
function deployGrants(stages: string, releases: string, arn: (service: string, end: string) => string): Grant[] {
  const named = `scratchpad-${stages}-*`;
  const bounded = { StringEquals: { "iam:PermissionsBoundary": arn("iam", `policy/${boundaryName}`) } };
  const passed = ["lambda", "codedeploy", "cognito-identity"].map((service) => `${service}.amazonaws.com`);
  return [
    ["s3", "DeleteObject PutObject", [`${releases}/releases/${stages}/*`]],
    ["s3", "DeleteObject", [`${releases}/artifacts/lock.json`]], // held while artifacts are added or pruned
    ["cloudformation", "CreateStack DeleteStack ExecuteChangeSet UpdateStack", [stacks(stages)]],
    [
      "cloudformation",
      "ContinueUpdateRollback RollbackStack TagResource UntagResource UpdateTerminationProtection",
      [stacks(stages)],
    ],

    [
      "iam",
      "AttachRolePolicy CreateRole DetachRolePolicy PutRolePermissionsBoundary PutRolePolicy",
      [`role/${named}`],
      bounded,
    ],
    ["iam", "DeleteRole DeleteRolePolicy GetRole GetRolePolicy List* TagRole UntagRole", [`role/${named}`]],
    ["iam", "UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription", [`role/${named}`]],
    ["iam", "PassRole", [`role/${named}`], { StringEquals: { "iam:PassedToService": passed } }],

    [
      "lambda",
      "AddPermission CreateFunction DeleteFunction Get* List* PublishVersion RemovePermission",
      [`function:${named}`],
    ],
    ["lambda", "*Alias* *EventInvokeConfig* TagResource UntagResource UpdateFunction*", [`function:${named}`]],
    [
      "logs",
      "CreateLogGroup DeleteLogGroup *RetentionPolicy TagResource UntagResource",
      [`log-group:/aws/lambda/${named}`],
    ],
    ["logs", "Describe* FilterLogEvents Get* ListTags*", [`log-group:/aws/lambda/${named}`]],
    ["logs", "DescribeLogGroups", ["*"]],
    ["ssm", "DeleteParameter*", [`parameter/scratchpad/${stages}/*`]], // only developers read or write secrets
    ["ssm", "DescribeParameters", ["*"]],
    ["sns", "CreateTopic DeleteTopic Get* List* SetTopicAttributes TagResource UntagResource", [named]],
    ["sns", "SetSubscriptionAttributes Subscribe Unsubscribe", [named]],
    ["sqs", "CreateQueue DeleteQueue Get* ListQueueTags SetQueueAttributes TagQueue UntagQueue", [named]],
    [
      "events",
      "DeleteRule DescribeRule List* PutRule PutTargets RemoveTargets",
      [`rule/${named}`, `rule/scratchpad-*-${stages}-*`],
    ],
    ["events", "TagResource UntagResource", [`rule/${named}`, `rule/scratchpad-*-${stages}-*`]],
    ["cloudwatch", "DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource", [`alarm:${named}`]],
    ["cloudwatch", "DescribeAlarms", ["*"]],

    ["s3", "CreateBucket DeleteBucket DeleteBucketPolicy Get*Configuration GetBucket* List*", [named]],
    ["s3", "Put*Configuration PutBucket* TagResource UntagResource", [named]],
    ["s3", "DeleteObject*", [`${named}/*`]], // a bucket has to be empty before it is deleted
    ["s3", "GetObject PutObject", [`scratchpad-${stages}-web-*/*`]], // only the browser app: a workflow cannot read the users' files

    // Resources that AWS names.
    ["apigateway", "DELETE GET PATCH POST PUT", ["/restapis", "/restapis/*", "/tags/*"]],
    [
      "cloudfront",
      "Create* Delete* Get* List* TagResource UntagResource Update*",
      ["distribution/*", "response-headers-policy/*"],
    ],
    [
      "cloudfront",
      "Create* Delete* Describe* Get* List* PublishFunction Update*",
      ["function/*", "origin-access-control/*"],
    ],
    [
      "lambda",
      "CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping",
      ["*"],
      { ArnLike: { "lambda:FunctionArn": arn("lambda", `function:${named}`) } },
    ],
    ["lambda", "ListTags TagResource UntagResource", ["event-source-mapping:*"]],
  ];
}

/** Deploys the tables, users and domain of a stage with its own infrastructure. */
const infrastructureGrants = (stages: string): Grant[] => [
  [
    "dynamodb",
    "CreateTable DeleteTable UpdateContinuousBackups UpdateTable UpdateTimeToLive",
    [`table/scratchpad-${stages}-*`],
  ],
  [
    "dynamodb",
    "Describe* GetResourcePolicy ListTagsOfResource TagResource UntagResource",
    [`table/scratchpad-${stages}-*`],
  ],

  // Resources that AWS names.
  ["cognito-idp", "CreateUserPool* DeleteUserPool* Describe* Get* List* SetUserPoolMfaConfig UpdateUserPool*", ["*"]],
  ["cognito-idp", "TagResource UntagResource", ["*"]],
  ["cognito-identity", "CreateIdentityPool DeleteIdentityPool Describe* List* UpdateIdentityPool", ["*"]],
  ["cognito-identity", "GetIdentityPoolRoles SetIdentityPoolRoles TagResource UntagResource", ["*"]],
  ["route53", "ChangeResourceRecordSets ChangeTagsForResource CreateHostedZone DeleteHostedZone Get* List*", ["*"]],
  ["route53", "UpdateHostedZoneComment", ["*"]],
  ["acm", "AddTagsToCertificate DeleteCertificate DescribeCertificate RequestCertificate", ["*"]],
  ["acm", "ListTagsForCertificate RemoveTagsFromCertificate", ["*"]],
];

/** Shifts traffic with CodeDeploy. The application is named after its stack. */
const trafficGrants = (stages: string): Grant[] => [
  [
    "codedeploy",
    "CreateApplication DeleteApplication GetApplication* UpdateApplication",
    [`application:scratchpad-*-${stages}`],
  ],
  ["codedeploy", "ListTagsForResource RegisterApplicationRevision TagResource", [`application:scratchpad-*-${stages}`]],
  [
    "codedeploy",
    "CreateDeployment* GetDeployment* ListDeployments StopDeployment",
    [`deploymentgroup:scratchpad-*-${stages}/*`],
  ],
  [
    "codedeploy",
    "DeleteDeploymentGroup TagResource UpdateDeploymentGroup",
    [`deploymentgroup:scratchpad-*-${stages}/*`],
  ],
  ["codedeploy", "GetDeploymentConfig", ["deploymentconfig:*"]],
];

/** Denied on a protected stage: these actions delete user data, even if a template asks for them. */
const dataDeletionGrants = (stages: string): Grant[] => [
  ["cognito-idp", "DeleteUserPool", ["*"]],
  ["dynamodb", "DeleteTable", [`table/scratchpad-${stages}-*`]],
  ["s3", "DeleteBucket DeleteObject*", [`scratchpad-${stages}-attachments-*`]], // also the files in it
  ["ssm", "DeleteParameter*", [`parameter/scratchpad/${stages}/*`]],
];
