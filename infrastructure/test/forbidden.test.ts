import assert from "node:assert/strict";
import { test } from "node:test";
import { BoundaryStack } from "../lib/account/boundary-stack.ts";
import { GithubStack } from "../lib/account/github-stack.ts";
import { ReleasesStack } from "../lib/account/releases-stack.ts";
import { type Account, accountNamed } from "../lib/account.ts";
import { type StageTable, stageTable, tables } from "../lib/stage.ts";
import { decide, managedPoliciesOf, parseCall, type Role, rolesOf, type Statement } from "./permissions.ts";
import { cdkTemplates, newApp, Resolver } from "./stack-resources.ts";

const region: string = tables().region;
const [devAccount, previewsAccount, prodAccount] = ["dev", "previews", "prod"].map(accountNamed) as [
  Account,
  Account,
  Account,
];
const [dev, prod] = [devAccount.id, prodAccount.id];

const placeOf = ({ id }: Account) => ({ account: id, region });
const rolesIn = (account: Account, table: StageTable = stageTable()) =>
  new Map(rolesOf(new GithubStack(newApp(), account, table), placeOf(account)).map((role) => [role.name, role]));
const boundariesIn = (account: Account, table: StageTable = stageTable()) =>
  managedPoliciesOf(new BoundaryStack(newApp(), account, table), placeOf(account));

// The tables if previews share dev's account.
const shared: StageTable = { ...stageTable(), "pr-*": { ...stageTable()["pr-*"]!, account: "dev" } };
const sharedAccount: Account = { ...devAccount, github: { ...devAccount.github, ...previewsAccount.github } };

const inOwnAccount = rolesIn(previewsAccount).get("preview")!;
const inDevsAccount = rolesIn(sharedAccount, shared).get("preview")!;

/** Returns the calls, a text per call, that a role may make. `ACCOUNT` stands for the account of the role. */
async function allowed(role: Role, calls: string[], boundary?: Statement[]): Promise<string[]> {
  const found: string[] = [];
  for (const text of calls) {
    const call = parseCall(text.replaceAll("ACCOUNT", role.place.account));
    if ((await decide(role, call, boundary)).allowed) found.push(text);
  }
  return found;
}

/** The lines of a text, without the comments at their ends. */
const lines = (text: string) => text.trim().split(/(?: \/\/ .*)?\s*\n\s*/);
const arn = (service: string, account: string, resource: string) =>
  `arn:aws:${service}:${region}:${account}:${resource}`;
const ofDev = (service: string, resource: string) => arn(service, dev, resource);
const own = (service: string, resource: string) => arn(service, "ACCOUNT", resource);
const role = (name: string) => `arn:aws:iam::ACCOUNT:role/${name}`;
const policy = (name: string) => `iam:PermissionsBoundary=arn:aws:iam::ACCOUNT:policy/${name}`;
const taggedDev = "aws:ResourceTag/scratchpad:stage=dev";
const taggedOwn = "aws:ResourceTag/scratchpad:stage=pr-1";
const asOwn = "aws:RequestTag/scratchpad:stage=pr-1 aws:TagKeys=scratchpad:stage";
const asDev = "aws:RequestTag/scratchpad:stage=dev aws:TagKeys=scratchpad:stage";
const devReleases = `arn:aws:s3:::scratchpad-releases-${dev}`;
const prodReleases = `arn:aws:s3:::scratchpad-releases-${prod}`;

/** The calls that would give a branch access to another stage. */
const forbiddenToPreviews = [
  ...lines(`
    ssm:GetParameter ${ofDev("ssm", "parameter/scratchpad/dev/key")}
    ssm:GetParameters ${ofDev("ssm", "parameter/scratchpad/dev/key")}
    ssm:GetParametersByPath ${ofDev("ssm", "parameter/scratchpad/dev/")}
    ssm:PutParameter ${ofDev("ssm", "parameter/scratchpad/dev/key")}
    ssm:DeleteParameter ${ofDev("ssm", "parameter/scratchpad/dev/key")}
    ssm:DeleteParameters ${ofDev("ssm", "parameter/scratchpad/dev/key")}
    ssm:GetParameters ${own("ssm", "parameter/scratchpad/pr-1/key")}

    iam:CreateRole ${role("scratchpad-pr-1-x")}
    iam:CreateRole ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-dev")}
    iam:CreateRole ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-ephemeral")}
    iam:CreateRole ${role("scratchpad-pr-1-x")} iam:PermissionsBoundary=arn:aws:iam::aws:policy/AdministratorAccess
    iam:CreateRole ${role("scratchpad-dev-x")} ${policy("scratchpad-boundary-pr")}
    iam:CreateRole ${role("scratchpad-github-x")} ${policy("scratchpad-boundary-pr")}
    iam:AttachRolePolicy ${role("scratchpad-pr-1-x")}
    iam:AttachRolePolicy ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-dev")}
    iam:AttachRolePolicy ${role("scratchpad-github-preview")}
    iam:PutRolePolicy ${role("scratchpad-pr-1-x")}
    iam:PutRolePolicy ${role("scratchpad-github-preview")}
    iam:PutRolePolicy ${role("scratchpad-dev-notes-create")} ${policy("scratchpad-boundary-dev")}
    iam:PutRolePermissionsBoundary ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-dev")}
    iam:PutRolePermissionsBoundary ${role("scratchpad-dev-notes-create")} ${policy("scratchpad-boundary-pr")}
    iam:DeleteRolePermissionsBoundary ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-pr")}
    iam:UpdateAssumeRolePolicy ${role("scratchpad-dev-notes-create")} ${policy("scratchpad-boundary-dev")}
    iam:UpdateAssumeRolePolicy ${role("scratchpad-github-dev")}
    iam:CreatePolicyVersion arn:aws:iam::ACCOUNT:policy/scratchpad-boundary-pr
    iam:SetDefaultPolicyVersion arn:aws:iam::ACCOUNT:policy/scratchpad-boundary-pr
    iam:DeletePolicy arn:aws:iam::ACCOUNT:policy/scratchpad-boundary-pr
    iam:CreateUser arn:aws:iam::ACCOUNT:user/x
    iam:CreateAccessKey arn:aws:iam::ACCOUNT:user/x
    iam:UpdateOpenIDConnectProviderThumbprint arn:aws:iam::ACCOUNT:oidc-provider/token.actions.githubusercontent.com
    iam:PassRole ${role("scratchpad-pr-1-x")} iam:PassedToService=ec2.amazonaws.com
    iam:PassRole ${role("scratchpad-pr-1-x")} iam:PassedToService=cloudformation.amazonaws.com
    iam:PassRole ${role("scratchpad-dev-notes-create")} iam:PassedToService=lambda.amazonaws.com
    iam:PassRole ${role("scratchpad-github-dev")} iam:PassedToService=lambda.amazonaws.com
    iam:CreateServiceLinkedRole ${role("aws-service-role/ecs.amazonaws.com/x")} iam:AWSServiceName=ecs.amazonaws.com
    sts:AssumeRole ${role("scratchpad-pr-1-x")}
    sts:AssumeRole arn:aws:iam::${dev}:role/scratchpad-dev-notes-create

    cognito-idp:DeleteUserPool ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:DeleteUserPool ${ofDev("cognito-idp", "userpool/untagged")}
    cognito-idp:UpdateUserPool ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:CreateUserPoolClient ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:UpdateUserPoolClient ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:DeleteUserPoolClient ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:SetUserPoolMfaConfig ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:TagResource ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev} ${asOwn}
    cognito-idp:UntagResource ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev} aws:TagKeys=scratchpad:stage
    cognito-idp:ListUsers ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:AdminSetUserPassword ${ofDev("cognito-idp", "userpool/dev")} ${taggedDev}
    cognito-idp:ListUsers ${own("cognito-idp", "userpool/own")} ${taggedOwn}
    cognito-identity:DeleteIdentityPool ${ofDev("cognito-identity", "identitypool/dev")} ${taggedDev}
    cognito-identity:DeleteIdentityPool ${ofDev("cognito-identity", "identitypool/untagged")}
    cognito-identity:UpdateIdentityPool ${ofDev("cognito-identity", "identitypool/dev")} ${taggedDev}
    cognito-identity:TagResource ${ofDev("cognito-identity", "identitypool/dev")} ${taggedDev} ${asOwn}
    cognito-identity:DeleteIdentities *

    cloudfront:DeleteDistribution arn:aws:cloudfront::${dev}:distribution/dev ${taggedDev} // part: web
    cloudfront:UpdateDistribution arn:aws:cloudfront::${dev}:distribution/dev ${taggedDev} // part: web
    cloudfront:TagResource arn:aws:cloudfront::${dev}:distribution/dev ${taggedDev} ${asOwn} // part: web
    cloudfront:UntagResource arn:aws:cloudfront::${dev}:distribution/dev ${taggedDev} aws:TagKeys=scratchpad:stage // part: web
    cloudfront:UpdateFunction arn:aws:cloudfront::${dev}:function/scratchpad-dev-single-page ${taggedDev} // part: web
    cloudfront:PublishFunction arn:aws:cloudfront::${dev}:function/scratchpad-dev-single-page ${taggedDev} // part: web
    cloudfront:DeleteFunction arn:aws:cloudfront::${dev}:function/scratchpad-dev-single-page ${taggedDev} // part: web

    lambda:UpdateFunctionCode ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:UpdateFunctionConfiguration ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:GetFunction ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:AddPermission ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:InvokeFunction ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:DeleteFunction ${ofDev("lambda", "function:scratchpad-dev-notes-create")} ${taggedDev}
    lambda:CreateEventSourceMapping * lambda:FunctionArn=${ofDev("lambda", "function:scratchpad-dev-x")}
    lambda:UpdateEventSourceMapping ${ofDev("lambda", "event-source-mapping:0")} lambda:FunctionArn=${ofDev("lambda", "function:scratchpad-dev-x")}
    lambda:DeleteEventSourceMapping ${ofDev("lambda", "event-source-mapping:0")} lambda:FunctionArn=${ofDev("lambda", "function:scratchpad-dev-x")}
    lambda:TagResource ${ofDev("lambda", "event-source-mapping:0")} ${taggedDev} ${asOwn}

    dynamodb:GetItem ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:Scan ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:PutItem ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:UpdateTable ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:DeleteTable ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:ExportTableToPointInTime ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
    dynamodb:Scan ${own("dynamodb", "table/scratchpad-pr-1-Notes")}

    s3:ListBucket ${devReleases}
    s3:ListBucket ${devReleases} s3:prefix=
    s3:ListBucket ${devReleases} s3:prefix=dev/
    s3:ListBucketVersions ${devReleases} s3:prefix=dev/
    s3:PutBucketPolicy ${devReleases}
    s3:DeleteBucketPolicy ${devReleases}
    s3:PutLifecycleConfiguration ${devReleases}
    s3:PutBucketVersioning ${devReleases}
    s3:DeleteBucket ${devReleases}
    s3:PutBucketPolicy arn:aws:s3:::scratchpad-releases-ACCOUNT
    s3:DeleteBucketPolicy arn:aws:s3:::scratchpad-releases-ACCOUNT
    s3:GetObject arn:aws:s3:::scratchpad-dev-attachments-${dev}/private/0
    s3:PutObject arn:aws:s3:::scratchpad-dev-attachments-${dev}/private/0
    s3:DeleteObject arn:aws:s3:::scratchpad-dev-attachments-${dev}/private/0
    s3:PutBucketPolicy arn:aws:s3:::scratchpad-dev-attachments-${dev}
    s3:PutLifecycleConfiguration arn:aws:s3:::scratchpad-dev-attachments-${dev}
    s3:GetObject arn:aws:s3:::scratchpad-pr-1-attachments-ACCOUNT/private/0
    s3:PutObject arn:aws:s3:::scratchpad-dev-web-${dev}/index.html // part: web

    cloudformation:CreateStack ${ofDev("cloudformation", "stack/scratchpad-x-dev/0")}
    cloudformation:UpdateStack ${ofDev("cloudformation", "stack/scratchpad-notes-api-dev/0")}
    cloudformation:DeleteStack ${ofDev("cloudformation", "stack/scratchpad-notes-api-dev/0")}
    cloudformation:CreateChangeSet ${ofDev("cloudformation", "stack/scratchpad-notes-api-dev/0")}
    cloudformation:ExecuteChangeSet ${ofDev("cloudformation", "stack/scratchpad-notes-api-dev/0")}
    cloudformation:GetTemplate ${ofDev("cloudformation", "stack/scratchpad-notes-api-dev/0")}
    cloudformation:CreateStack ${own("cloudformation", "stack/scratchpad-x-pr-1/0")} ${asDev}
    cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-x-pr-1/0")} ${asDev}
    cloudformation:TagResource ${own("cloudformation", "stack/scratchpad-x-pr-1/0")} ${asDev}
    cloudformation:CreateChangeSet ${own("cloudformation", "stack/scratchpad-x-pr-1/0")} ${asDev}
    cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-boundary/0")}
    cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-github/0")}
    cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-releases/0")}
    cloudformation:DeleteStack ${own("cloudformation", "stack/scratchpad-boundary/0")}

    route53:ChangeResourceRecordSets arn:aws:route53:::hostedzone/dev route53:ChangeResourceRecordSetsNormalizedRecordNames=dev.scratchpad.example.com
    route53:ChangeResourceRecordSets arn:aws:route53:::hostedzone/dev route53:ChangeResourceRecordSetsNormalizedRecordNames=pr-1.scratchpad.example.com
    route53:DeleteHostedZone arn:aws:route53:::hostedzone/dev
    route53:CreateHostedZone *
    acm:DeleteCertificate ${ofDev("acm", "certificate/dev")} ${taggedDev} // part: web
    acm:RequestCertificate * // part: web
    ses:DeleteEmailIdentity ${ofDev("ses", "identity/dev.scratchpad.example.com")}
    ses:SendEmail ${ofDev("ses", "identity/dev.scratchpad.example.com")}

    sns:Publish ${ofDev("sns", "scratchpad-dev-Events")}
    sns:Subscribe ${ofDev("sns", "scratchpad-dev-Events")}
    sns:DeleteTopic ${ofDev("sns", "scratchpad-dev-Events")}
    sqs:SendMessage ${ofDev("sqs", "scratchpad-dev-notes-attachment-uploaded-dead-letters")}
    sqs:ReceiveMessage ${ofDev("sqs", "scratchpad-dev-notes-attachment-uploaded-dead-letters")}
    sqs:DeleteQueue ${ofDev("sqs", "scratchpad-dev-notes-attachment-uploaded-dead-letters")}
    events:PutRule ${ofDev("events", "rule/scratchpad-dev-reconcile")}
    events:PutTargets ${ofDev("events", "rule/scratchpad-dev-reconcile")}
    events:DeleteRule ${ofDev("events", "rule/scratchpad-dev-reconcile")}
    logs:GetLogEvents ${ofDev("logs", "log-group:/aws/lambda/scratchpad-dev-notes-create:log-stream:0")}
    logs:FilterLogEvents ${ofDev("logs", "log-group:/aws/lambda/scratchpad-dev-notes-create")}
    logs:DeleteLogGroup ${ofDev("logs", "log-group:/aws/lambda/scratchpad-dev-notes-create")}
    logs:DeleteLogGroup ${ofDev("logs", "log-group:API-Gateway-Execution-Logs_0/dev")}
    cloudwatch:PutMetricAlarm ${ofDev("cloudwatch", "alarm:scratchpad-dev-notes-create-Errors")}
    cloudwatch:DeleteAlarms ${ofDev("cloudwatch", "alarm:scratchpad-dev-notes-create-Errors")}
    kms:Decrypt ${ofDev("kms", "key/0")} kms:ViaService=ssm.${region}.amazonaws.com
  `),
  ...["", "/resources/0", "/resources/0/methods/POST", "/deployments/0", "/stages/dev", "/gatewayresponses/DEFAULT_4XX"]
    .map((path) => `arn:aws:apigateway:${region}::/restapis/dev${path} ${taggedDev}`)
    .flatMap((api) =>
      ["PUT", "PATCH", "DELETE", "POST", "UpdateRestApiPolicy"].map((method) => `apigateway:${method} ${api}`),
    ),
  // API Gateway has no account in its ARNs, so roles of all accounts are checked with the tag.
  `apigateway:PUT arn:aws:apigateway:${region}::/tags/dev aws:RequestTag/scratchpad:stage=dev`,
  `apigateway:DELETE arn:aws:apigateway:${region}::/tags/dev aws:TagKeys=scratchpad:stage`,
  ...[devReleases, prodReleases].flatMap((bucket) =>
    [
      "dev/releases/000001.json",
      "prod/artifacts/templates/0.json",
      "dev/artifacts/functions/0.zip",
      "dev/lock.json",
    ].flatMap((key) =>
      ["GetObject", "PutObject", "DeleteObject", "GetObjectVersion", "DeleteObjectVersion"].map((action) =>
        `s3:${action} ${bucket}/${key} ${action === "PutObject" ? "s3:if-none-match=*" : ""}`.trim(),
      ),
    ),
  ),
];

test("a preview in an account of its own cannot touch another stage, nor extend its own permissions", async () => {
  assert.deepEqual(await allowed(inOwnAccount, forbiddenToPreviews), []);
});

test("a preview in dev's account cannot touch another stage, nor extend its own permissions", async () => {
  assert.deepEqual(await allowed(inDevsAccount, forbiddenToPreviews), []);
});

test("a preview may change its own stage", async () => {
  const calls = lines(`
    ssm:DeleteParameters ${own("ssm", "parameter/scratchpad/pr-1/key")} // part: billing
    iam:CreateRole ${role("scratchpad-pr-1-x")} ${policy("scratchpad-boundary-pr")}
    iam:PassRole ${role("scratchpad-pr-1-x")} iam:PassedToService=lambda.amazonaws.com
    cognito-idp:DeleteUserPool ${own("cognito-idp", "userpool/own")} ${taggedOwn}
    cognito-identity:DeleteIdentityPool ${own("cognito-identity", "identitypool/own")} ${taggedOwn}
    cloudfront:UpdateDistribution arn:aws:cloudfront::ACCOUNT:distribution/own ${taggedOwn} // part: web
    lambda:UpdateFunctionCode ${own("lambda", "function:scratchpad-pr-1-notes-create")}
    apigateway:PATCH arn:aws:apigateway:${region}::/restapis/own ${taggedOwn}
    s3:PutObject arn:aws:s3:::scratchpad-releases-ACCOUNT/pr-1/artifacts/templates/0.json s3:if-none-match=*
    cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-notes-api-pr-1/0")}
  `);
  for (const preview of [inOwnAccount, inDevsAccount]) assert.deepEqual(await allowed(preview, calls), calls);
});

/** Calls that IAM cannot limit to a stage, because the actions support neither names nor tags. ARCHITECTURE.md explains them. */
test("in dev's account, a preview may change those resources of dev that AWS protects neither by name nor by tag", async () => {
  const weak = lines(`
    cognito-identity:SetIdentityPoolRoles *
    cloudfront:UpdateOriginAccessControl arn:aws:cloudfront::ACCOUNT:origin-access-control/dev // part: web
    cloudfront:DeleteOriginAccessControl arn:aws:cloudfront::ACCOUNT:origin-access-control/dev // part: web
    cloudfront:UpdateResponseHeadersPolicy arn:aws:cloudfront::ACCOUNT:response-headers-policy/dev // part: web
    cloudfront:DeleteResponseHeadersPolicy arn:aws:cloudfront::ACCOUNT:response-headers-policy/dev // part: web
    apigateway:GET arn:aws:apigateway:${region}::/restapis/dev ${taggedDev}
    apigateway:PUT arn:aws:apigateway:${region}::/tags/dev ${asOwn}
    cognito-idp:DescribeUserPool ${own("cognito-idp", "userpool/dev")} ${taggedDev}
    cloudformation:DescribeStacks *
    ssm:DescribeParameters *
  `);
  assert.deepEqual(await allowed(inDevsAccount, weak), weak);
});

const everything: Statement[] = [{ Sid: "S0", Effect: "Allow", Action: ["*"], Resource: ["*"] }];

const forbiddenToFunctions = lines(`
  dynamodb:GetItem ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
  dynamodb:Query ${ofDev("dynamodb", "table/scratchpad-dev-Storage")}
  dynamodb:PutItem ${ofDev("dynamodb", "table/scratchpad-dev-Storage")}
  dynamodb:Scan ${ofDev("dynamodb", "table/scratchpad-dev-Notes")}
  dynamodb:GetRecords ${ofDev("dynamodb", "table/scratchpad-dev-Notes/stream/0")}
  s3:GetObject arn:aws:s3:::scratchpad-dev-attachments-${dev}/private/0
  s3:PutObject arn:aws:s3:::scratchpad-dev-attachments-${dev}/private/0
  s3:ListBucket arn:aws:s3:::scratchpad-dev-attachments-${dev}
  s3:GetObject ${devReleases}/dev/artifacts/functions/0.zip
  s3:PutObject ${devReleases}/dev/artifacts/functions/0.zip
  s3:PutObject arn:aws:s3:::scratchpad-releases-ACCOUNT/pr-2/artifacts/functions/0.zip
  s3:PutObject arn:aws:s3:::scratchpad-dev-web-${dev}/index.html // part: web
  ssm:GetParameters ${ofDev("ssm", "parameter/scratchpad/dev/key")}
  ssm:GetParameter ${ofDev("ssm", "parameter/scratchpad/dev/key")}
  kms:Decrypt ${ofDev("kms", "key/0")} kms:ViaService=s3.${region}.amazonaws.com
  kms:Decrypt ${ofDev("kms", "key/0")}
  sns:Publish ${ofDev("sns", "scratchpad-dev-Events")}
  sns:Publish ${ofDev("sns", "scratchpad-dev-alarms")}
  sqs:SendMessage ${ofDev("sqs", "scratchpad-dev-notes-attachment-uploaded-dead-letters")}
  sqs:ReceiveMessage ${ofDev("sqs", "scratchpad-dev-notes-attachment-uploaded-dead-letters")}
  lambda:InvokeFunction ${ofDev("lambda", "function:scratchpad-dev-notes-create")}
  lambda:UpdateFunctionCode ${ofDev("lambda", "function:scratchpad-dev-notes-create")}
  lambda:UpdateAlias ${ofDev("lambda", "function:scratchpad-dev-notes-create")}
  logs:GetLogEvents ${ofDev("logs", "log-group:/aws/lambda/scratchpad-dev-notes-create:log-stream:0")}
  execute-api:Invoke ${ofDev("execute-api", "0/dev/GET/notes")}
  cognito-idp:ListUsers ${ofDev("cognito-idp", "userpool/dev")}
  cognito-idp:AdminSetUserPassword ${ofDev("cognito-idp", "userpool/dev")}
  iam:CreateRole ${role("scratchpad-pr-1-x")}
  iam:PassRole ${role("scratchpad-pr-1-x")} iam:PassedToService=lambda.amazonaws.com
  sts:AssumeRole arn:aws:iam::${dev}:role/scratchpad-dev-notes-create
  cloudformation:UpdateStack ${own("cloudformation", "stack/scratchpad-notes-api-pr-1/0")}
`);

/** Checks what the role of a preview's function may do if the role's own policy allows everything. */
async function checkFunction(account: Account, table: StageTable) {
  const boundary = boundariesIn(account, table).get("scratchpad-boundary-pr")!;
  const place = placeOf(account);
  const role = {
    name: "x",
    arn: `arn:aws:iam::${account.id}:role/scratchpad-pr-1-x`,
    place,
    statements: everything,
  };
  assert.deepEqual(await allowed(role, forbiddenToFunctions, boundary), []);
  const calls = lines(`
    dynamodb:GetItem ${own("dynamodb", "table/scratchpad-pr-1-Notes")}
    s3:GetObject arn:aws:s3:::scratchpad-pr-1-attachments-ACCOUNT/private/0
    ssm:GetParameters ${own("ssm", "parameter/scratchpad/pr-1/key")}
    sns:Publish ${own("sns", "scratchpad-pr-1-Events")}
    sqs:SendMessage ${own("sqs", "scratchpad-pr-1-notes-attachment-uploaded-dead-letters")}
    execute-api:Invoke ${own("execute-api", "0/pr-1/GET/notes")}
  `);
  assert.deepEqual(await allowed(role, calls, boundary), calls);
}

test("a function of a preview in an account of its own cannot reach another stage, whatever its own policy allows", () =>
  checkFunction(previewsAccount, stageTable()));

test("a function of a preview in dev's account cannot reach another stage, whatever its own policy allows", () =>
  checkFunction(sharedAccount, shared));

test("the roles of dev, releases and show cannot write prod's stacks, releases and data", async () => {
  const stack = arn("cloudformation", prod, "stack/scratchpad-notes-api-prod/0");
  const calls = lines(`
    s3:PutObject ${prodReleases}/prod/releases/000001.json s3:if-none-match=*
    s3:PutObject ${prodReleases}/prod/lock.json s3:if-none-match=*
    s3:PutObject ${prodReleases}/prod/artifacts/functions/0.zip s3:if-none-match=*
    s3:PutObject ${prodReleases}/prod/artifacts/app/0 s3:if-none-match=*
    s3:DeleteObject ${prodReleases}/prod/releases/000001.json
    s3:DeleteObject ${prodReleases}/prod/artifacts/templates/0.json
    s3:DeleteObjectVersion ${prodReleases}/prod/artifacts/templates/0.json
    s3:PutBucketPolicy ${prodReleases}
    s3:PutObject arn:aws:s3:::scratchpad-prod-web-${prod}/index.html // part: web
    cloudformation:CreateStack ${stack}
    cloudformation:UpdateStack ${stack}
    cloudformation:DeleteStack ${stack}
    cloudformation:ExecuteChangeSet ${stack}
    cloudformation:RollbackStack ${stack}
    cloudformation:UpdateTerminationProtection ${stack}
    lambda:UpdateFunctionCode ${arn("lambda", prod, "function:scratchpad-prod-notes-create")}
    iam:PassRole arn:aws:iam::${prod}:role/scratchpad-prod-notes-create iam:PassedToService=lambda.amazonaws.com
    iam:PutRolePolicy arn:aws:iam::${prod}:role/scratchpad-prod-notes-create iam:PermissionsBoundary=arn:aws:iam::${prod}:policy/scratchpad-boundary-prod
    dynamodb:GetItem ${arn("dynamodb", prod, "table/scratchpad-prod-Notes")}
    dynamodb:DeleteTable ${arn("dynamodb", prod, "table/scratchpad-prod-Notes")}
    ssm:GetParameters ${arn("ssm", prod, "parameter/scratchpad/prod/key")}
    apigateway:PATCH arn:aws:apigateway:${region}::/restapis/prod aws:ResourceTag/scratchpad:stage=prod
    cognito-idp:UpdateUserPool ${arn("cognito-idp", prod, "userpool/prod")} aws:ResourceTag/scratchpad:stage=prod
  `);
  const [ofDevs, ofProds] = [rolesIn(devAccount), rolesIn(prodAccount)];
  for (const role of [ofDevs.get("dev")!, ofDevs.get("releases")!, ofProds.get("show")!])
    assert.deepEqual(await allowed(role, calls), [], role.name);
});

test("the role that reads releases reads only those of dev, and writes nothing", async () => {
  const releases = rolesIn(sharedAccount, shared).get("releases")!;
  const keys = ["pr-1/releases/000001.json", "pr-1/artifacts/templates/0.json", "prod/releases/000001.json"];
  assert.deepEqual(
    await allowed(releases, [
      ...keys.map((key) => `s3:GetObject ${devReleases}/${key}`),
      ...["PutObject", "DeleteObject"].map((action) => `s3:${action} ${devReleases}/dev/releases/000001.json`),
      `s3:ListBucket ${devReleases} s3:prefix=pr-1/`,
    ]),
    [],
  );
});

test("the role of prod can neither delete nor read what users and secrets need", async () => {
  const role = rolesIn(prodAccount).get("prod")!;
  const tagged = "aws:ResourceTag/scratchpad:stage=prod";
  const table = arn("dynamodb", prod, "table/scratchpad-prod-Notes");
  const files = `arn:aws:s3:::scratchpad-prod-attachments-${prod}`;
  const secret = arn("ssm", prod, "parameter/scratchpad/prod/key");
  const calls = lines(`
    dynamodb:DeleteTable ${table}
    dynamodb:DeleteItem ${table}
    dynamodb:GetItem ${table}
    dynamodb:Scan ${table}
    s3:DeleteBucket ${files}
    s3:DeleteObject ${files}/private/0
    s3:DeleteObjectVersion ${files}/private/0
    s3:GetObject ${files}/private/0
    s3:PutObject ${files}/private/0
    cognito-idp:DeleteUserPool ${arn("cognito-idp", prod, "userpool/prod")} ${tagged}
    cognito-idp:AdminDeleteUser ${arn("cognito-idp", prod, "userpool/prod")} ${tagged}
    cognito-idp:ListUsers ${arn("cognito-idp", prod, "userpool/prod")} ${tagged}
    cognito-identity:DeleteIdentityPool ${arn("cognito-identity", prod, "identitypool/prod")} ${tagged}
    cognito-identity:DeleteIdentities *
    ssm:DeleteParameter ${secret}
    ssm:DeleteParameters ${secret}
    ssm:GetParameter ${secret}
    ssm:GetParameters ${secret}
    ssm:PutParameter ${secret}
    iam:CreateRole arn:aws:iam::${prod}:role/scratchpad-prod-x
    iam:DeleteRolePermissionsBoundary arn:aws:iam::${prod}:role/scratchpad-prod-notes-create
  `);
  assert.deepEqual(await allowed(role, calls), []);
});

test("nobody can overwrite an artifact in the releases bucket, not even an administrator", async () => {
  for (const account of [devAccount, previewsAccount, prodAccount]) {
    const stack = new ReleasesStack(newApp(), account);
    const resources = new Resolver(cdkTemplates([stack]), placeOf(account)).resources(stack.stackName);
    const policy = resources.find(({ type }) => type === "AWS::S3::BucketPolicy")!.properties.PolicyDocument;
    const administrator: Role = {
      name: "administrator",
      arn: `arn:aws:iam::${account.id}:role/administrator`,
      place: placeOf(account),
      statements: everything,
    };
    const artifact = `arn:aws:s3:::scratchpad-releases-${account.id}/dev/artifacts/templates/0.json`;
    const writes = async (context: Record<string, string>) =>
      (
        await decide(
          administrator,
          {
            action: "s3:PutObject",
            resource: artifact,
            context: { "aws:SecureTransport": "true", ...context },
          },
          undefined,
          policy,
        )
      ).allowed;
    assert.deepEqual([await writes({}), await writes({ "s3:if-none-match": "*" })], [false, true], account.name);
  }
});
