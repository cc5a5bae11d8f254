import type { Stack } from "aws-cdk-lib";
import { Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Access, Account } from "../account.ts";
import { boundaryOf, type StageTable } from "../stage.ts";

/** The conditions of a statement: the values of condition keys, by operator. */
type Conditions = Record<string, Record<string, string | string[]>>;

/**
 * Actions of a service, separated by spaces, on resources, given as the last part of their ARNs, or as the ARN of a resource of
 * another service, with conditions.
 */
type Grant = [service: string, actions: string, resources: string[], conditions?: Conditions];

/** The tag whose value is the name of the stage. All stacks of a stage have it, and pass it on to their resources. */
const tag = "scratchpad:stage";

/**
 * Returns the policies of a role for GitHub workflows in `account`: their statements, by the last part of their names. One
 * policy for all statements would exceed IAM's limit of 10,240 characters for the inline policies of a role, and that of
 * 6,144 for a managed policy: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
 *
 * Where AWS lets us name a resource, its name contains the stage, and the statements are limited to the names of the role's
 * stages. Other resources are limited by their tag. The condition keys of each action are in
 * https://docs.aws.amazon.com/service-authorization/latest/reference/
 *
 * @throws if the role is for a row of the stage table that workflows cannot use.
 */
export function grants(
  { may, stages }: Access,
  stack: Stack,
  account: Pick<Account, "name">,
  table: StageTable,
): Record<string, PolicyStatement[]> {
  const row = table[stages];
  if (!row || stages === "ephemeral" || row.account !== account.name)
    throw new Error(
      `Workflows cannot have permissions for ${stages}: it is not the row of stages in account ${account.name}`,
    );
  const arn: ToArn = (service, end) => {
    if (end.startsWith("arn:")) return end;
    const withoutRegion = [
      "cloudfront", // part: web
      "iam",
      "route53",
      "s3",
    ];
    const global = withoutRegion.includes(service) || end.startsWith("dashboard/");
    const region = global ? "" : stack.region;
    const owner = ["apigateway", "route53", "s3"].includes(service) ? "" : stack.account;
    return end === "*" ? "*" : `arn:${stack.partition}:${service}:${region}:${owner}:${end}`;
  };
  const statements = (effect: Effect, granted: Grant[]) =>
    granted.map(
      ([service, actions, resources, conditions = {}]) =>
        new PolicyStatement({
          effect,
          actions: actions.split(" ").map((action) => `${service}:${action}`),
          resources: resources.map((end) => arn(service, end)),
          conditions,
        }),
    );
  const releases = `scratchpad-releases-${stack.account}`;
  const deploys = may === "deploy";
  const allowed: Record<string, Grant[]> = {
    releases: [
      ...readGrants(stages, releases),
      ...(may === "read" ? [] : showGrants(stages)),
      ...(may === "show" ? [templateGrant(stages, releases), itemCountGrant(stages)] : []),
      ...(deploys ? deployGrants(stages, releases) : []),
    ],
    ...(deploys && {
      functions: functionGrants(stages, arn),
      ...(row.alarms && { operations: operationsGrants(stages) }),
      ...(row.webAcl && { firewall: firewallGrants(stages, arn) }),
      api: apiGrants(stages),
      ...(row.infrastructure === "own" && { data: dataGrants(stages) }),
      ...(row.domain && {
        domain: domainGrants(
          row.domain,
          stages, // part: web
        ),
      }),
      ...(row.traffic && { traffic: trafficGrants(stages, arn) }),
      ...(!row.protected && { removal: removalGrants(stages) }),
    }),
  };
  return {
    ...Object.fromEntries(Object.entries(allowed).map(([name, granted]) => [name, statements(Effect.ALLOW, granted)])),
    ...(row.protected && deploys && { protection: statements(Effect.DENY, dataDeletionGrants(stages)) }),
  };
}

/** Returns the ARN of a resource of a service from its last part. */
type ToArn = (service: string, end: string) => string;

const stacks = (stages: string) => `stack/scratchpad-*-${stages}/*`;

/** The condition that the resource has the tag of one of `stages`. */
const tagged = (stages: string): Conditions => ({ StringLike: { [`aws:ResourceTag/${tag}`]: stages } });

/**
 * The condition that the resource does not have the tag of a stage other than `stages`. For actions on a resource that may
 * be too new to have its tags.
 */
const notForeign = (stages: string): Conditions => ({ StringLikeIfExists: { [`aws:ResourceTag/${tag}`]: stages } });

/** The condition that a new resource does not get the tag of a stage other than `stages`. */
const created = (stages: string): Conditions => ({ StringLikeIfExists: { [`aws:RequestTag/${tag}`]: stages } });

/** The conditions that a resource neither has nor gets the tag of a stage other than `stages`. */
const retagged = (stages: string): Conditions => ({
  StringLikeIfExists: { [`aws:ResourceTag/${tag}`]: stages, [`aws:RequestTag/${tag}`]: stages },
});

/** The conditions that a resource has the tag of one of `stages`, and keeps it. */
const untagged = (stages: string): Conditions => ({
  ...tagged(stages),
  "ForAllValues:StringNotEquals": { "aws:TagKeys": [tag] },
});

/**
 * Reads the releases of stages. The role may list only the keys of these stages. S3 answers 403 rather than 404 to a request
 * for an object that does not exist, because the role may not list the whole bucket.
 */
const readGrants = (stages: string, releases: string): Grant[] => [
  ["s3", "GetBucketLocation", [releases]],
  ["s3", "ListBucket", [releases], { StringLike: { "s3:prefix": `${stages}/*` } }],
  ["s3", "GetObject", [`${releases}/${stages}/*`]],
];

/** Shows what a deployment would change, with change sets. */
const showGrants = (stages: string): Grant[] => [
  ["cloudformation", "DescribeStacks ListExports ListImports", ["*"]],
  ["cloudformation", "DeleteChangeSet DescribeChangeSet GetTemplate", [stacks(stages)]],
  ["cloudformation", "CreateChangeSet", [stacks(stages)], created(stages)],
  [
    "cloudformation",
    "TagResource", // of the change set
    [stacks(stages), "changeSet/scratchpad-*/*"],
    { StringEquals: { "cloudformation:CreateAction": "CreateChangeSet" }, ...created(stages) },
  ],
];

/** Stores the templates of change sets, which CloudFormation reads from the bucket. */
const templateGrant = (stages: string, releases: string): Grant => [
  "s3",
  "PutObject",
  [`${releases}/${stages}/artifacts/templates/*`],
];

/** Reads how many items would be lost with a table that a change replaces. A role that deploys may describe tables anyway. */
const itemCountGrant = (stages: string): Grant => ["dynamodb", "DescribeTable", [`table/scratchpad-${stages}-*`]];

/** Stores releases and changes stacks. */
const deployGrants = (stages: string, releases: string): Grant[] => [
  ["s3", "DeleteObject PutObject", [`${releases}/${stages}/*`]],
  ["cloudformation", "ContinueUpdateRollback DeleteStack DescribeStackEvents", [stacks(stages)]],
  ["cloudformation", "ListStackResources UpdateTerminationProtection", [stacks(stages)]],
  // xtask finds the stacks of a stage by their tag.
  ["cloudformation", "CreateStack TagResource UpdateStack", [stacks(stages)], created(stages)],
];

/** Deploys functions with their roles, logs, secrets, triggers and queues, and the access log of the API. */
function functionGrants(stages: string, arn: ToArn): Grant[] {
  const named = `scratchpad-${stages}-*`;
  const logGroups = [`log-group:/aws/lambda/${named}`, `log-group:/aws/apigateway/scratchpad-${stages}`];
  const bounded = { StringEquals: { "iam:PermissionsBoundary": arn("iam", `policy/${boundaryOf(stages)}`) } };
  const passed = ["lambda", "codedeploy", "cognito-identity"].map((service) => `${service}.amazonaws.com`);
  return [
    ["iam", "CreateRole PutRolePermissionsBoundary PutRolePolicy", [`role/${named}`], bounded],
    ["iam", "DeleteRole DeleteRolePolicy GetRole GetRolePolicy", [`role/${named}`]],
    ["iam", "ListAttachedRolePolicies ListRolePolicies ListRoleTags TagRole UntagRole", [`role/${named}`]],
    ["iam", "UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription", [`role/${named}`]],
    ["iam", "PassRole", [`role/${named}`], { StringEquals: { "iam:PassedToService": passed } }],
    // API Gateway creates it when the first API of the account is traced:
    // https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-enabling-xray.html
    serviceLinkedRole("ops.apigateway", "AWSServiceRoleForAPIGateway"),

    [
      "lambda",
      "CreateFunction DeleteFunction GetFunction UpdateFunctionCode UpdateFunctionConfiguration",
      [`function:${named}`],
    ],
    ["lambda", "GetFunctionCodeSigningConfig GetFunctionRecursionConfig", [`function:${named}`]],
    ["lambda", "GetFunctionScalingConfig GetRuntimeManagementConfig", [`function:${named}`]],
    ["lambda", "DeleteFunctionConcurrency PutFunctionConcurrency", [`function:${named}`]],
    ["lambda", "ListTags TagResource UntagResource", [`function:${named}`]],
    ["lambda", "AddPermission GetPolicy RemovePermission", [`function:${named}`]],
    ["lambda", "DeleteFunctionEventInvokeConfig GetFunctionEventInvokeConfig", [`function:${named}`]],
    ["lambda", "PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig", [`function:${named}`]],
    [
      "logs",
      "CreateLogGroup DeleteLogGroup DeleteRetentionPolicy GetDataProtectionPolicy PutRetentionPolicy",
      logGroups,
    ],
    ["logs", "ListTagsForResource TagResource UntagResource", logGroups],
    ["logs", "DescribeIndexPolicies DescribeLogGroups DescribeResourcePolicies", ["*"]],
    ["ssm", "DescribeParameters", ["*"]], // only developers read or write secrets
    // part: billing {
    ["sns", "CreateTopic DeleteTopic GetDataProtectionPolicy GetTopicAttributes SetTopicAttributes", [named]],
    ["sns", "ListTagsForResource TagResource UntagResource", [named]],
    ["sns", "GetSubscriptionAttributes ListSubscriptionsByTopic SetSubscriptionAttributes", [named]],
    ["sns", "Subscribe Unsubscribe", [named]],
    // part: billing }
    ["sqs", "CreateQueue DeleteQueue GetQueueAttributes GetQueueUrl SetQueueAttributes", [named]],
    ["sqs", "ListQueueTags TagQueue UntagQueue", [named]],
    ["events", "DeleteRule DescribeRule ListTargetsByRule PutRule PutTargets RemoveTargets", [`rule/${named}`]],
    ["events", "ListTagsForResource TagResource UntagResource", [`rule/${named}`]],

    // part: billing {
    // AWS names event source mappings.
    [
      "lambda",
      "CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping",
      ["*"],
      { ArnLike: { "lambda:FunctionArn": arn("lambda", `function:${named}`) } },
    ],
    ["lambda", "ListTags", ["event-source-mapping:*"]],
    ["lambda", "TagResource", ["event-source-mapping:*"], retagged(stages)],
    ["lambda", "UntagResource", ["event-source-mapping:*"], untagged(stages)],
    // part: billing }
  ];
}

/** Deploys alarms, the dashboard and saved queries of logs. */
const operationsGrants = (stages: string): Grant[] => [
  [
    "cloudwatch",
    "DeleteAlarms ListTagsForResource PutCompositeAlarm PutMetricAlarm TagResource UntagResource",
    [`alarm:scratchpad-${stages}-*`],
  ],
  ["cloudwatch", "DescribeAlarms", ["*"]],
  [
    "cloudwatch",
    "DeleteDashboards GetDashboard ListTagsForResource PutDashboard TagResource UntagResource",
    [`dashboard/scratchpad-${stages}`],
  ],
  ["logs", "DeleteQueryDefinition DescribeQueryDefinitions PutQueryDefinition", ["*"]], // supports no resources
  // part: without billing {
  // ["sns", "CreateTopic DeleteTopic GetDataProtectionPolicy GetTopicAttributes SetTopicAttributes", [`scratchpad-${stages}-*`]],
  // ["sns", "ListTagsForResource TagResource UntagResource", [`scratchpad-${stages}-*`]],
  // ["sns", "GetSubscriptionAttributes ListSubscriptionsByTopic SetSubscriptionAttributes", [`scratchpad-${stages}-*`]],
  // ["sns", "Subscribe Unsubscribe", [`scratchpad-${stages}-*`]],
  // part: without billing }
];

/** Deploys a web ACL, and associates it with the API's stage, which has the name of the stage. */
function firewallGrants(stages: string, arn: ToArn): Grant[] {
  const acl = `regional/webacl/scratchpad-${stages}-*`;
  const api = arn("apigateway", `/restapis/*/stages/${stages}`);
  return [
    ["wafv2", "DeleteWebACL GetWebACL UpdateWebACL", [acl]],
    ["wafv2", "CreateWebACL ListTagsForResource TagResource UntagResource", [acl]],
    ["wafv2", "AssociateWebACL GetWebACLForResource", [acl, api]],
    ["wafv2", "DisassociateWebACL", [api]],
    ["apigateway", "SetWebACL", [api]],
  ];
}

/** The settings of a bucket that CloudFormation reads and writes. */
const bucketSettings = [
  ...["Accelerate", "Analytics", "Encryption", "IntelligentTiering", "Inventory", "Lifecycle", "Metrics"].map(
    (name) => `${name}Configuration`,
  ),
  ...["Abac", "Acl", "CORS", "Logging", "Notification", "OwnershipControls", "Policy", "PublicAccessBlock"].map(
    (name) => `Bucket${name}`,
  ),
  ...["Tagging", "Versioning", "Website"].map((name) => `Bucket${name}`),
];

/** Deploys an API and buckets. */
function apiGrants(stages: string): Grant[] {
  const named = `scratchpad-${stages}-*`;
  return [
    ["s3", "CreateBucket DeleteBucketPolicy ListBucket ListTagsForResource TagResource UntagResource", [named]],
    ["s3", bucketSettings.map((setting) => `Get${setting} Put${setting}`).join(" "), [named]],
    ["s3", "GetBucketObjectLockConfiguration GetReplicationConfiguration", [named]],
    // part: web {
    // Only the browser app: a workflow cannot read the users' files.
    ["s3", "GetObject PutObject", [`scratchpad-${stages}-web-*/*`]],

    ["cloudfront", "DeleteFunction DescribeFunction GetFunction PublishFunction UpdateFunction", [`function/${named}`]],
    ["cloudfront", "ListTagsForResource UntagResource", [`function/${named}`]],
    // part: web }

    // Resources that AWS names. The parts of an API inherit its tags:
    // https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-tagging-supported-resources.html
    ["apigateway", "GET", ["/restapis", "/restapis/*", "/tags/*"]],
    ["apigateway", "POST", ["/restapis"], created(stages)],
    ["apigateway", "DELETE PATCH POST PUT UpdateRestApiPolicy", ["/restapis/*"], notForeign(stages)],
    ["apigateway", "UpdateRestApiPolicy", ["/restapis"], notForeign(stages)],
    // API Gateway requires PUT on /tags when an API is created with tags. To change tags, it also requires PATCH on the API.
    ["apigateway", "PUT", ["/tags/*"], created(stages)],
    ["apigateway", "DELETE", ["/tags/*"], { "ForAllValues:StringNotEquals": { "aws:TagKeys": [tag] } }],
    // part: web {
    ["cloudfront", "CreateDistribution CreateFunction", ["*"], created(stages)],
    ["cloudfront", "GetDistribution GetDistributionConfig ListTagsForResource", ["distribution/*"]],
    ["cloudfront", "DeleteDistribution UpdateDistribution", ["distribution/*"], tagged(stages)],
    ["cloudfront", "TagResource", ["distribution/*", "function/*"], retagged(stages)],
    ["cloudfront", "UntagResource", ["distribution/*"], untagged(stages)],
    // These have no tags.
    ["cloudfront", "CreateOriginAccessControl CreateResponseHeadersPolicy", ["*"]],
    [
      "cloudfront",
      "DeleteOriginAccessControl GetOriginAccessControl UpdateOriginAccessControl",
      ["origin-access-control/*"],
    ],
    [
      "cloudfront",
      "DeleteResponseHeadersPolicy GetResponseHeadersPolicy UpdateResponseHeadersPolicy",
      ["response-headers-policy/*"],
    ],
    // part: web }
  ];
}

/** Allows a service to create its service-linked role, whose permissions AWS defines. */
const serviceLinkedRole = (service: string, name: string): Grant => [
  "iam",
  "CreateServiceLinkedRole",
  [`role/aws-service-role/${service}.amazonaws.com/${name}`],
  { StringEquals: { "iam:AWSServiceName": `${service}.amazonaws.com` } },
];

/** Deploys the tables and users of a stage with its own infrastructure. */
const dataGrants = (stages: string): Grant[] => [
  [
    "dynamodb",
    "CreateTable DescribeTable UpdateContinuousBackups UpdateTable UpdateTimeToLive",
    [`table/scratchpad-${stages}-*`],
  ],
  [
    "dynamodb",
    "DescribeContinuousBackups DescribeContributorInsights DescribeKinesisStreamingDestination DescribeTimeToLive",
    [`table/scratchpad-${stages}-*`],
  ],
  ["dynamodb", "GetResourcePolicy ListTagsOfResource TagResource UntagResource", [`table/scratchpad-${stages}-*`]],

  // Resources that AWS names. These actions cannot read the users in a pool.
  ["cognito-idp", "CreateUserPool", ["*"], created(stages)],
  ["cognito-idp", "DescribeUserPool DescribeUserPoolClient GetUserPoolMfaConfig ListTagsForResource", ["userpool/*"]],
  ["cognito-idp", "CreateUserPoolClient SetUserPoolMfaConfig", ["userpool/*"], notForeign(stages)],
  ["cognito-idp", "DeleteUserPoolClient UpdateUserPool UpdateUserPoolClient", ["userpool/*"], tagged(stages)],
  ["cognito-idp", "TagResource", ["*"], retagged(stages)],
  ["cognito-idp", "UntagResource", ["userpool/*"], untagged(stages)],
  ["cognito-identity", "CreateIdentityPool", ["*"], created(stages)],
  ["cognito-identity", "DescribeIdentityPool GetIdentityPoolRoles ListTagsForResource", ["identitypool/*"]],
  ["cognito-identity", "UpdateIdentityPool", ["identitypool/*"], tagged(stages)],
  ["cognito-identity", "TagResource", ["*"], retagged(stages)],
  ["cognito-identity", "UntagResource", ["identitypool/*"], untagged(stages)],
  ["cognito-identity", "SetIdentityPoolRoles", ["*"]], // supports neither resources nor tags
];

/** The settings of a sender of e-mail that CloudFormation writes. */
const emailSettings = ["ConfigurationSet", "Dkim", "DkimSigning", "Feedback", "MailFrom"];

/** Deploys the hosted zone, the certificate and the e-mail sender of a domain. */
const domainGrants = (
  domain: string,
  stages: string, // part: web
): Grant[] => [
  ["route53", "CreateHostedZone", ["*"]],
  ["route53", "ChangeTagsForResource DeleteHostedZone GetHostedZone UpdateHostedZoneComment", ["hostedzone/*"]],
  ["route53", "ListResourceRecordSets ListTagsForResource", ["hostedzone/*"]],
  ["route53", "ListQueryLoggingConfigs", ["*"]],
  ["route53", "GetChange", ["change/*"]],
  [
    "route53",
    "ChangeResourceRecordSets",
    ["hostedzone/*"],
    {
      "ForAllValues:StringLike": {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": [domain, `*.${domain}`],
      },
    },
  ],
  // part: web {
  [
    "acm",
    "RequestCertificate",
    ["*"],
    { "ForAllValues:StringLike": { "acm:DomainNames": [domain, `*.${domain}`] }, ...created(stages) },
  ],
  ["acm", "DescribeCertificate ListTagsForCertificate", ["certificate/*"]],
  ["acm", "DeleteCertificate UpdateCertificateOptions", ["certificate/*"], tagged(stages)],
  ["acm", "AddTagsToCertificate", ["*"], retagged(stages)],
  ["acm", "RemoveTagsFromCertificate", ["certificate/*"], untagged(stages)],
  // part: web }
  ["ses", "CreateEmailIdentity DeleteEmailIdentity GetEmailIdentity", [`identity/${domain}`]],
  ["ses", emailSettings.map((setting) => `PutEmailIdentity${setting}Attributes`).join(" "), [`identity/${domain}`]],
  ["ses", "ListTagsForResource TagResource UntagResource", [`identity/${domain}`]],
  serviceLinkedRole("email.cognito-idp", "AWSServiceRoleForAmazonCognitoIdpEmailService"), // a user pool sends through SES
];

/** Shifts traffic with CodeDeploy. The application is named after its stack. */
const trafficGrants = (stages: string, arn: ToArn): Grant[] => [
  [
    "iam",
    "AttachRolePolicy DetachRolePolicy",
    [`role/scratchpad-${stages}-*`],
    {
      StringEquals: { "iam:PermissionsBoundary": arn("iam", `policy/${boundaryOf(stages)}`) },
      ArnLike: { "iam:PolicyARN": "arn:*:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited" },
    },
  ],
  [
    "lambda",
    "CreateAlias DeleteAlias GetAlias GetProvisionedConcurrencyConfig UpdateAlias",
    [`function:scratchpad-${stages}-*`],
  ],
  ["lambda", "GetFunctionConfiguration ListVersionsByFunction PublishVersion", [`function:scratchpad-${stages}-*`]],
  ["codedeploy", "CreateApplication DeleteApplication GetApplication", [`application:scratchpad-*-${stages}`]],
  ["codedeploy", "GetApplicationRevision RegisterApplicationRevision", [`application:scratchpad-*-${stages}`]],
  ["codedeploy", "ListTagsForResource TagResource UntagResource", [`application:scratchpad-*-${stages}`]],
  ["codedeploy", "CreateDeployment GetDeployment ListDeployments", [`deploymentgroup:scratchpad-*-${stages}/*`]],
  [
    "codedeploy",
    "CreateDeploymentGroup DeleteDeploymentGroup GetDeploymentGroup UpdateDeploymentGroup",
    [`deploymentgroup:scratchpad-*-${stages}/*`],
  ],
  ["codedeploy", "ListTagsForResource TagResource UntagResource", [`deploymentgroup:scratchpad-*-${stages}/*`]],
  ["codedeploy", "GetDeploymentConfig", ["deploymentconfig:*"]],
  ["codedeploy", "StopDeployment", ["*"]], // supports no resources
];

/** Removes a stage with its data. */
const removalGrants = (stages: string): Grant[] => [
  ["s3", "DeleteBucket ListBucketVersions", [`scratchpad-${stages}-*`]],
  ["s3", "DeleteObject DeleteObjectVersion", [`scratchpad-${stages}-*/*`]], // a bucket has to be empty before it is deleted
  ["ssm", "DeleteParameters", [`parameter/scratchpad/${stages}/*`]], // part: billing
  // API Gateway creates these log groups. Their names are the ID of the API and the name of its stage.
  ["logs", "DeleteLogGroup", [`log-group:API-Gateway-Execution-Logs_*/${stages}`]],
  ["logs", "DeleteLogGroup", [`log-group:API-Gateway-Execution-Logs_*/${stages}:*`]],
  ["dynamodb", "DeleteTable", [`table/scratchpad-${stages}-*`]],
  ["cognito-idp", "DeleteUserPool", ["userpool/*"], tagged(stages)],
  ["cognito-identity", "DeleteIdentityPool", ["identitypool/*"], tagged(stages)],
];

/** Denied on a protected stage: these actions delete user data, even if a template asks for them. */
const dataDeletionGrants = (stages: string): Grant[] => [
  // The ID that the identity pool gives to a user is the key of all data of the user.
  ["cognito-identity", "DeleteIdentities DeleteIdentityPool", ["*"]],
  ["cognito-idp", "DeleteUserPool", ["*"]],
  ["dynamodb", "DeleteTable", [`table/scratchpad-${stages}-*`]],
  ["s3", "DeleteBucket DeleteObject*", [`scratchpad-${stages}-attachments-*`]], // also the files in it
  ["ssm", "DeleteParameter*", [`parameter/scratchpad/${stages}/*`]],
];
