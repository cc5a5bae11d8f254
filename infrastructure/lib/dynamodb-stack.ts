import type { App } from "aws-cdk-lib";
import {
  AttributeType,
  BillingMode,
  type GlobalSecondaryIndexProps,
  ProjectionType,
  StreamViewType, // part: billing
  Table,
  type TableOptions,
} from "aws-cdk-lib/aws-dynamodb";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

const string = (name: string) => ({ name, type: AttributeType.STRING });
const number = (name: string) => ({ name, type: AttributeType.NUMBER }); // part: billing

const tables: Record<string, TableOptions & { index?: GlobalSecondaryIndexProps }> = {
  Notes: { partitionKey: string("userId"), sortKey: string("noteId") },
  // A user's total of notes, and what changes how many they may have.
  Storage: { partitionKey: string("userId"), sortKey: string("entry") },
  Attachments: { partitionKey: string("userId"), sortKey: string("attachment") },
  // part: billing {
  // The stream is the outbox: events about a purchase are published from its changes.
  Purchases: {
    partitionKey: string("userId"),
    sortKey: string("purchaseId"),
    stream: StreamViewType.NEW_AND_OLD_IMAGES,
    // Sparse: only purchases for which work is due have the key. They are spread over shards, because the index spans all users.
    index: { indexName: "unsettled", partitionKey: number("unsettledShard"), sortKey: number("dueAt") },
  },
  // The open order of each buyer, and the times at which their cards were declined.
  Buyers: { partitionKey: string("userId") },
  // part: billing }
  // Makes repeated requests, events and messages take effect once. Items expire by TTL.
  Idempotency: { partitionKey: string("id"), timeToLiveAttribute: "expiresAt" },
};

/** The index of each table, or undefined. */
export const tableIndexes = Object.fromEntries(
  Object.entries(tables).map(([name, { index }]): [string, string | undefined] => [name, index?.indexName]),
);

/** The tables of a stage. */
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
      this.exportOutput(`${name}TableName`, table.tableName);
      this.exportOutput(`${name}TableArn`, table.tableArn);
      if (table.tableStreamArn) this.exportOutput(`${name}TableStreamArn`, table.tableStreamArn);
      if (index) table.addGlobalSecondaryIndex({ ...index, projectionType: ProjectionType.ALL });
    }
  }
}
