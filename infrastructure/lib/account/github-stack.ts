import { type App, CfnOutput, Duration } from "aws-cdk-lib";
import { Effect, OidcProviderNative, OpenIdConnectPrincipal, Policy, PolicyStatement, Role } from "aws-cdk-lib/aws-iam";
import { type Access, type Account, repository } from "../account.ts";
import { stageNamed } from "../stage.ts";
import { AccountStack } from "./account-stack.ts";
import { boundary } from "./boundary-stack.ts";

const github = "token.actions.githubusercontent.com";

/** What is granted: actions of a service, on resources, on a condition. */
type Grant = [service: string, actions: string, resources: string[], conditions?: Record<string, Record<string, unknown>>];

/** What a workflow of the repository may do here, without a key that lasts: it shows GitHub's word of what it runs for. */
export class GithubStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "github", account);

    const provider = new OidcProviderNative(this, "GitHub", { url: `https://${github}`, clientIds: ["sts.amazonaws.com"] });
    for (const [name, access] of Object.entries(account.github ?? {})) {
      const role = new Role(this, name, {
        roleName: `scratchpad-github-${name}`,
        description: `To ${access.may} ${access.stages ?? "releases"}, from GitHub`,
        maxSessionDuration: Duration.hours(1),
        assumedBy: new OpenIdConnectPrincipal(provider, {
          StringEquals: {
            [`${github}:aud`]: "sts.amazonaws.com",
            [`${github}:sub`]: access.from.map((subject) => `repo:${repository}:${subject}`),
          },
        }),
      });
      const statements = this.grants(access).map(
        ([service, actions, resources, conditions]) =>
          new PolicyStatement({ actions: actions.split(" ").map((action) => `${service}:${action}`), resources, conditions: conditions ?? {} }),
      );
      if (access.stages && stageNamed(access.stages).protected) statements.push(this.keepsData(access.stages));
      new Policy(this, `${name} may`, { policyName: `scratchpad-github-${name}`, roles: [role], statements });
      new CfnOutput(this, `${name} role`, { key: `${name[0]!.toUpperCase()}${name.slice(1)}Role`, value: role.roleArn });
    }
  }

  private grants({ may, stages }: Access): Grant[] {
    const releases = `arn:${this.partition}:s3:::scratchpad-releases-${this.account}`;
    const read: Grant[] = [["s3", "GetBucketLocation GetObject ListBucket", [releases, `${releases}/*`]]];
    if (stages === undefined) return read;
    const show: Grant[] = [
      ...read,
      ["s3", "PutObject", [`${releases}/artefacts/*`]], // which CloudFormation reads templates from
      ["cloudformation", "DescribeStacks GetTemplateSummary ListExports ListImports ListStacks ValidateTemplate", ["*"]],
      ["cloudformation", "CreateChangeSet DeleteChangeSet Describe* Get* List*", [this.stacks(stages)]],
    ];
    if (may === "show") return show;
    const { infrastructure, traffic } = stageNamed(stages);
    return [
      ...show,
      ...this.deploy(stages, releases),
      ...(infrastructure === "own" ? this.deployInfrastructure(stages) : []),
      ...(traffic ? this.shiftTraffic(stages) : []),
    ];
  }

  /** What a protected stage knows of people stays, whatever a template says. */
  private keepsData(stages: string) {
    const bucket = `arn:${this.partition}:s3:::scratchpad-${stages}-attachments-*`;
    return new PolicyStatement({
      effect: Effect.DENY,
      actions: ["cognito-idp:DeleteUserPool", "dynamodb:DeleteTable", "s3:DeleteBucket", "s3:DeleteObject*", "ssm:DeleteParameter*"],
      resources: [
        this.here("cognito-idp", "userpool", "*"),
        this.here("dynamodb", "table", `scratchpad-${stages}-*`),
        bucket,
        `${bucket}/*`,
        this.here("ssm", "parameter", `scratchpad/${stages}/*`),
      ],
    });
  }

  private stacks(stages: string) {
    return this.here("cloudformation", "stack", `scratchpad-*-${stages}/*`);
  }

  private here(service: string, resource: string, resourceName?: string) {
    return this.formatArn({ service, resource, ...(resourceName && { resourceName }) });
  }

  private named(service: string, stages: string, kind = "") {
    return this.here(service, `${kind}scratchpad-${stages}-*`);
  }

  private global(service: string, resource: string) {
    return this.formatArn({ service, region: "", resource });
  }

  /** What a stage has that links to another's infrastructure: functions, an API, alarms, an app. */
  private deploy(stages: string, releases: string): Grant[] {
    const bucket = `arn:${this.partition}:s3:::scratchpad-${stages}`;
    const role = this.global("iam", `role/scratchpad-${stages}-*`);
    const bounded = { StringEquals: { "iam:PermissionsBoundary": this.global("iam", `policy/${boundary}`) } };
    const api = ["/restapis", "/restapis/*", "/tags/*"].map((path) => `arn:${this.partition}:apigateway:${this.region}::${path}`);
    const functions = this.named("lambda", stages, "function:");
    const cloudfront = ["distribution", "function", "origin-access-control", "response-headers-policy"].map((kind) =>
      this.global("cloudfront", `${kind}/*`),
    );
    return [
      ["s3", "DeleteObject PutObject", [`${releases}/releases/${stages}/*`]],
      [
        "cloudformation",
        "ContinueUpdateRollback CreateStack DeleteStack ExecuteChangeSet RollbackStack SetStackPolicy TagResource UntagResource UpdateStack UpdateTerminationProtection",
        [this.stacks(stages)],
      ],
      // No name of a key, an API, a distribution or a mapping says whose it is: AWS makes them.
      ["apigateway", "DELETE GET PATCH POST PUT", api],
      ["cloudfront", "Create* Delete* Describe* Get* List* PublishFunction TagResource UntagResource Update*", cloudfront],
      [
        "lambda",
        "CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping UpdateEventSourceMapping",
        ["*"],
        { ArnLike: { "lambda:FunctionArn": functions } },
      ],
      ["lambda", "ListTags TagResource UntagResource", [this.here("lambda", "event-source-mapping:*")]],
      [
        "lambda",
        "AddPermission *Alias* CreateFunction DeleteFunction *EventInvokeConfig* Get* List* PublishVersion PutFunctionConcurrency RemovePermission TagResource UntagResource UpdateFunction*",
        [functions],
      ],
      ["iam", "AttachRolePolicy CreateRole DetachRolePolicy PutRolePermissionsBoundary PutRolePolicy", [role], bounded],
      ["iam", "DeleteRole DeleteRolePolicy GetRole GetRolePolicy List* TagRole UntagRole UpdateAssumeRolePolicy UpdateRole UpdateRoleDescription", [role]],
      [
        "iam",
        "PassRole",
        [role],
        { StringEquals: { "iam:PassedToService": ["lambda", "codedeploy", "cognito-identity"].map((each) => `${each}.amazonaws.com`) } },
      ],
      ["logs", "CreateLogGroup DeleteLogGroup Describe* FilterLogEvents Get* ListTags* *RetentionPolicy TagResource UntagResource", [this.here("logs", `log-group:/aws/lambda/scratchpad-${stages}-*`)]],
      ["logs", "DescribeLogGroups", ["*"]],
      ["ssm", "DeleteParameter*", [this.here("ssm", "parameter", `scratchpad/${stages}/*`)]], // to read secrets or to put them is for people
      ["ssm", "DescribeParameters", ["*"]],
      ["sns", "CreateTopic DeleteTopic Get* List* SetSubscriptionAttributes SetTopicAttributes Subscribe TagResource Unsubscribe UntagResource", [this.named("sns", stages)]],
      ["sqs", "CreateQueue DeleteQueue Get* ListQueueTags SetQueueAttributes TagQueue UntagQueue", [this.named("sqs", stages)]],
      ["events", "DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets RemoveTargets TagResource UntagResource", [this.here("events", "rule", `scratchpad-${stages}-*`), this.here("events", "rule", `scratchpad-*-${stages}-*`)]],
      ["cloudwatch", "DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource", [this.named("cloudwatch", stages, "alarm:")]],
      ["cloudwatch", "DescribeAlarms", ["*"]],
      ["s3", "CreateBucket DeleteBucket DeleteBucketPolicy Get*Configuration GetBucket* GetAccelerateConfiguration List* Put*Configuration PutBucket* TagResource UntagResource", [`${bucket}-*`]],
      ["s3", "DeleteObject*", [`${bucket}-*/*`]], // a bucket that goes is emptied
      ["s3", "GetObject PutObject", [`${bucket}-web-*/*`]], // people's files are read by nobody else
    ];
  }

  /** What a stage has besides when its data and people are its own. */
  private deployInfrastructure(stages: string): Grant[] {
    return [
      [
        "dynamodb",
        "CreateTable DeleteTable Describe* GetResourcePolicy ListTagsOfResource TagResource UntagResource UpdateContinuousBackups UpdateTable UpdateTimeToLive",
        [this.here("dynamodb", "table", `scratchpad-${stages}-*`)],
      ],
      // Users and identities, zones and certificates have names that AWS makes.
      ["cognito-idp", "CreateUserPool* DeleteUserPool* Describe* Get* List* SetUserPoolMfaConfig TagResource UntagResource UpdateUserPool*", ["*"]],
      ["cognito-identity", "CreateIdentityPool DeleteIdentityPool Describe* GetIdentityPoolRoles List* SetIdentityPoolRoles TagResource UntagResource UpdateIdentityPool", ["*"]],
      ["route53", "ChangeResourceRecordSets ChangeTagsForResource CreateHostedZone DeleteHostedZone Get* List* UpdateHostedZoneComment", ["*"]],
      ["acm", "AddTagsToCertificate DeleteCertificate DescribeCertificate ListTagsForCertificate RemoveTagsFromCertificate RequestCertificate", ["*"]],
    ];
  }

  /** By CodeDeploy, whose application is called as the stack that it is in. */
  private shiftTraffic(stages: string): Grant[] {
    const [application, group, config] = [`application:scratchpad-*-${stages}`, `deploymentgroup:scratchpad-*-${stages}/*`, "deploymentconfig:*"].map(
      (resource) => this.here("codedeploy", resource),
    );
    return [
      ["codedeploy", "CreateApplication DeleteApplication GetApplication* ListTagsForResource RegisterApplicationRevision TagResource UntagResource UpdateApplication", [application!]],
      ["codedeploy", "CreateDeployment* DeleteDeploymentGroup GetDeployment* ListDeployments StopDeployment TagResource UntagResource UpdateDeploymentGroup", [group!]],
      ["codedeploy", "GetDeploymentConfig", [config!]],
    ];
  }
}
