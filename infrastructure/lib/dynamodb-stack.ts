import { type App } from "aws-cdk-lib";
import { AttributeType, BillingMode, Table } from "aws-cdk-lib/aws-dynamodb";
import { type Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

const string = (name: string) => ({ name, type: AttributeType.STRING });

const tables = {
  Notes: { partitionKey: string("userId"), sortKey: string("noteId") },
  Attachments: { partitionKey: string("userId"), sortKey: string("attachment") },
  // One effect for many deliveries of a request, an event or a message; forgotten after a time.
  Idempotency: { partitionKey: string("id"), timeToLiveAttribute: "expiresAt" },
};

export class DynamodbStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "dynamodb", stage);

    for (const [name, own] of Object.entries(tables)) {
      const table = new Table(this, name, {
        ...own,
        tableName: this.nameOf(name),
        billingMode: BillingMode.PAY_PER_REQUEST,
        deletionProtection: stage.protected,
        pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: stage.protected },
        removalPolicy: this.removalPolicy,
      });
      this.share(`${name}TableName`, table.tableName);
      this.share(`${name}TableArn`, table.tableArn);
    }
  }
}
