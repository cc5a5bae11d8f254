import { AttributeType, StreamViewType } from "aws-cdk-lib/aws-dynamodb"; // part: billing
import type { Tables } from "./tables-stack.ts";

const number = (name: string) => ({ name, type: AttributeType.NUMBER }); // part: billing

/** The tables of the stack `dynamodb`. */
export const tables: Tables = {
  Notes: { partitionKey: "userId", sortKey: "noteId" },
  // A user's total of notes, and what changes how many they may have.
  Storage: { partitionKey: "userId", sortKey: "entry" },
  Attachments: { partitionKey: "userId", sortKey: "attachment" },
  // part: billing {
  // The stream is the outbox: events about a purchase are published from its changes.
  Purchases: {
    partitionKey: "userId",
    sortKey: "purchaseId",
    stream: StreamViewType.NEW_AND_OLD_IMAGES,
    // Sparse: only purchases for which work is due have the key. They are spread over shards, because the index spans all users.
    index: { indexName: "unsettled", partitionKey: number("unsettledShard"), sortKey: number("dueAt") },
  },
  // The open order of each buyer, and the times at which their cards were declined.
  Buyers: { partitionKey: "userId" },
  // part: billing }
  // Makes repeated requests, events and messages take effect once. Items expire by TTL.
  Idempotency: { partitionKey: "id", timeToLiveAttribute: "expiresAt" },
};
