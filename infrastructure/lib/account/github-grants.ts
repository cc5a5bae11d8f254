import type { Stack } from "aws-cdk-lib";
import { Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Access } from "../account.ts";
import { stageNamed } from "../stage.ts";
import { boundary } from "./boundary-stack.ts";

/** Actions of a service, on what, by the ends of its ARNs; on a condition. */
type Grant = [
  service: string,
  actions: string,
  on: string[],
  conditions?: Record<string, Record<string, string | string[]>>,
];

/** What a workflow needs for what it may do, with names that hold the stages' wherever AWS lets us choose names. */
export function grants({ may, stages }: Access, stack: Stack): PolicyStatement[] {
  const arn = (service: string, end: string) => {
    const region = ["cloudfront", "iam", "s3"].includes(service) ? "" : stack.region;
    const account = ["apigateway", "s3"].includes(service) ? "" : stack.account;
    return end === "*" ? "*" : `arn:${stack.partition}:${service}:${region}:${account}:${end}`;
  };
  const statement =
    (effect: Effect) =>
    ([service, actions, on, conditions = {}]: Grant) =>
      new PolicyStatement({
        effect,
        actions: actions.split(" ").map((action) => `${service}:${action}`),
        resources: on.map((end) => arn(service, end)),
        conditions,
      });
  const releases = `scratchpad-releases-${stack.account}`;
  const allowed = [...reads(releases)];
  const denied: Grant[] = [];
  if (stages !== undefined) {
    allowed.push(...shows(stages, releases));
    const stage = stageNamed(stages);
    if (stage.protected) denied.push(...keeps(stages));
    if (may === "deploy") {
      allowed.push(...deploys(stages, releases, arn));
      if (stage.infrastructure === "own") allowed.push(...deploysInfrastructure(stages));
      if (stage.traffic) allowed.push(...shiftsTraffic(stages));
    }
  }
  return [...allowed.map(statement(Effect.ALLOW)), ...denied.map(statement(Effect.DENY))];
}

const stacks = (stages: string) => `stack/scratchpad-*-${stages}/*`;

const reads = (releases: string): Grant[] => [
  ["s3", "GetBucketLocation GetObject ListBucket", [releases, `${releases}/*`]],
];

const shows = (stages: string, releases: string): Grant[] => [
  ["s3", "PutObject", [`${releases}/artefacts/*`]], // which CloudFormation reads templates from
  ["cloudformation", "DescribeStacks GetTemplateSummary ListExports ListImports ListStacks ValidateTemplate", ["*"]],
  ["cloudformation", "CreateChangeSet DeleteChangeSet Describe* Get* List*", [stacks(stages)]],
];

/** What every stage has: functions, an API, an app, alarms. */
function deploys(stages: string, releases: string, arn: (service: string, end: string) => string): Grant[] {
  const named = `scratchpad-${stages}-*`;
  const bounded = { StringEquals: { "iam:PermissionsBoundary": arn("iam", `policy/${boundary}`) } };
  const passed = ["lambda", "codedeploy", "cognito-identity"].map((service) => `${service}.amazonaws.com`);
  return [
    ["s3", "DeleteObject PutObject", [`${releases}/releases/${stages}/*`]],
    ["s3", "DeleteObject", [`${releases}/artefacts/lock.json`]], // while it adds to what other stages may need
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
    ["ssm", "DeleteParameter*", [`parameter/scratchpad/${stages}/*`]], // to read secrets or to put them is for people
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
    ["s3", "DeleteObject*", [`${named}/*`]], // a bucket that goes is emptied
    ["s3", "GetObject PutObject", [`scratchpad-${stages}-web-*/*`]], // people's files are read by nobody else

    // What has no name but the one that AWS gives it.
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

/** What a stage has besides when its data and people are its own. */
const deploysInfrastructure = (stages: string): Grant[] => [
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

  // What has no name but the one that AWS gives it.
  ["cognito-idp", "CreateUserPool* DeleteUserPool* Describe* Get* List* SetUserPoolMfaConfig UpdateUserPool*", ["*"]],
  ["cognito-idp", "TagResource UntagResource", ["*"]],
  ["cognito-identity", "CreateIdentityPool DeleteIdentityPool Describe* List* UpdateIdentityPool", ["*"]],
  ["cognito-identity", "GetIdentityPoolRoles SetIdentityPoolRoles TagResource UntagResource", ["*"]],
  ["route53", "ChangeResourceRecordSets ChangeTagsForResource CreateHostedZone DeleteHostedZone Get* List*", ["*"]],
  ["route53", "UpdateHostedZoneComment", ["*"]],
  ["acm", "AddTagsToCertificate DeleteCertificate DescribeCertificate RequestCertificate", ["*"]],
  ["acm", "ListTagsForCertificate RemoveTagsFromCertificate", ["*"]],
];

/** CodeDeploy's, whose application is called as the stack that it is in. */
const shiftsTraffic = (stages: string): Grant[] => [
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

/** What a protected stage knows of people stays, whatever a template says. */
const keeps = (stages: string): Grant[] => [
  ["cognito-idp", "DeleteUserPool", ["*"]],
  ["dynamodb", "DeleteTable", [`table/scratchpad-${stages}-*`]],
  ["s3", "DeleteBucket DeleteObject*", [`scratchpad-${stages}-attachments-*`]], // the files in it as well
  ["ssm", "DeleteParameter*", [`parameter/scratchpad/${stages}/*`]],
];
