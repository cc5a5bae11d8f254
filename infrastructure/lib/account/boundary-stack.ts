import type { App } from "aws-cdk-lib";
import { ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** The name of the policy below; the roles of functions name it too, in the root serverless.yml. */
export const boundary = "scratchpad-boundary";

/**
 * The most that a role of a stage can be given: what functions and users need, and no more. Whoever deploys makes roles,
 * and could else make one that may do anything.
 */
export class BoundaryStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "boundary", account);

    const here = (service: string, resource: string, resourceName?: string) =>
      this.formatArn({ service, resource, ...(resourceName && { resourceName }) });
    const anywhere = (service: string, resource: string) =>
      this.formatArn({ service, region: "", account: "", resource });
    const most: [actions: string[], resources: string[]][] = [
      [
        [
          "dynamodb:BatchGetItem",
          "dynamodb:DeleteItem",
          "dynamodb:GetItem",
          "dynamodb:PutItem",
          "dynamodb:Query",
          "dynamodb:UpdateItem",
        ],
        [here("dynamodb", "table", "scratchpad-*")],
      ],
      [
        ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
        [here("dynamodb", "table", "scratchpad-*")],
      ],
      [
        ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        [anywhere("s3", "scratchpad-*-attachments-*")],
      ],
      [["ssm:GetParameters"], [here("ssm", "parameter", "scratchpad/*")]],
      [["sns:Publish"], ["*"]], // a phone has no ARN
      [["sqs:SendMessage"], [here("sqs", "scratchpad-*")]],
      [
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        [here("logs", "log-group:/aws/lambda/scratchpad-*")],
      ],
      [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]],
      [["execute-api:Invoke"], [here("execute-api", "*")]],
      // CodeDeploy's, which moves a function's alias to new code.
      [
        ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
        [here("lambda", "function:scratchpad-*")],
      ],
      [["cloudwatch:DescribeAlarms"], ["*"]],
    ];
    new ManagedPolicy(this, "Boundary", {
      managedPolicyName: boundary,
      statements: [
        ...most.map(([actions, resources]) => new PolicyStatement({ actions, resources })),
        new PolicyStatement({
          actions: ["kms:Decrypt"], // of SecureStrings, by SSM's own key
          resources: ["*"],
          conditions: { StringEquals: { "kms:ViaService": `ssm.${this.region}.${this.urlSuffix}` } },
        }),
      ],
    });
  }
}
