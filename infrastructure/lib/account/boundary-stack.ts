import type { App } from "aws-cdk-lib";
import { ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { Account } from "../account.ts";
import { boundaryOf, type StageTable, stagesOf, stageTable } from "../stage.ts";
import { AccountStack } from "./account-stack.ts";

/**
 * The permissions boundaries of the account's stages, one per row of the stage table: what functions and users need, on
 * resources of the row's stages only. A deployment creates roles, and without the boundary it could create one with any
 * permission.
 */
export class BoundaryStack extends AccountStack {
  constructor(app: App, account: Account, table: StageTable = stageTable()) {
    super(app, "boundary", account);

    for (const [row, { account: name }] of Object.entries(table)) {
      if (name !== account.name) continue;
      new ManagedPolicy(this, boundaryOf(row), {
        managedPolicyName: boundaryOf(row),
        description: `Permissions boundary of the roles of stages: ${stagesOf(row)}`,
        statements: this.statements(stagesOf(row), row === "dev"),
      });
    }
  }

  /** What the roles of `stages`, a name or pattern, may do. Other stages may link to `shared` stages. */
  private statements(stages: string, shared: boolean) {
    const regionalArn = (service: string, resource: string, resourceName?: string) =>
      this.formatArn({ service, resource, ...(resourceName && { resourceName }) });
    const globalArn = (service: string, resource: string) =>
      this.formatArn({ service, region: "", account: "", resource });
    const named = `scratchpad-${stages === "*" ? "" : `${stages}-`}*`;
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
        [regionalArn("dynamodb", "table", named)],
      ],
      [
        ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"],
        [regionalArn("dynamodb", "table", named)],
      ],
      [
        ["s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"],
        [globalArn("s3", `scratchpad-${stages}-attachments-*`)],
      ],
      [["ssm:GetParameters"], [regionalArn("ssm", "parameter", `scratchpad/${stages}/*`)]],
      [["sqs:SendMessage"], [regionalArn("sqs", named)]],
      [
        ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        [regionalArn("logs", `log-group:/aws/lambda/${named}`)],
      ],
      [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]],
      // The users of a shared stage also call the APIs of the stages that link to it.
      [["execute-api:Invoke"], [regionalArn("execute-api", "*", `${shared ? "*" : stages}/*`)]],
      // CodeDeploy shifts traffic by updating a function's alias.
      [
        ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"],
        [regionalArn("lambda", `function:${named}`)],
      ],
      [["cloudwatch:DescribeAlarms"], ["*"]],
    ];
    return [
      ...permissions.map(([actions, resources]) => new PolicyStatement({ actions, resources })),
      // Events and alarms are published to topics of the stage.
      new PolicyStatement({ actions: ["sns:Publish"], resources: [regionalArn("sns", named)] }),
      // part: notify {
      // SMS are published to phone numbers, which have no ARN.
      new PolicyStatement({ actions: ["sns:Publish"], notResources: ["arn:aws:sns:*:*:*"] }),
      // part: notify }
      new PolicyStatement({
        actions: ["kms:Decrypt"], // decrypts SecureString parameters with the key of SSM
        resources: ["*"],
        conditions: { StringEquals: { "kms:ViaService": `ssm.${this.region}.${this.urlSuffix}` } },
      }),
    ];
  }
}
