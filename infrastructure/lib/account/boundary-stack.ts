import type { App } from "aws-cdk-lib";
import { ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** The name of the permissions boundary. The root serverless.yml uses the same name for the roles of functions. */
export const boundaryName = "scratchpad-boundary";

/**
 * The permissions boundary of every role of a stage: what functions and users need. A deployment creates roles, and
 * without the boundary it could create one with any permission.
 */
export class BoundaryStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "boundary", account);

    const regionalArn = (service: string, resource: string, resourceName?: string) =>
      this.formatArn({ service, resource, ...(resourceName && { resourceName }) });
    const globalArn = (service: string, resource: string) =>
      this.formatArn({ service, region: "", account: "", resource });
    const permissions: [actions: string[], resources: string[]][] = [
      [
        [
          "dynamodb:BatchGetItem",
          "dynamodb:DeleteItem",
          "dynamodb:GetItem",
          "dynamodb:PutItem",
          "dynamodb:Query",
          "dynamodb:UpdateItem",
        ],
        [regionalArn("dynamodb", "table", "scratchpad-*")],
      ],
      [
        ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
        [regionalArn("dynamodb", "table", "scratchpad-*")],
      ],
      [
        ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        [globalArn("s3", "scratchpad-*-attachments-*")],
      ],
      [["ssm:GetParameters"], [regionalArn("ssm", "parameter", "scratchpad/*")]],
      [["sns:Publish"], ["*"]], // SMS: a phone number has no ARN
      [["sqs:SendMessage"], [regionalArn("sqs", "scratchpad-*")]],
      [
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        [regionalArn("logs", "log-group:/aws/lambda/scratchpad-*")],
      ],
      [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]],
      [["execute-api:Invoke"], [regionalArn("execute-api", "*")]],
      // CodeDeploy shifts traffic by updating a function's alias.
      [
        ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
        [regionalArn("lambda", "function:scratchpad-*")],
      ],
      [["cloudwatch:DescribeAlarms"], ["*"]],
    ];
    new ManagedPolicy(this, "Boundary", {
      managedPolicyName: boundaryName,
      statements: [
        ...permissions.map(([actions, resources]) => new PolicyStatement({ actions, resources })),
        new PolicyStatement({
          actions: ["kms:Decrypt"], // decrypts SecureString parameters with the key of SSM
          resources: ["*"],
          conditions: { StringEquals: { "kms:ViaService": `ssm.${this.region}.${this.urlSuffix}` } },
        }),
      ],
    });
  }
}
