import type { App } from "aws-cdk-lib";
import {
  AttributeType,
  BillingMode,
  type GlobalSecondaryIndexProps,
  ProjectionType,
  StreamViewType,
  Table,
  type TableOptions,
} from "aws-cdk-lib/aws-dynamodb";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

const string = (name: string) => ({ name, type: AttributeType.STRING });
const number = (name: string) => ({ name, type: AttributeType.NUMBER });

const tables: Record<string, TableOptions & { index?: GlobalSecondaryIndexProps }> = {
  Notes: { partitionKey: string("userId"), sortKey: string("noteId") },
  Attachments: { partitionKey: string("userId"), sortKey: string("attachment") },
  // Its stream is the outbox: what is told to others of a purchase follows from what was written of it.
  Purchases: {
    partitionKey: string("userId"),
    sortKey: string("purchaseId"),
    stream: StreamViewType.NEW_AND_OLD_IMAGES,
    // Only purchases that are not settled have its key. Those of all people are in it: hence the shards.
    index: { indexName: "unsettled", partitionKey: number("unsettledShard"), sortKey: number("dueAt") },
  },
  // One effect for many deliveries of a request, an event or a message; forgotten after a time.
  Idempotency: { partitionKey: string("id"), timeToLiveAttribute: "expiresAt" },
};

export class DynamodbStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "dynamodb", stage);

    for (const [name, { index, ...own }] of Object.entries(tables)) {
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
      if (table.tableStreamArn) this.share(`${name}TableStreamArn`, table.tableStreamArn);
      if (index) table.addGlobalSecondaryIndex({ ...index, projectionType: ProjectionType.ALL });
    }
  }
}
