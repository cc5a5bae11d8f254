import { type App } from "aws-cdk-lib";
import { AttributeType, BillingMode, Table } from "aws-cdk-lib/aws-dynamodb";
import { type Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** Every table holds one user's items together: userId, then this sort key. */
const sortKeys = {
  Notes: "noteId",
  Attachments: "attachment",
};

export class DynamodbStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "dynamodb", stage);

    for (const [name, sortKey] of Object.entries(sortKeys)) {
      const table = new Table(this, name, {
        tableName: this.nameOf(name),
        partitionKey: { name: "userId", type: AttributeType.STRING },
        sortKey: { name: sortKey, type: AttributeType.STRING },
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
