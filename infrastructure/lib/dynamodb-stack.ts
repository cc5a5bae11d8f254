import { StreamViewType } from "aws-cdk-lib/aws-dynamodb";
import { number, string, type Tables } from "./tables-stack.ts";

/** The tables of the stack `dynamodb`. */
export const tables: Tables = {
  Notes: { partitionKey: string("userId"), sortKey: string("noteId") },
  // A user's total of notes, and the credits of their purchases.
  Storage: { partitionKey: string("userId"), sortKey: string("entry") },
  Attachments: { partitionKey: string("userId"), sortKey: string("attachment") },
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
  // Makes repeated requests, events and messages take effect once. Items expire by TTL.
  Idempotency: { partitionKey: string("id"), timeToLiveAttribute: "expiresAt" },
};
