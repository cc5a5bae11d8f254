import { GetCommand, TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, route } from "./http.ts";
import { key, type Note, Notes, release, Storage } from "./notes.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const Key = { userId, noteId: event.pathParameters!.id };
  const { Item } = await dynamodb.send(new GetCommand({ TableName: Notes, Key, ConsistentRead: true }));
  if (Item) {
    if (Item.attachment) await release(Item as Note, key(userId, Item.attachment));
    await dynamodb.send(
      new TransactWriteCommand({
        TransactItems: [
          {
            Delete: {
              TableName: Notes,
              Key,
              ConditionExpression: "version = :version",
              ExpressionAttributeValues: { ":version": Item.version },
            },
          },
          {
            Update: {
              TableName: Storage,
              Key: { userId, entry: "total" },
              UpdateExpression: "ADD used :less, balance :less",
              ExpressionAttributeValues: { ":less": -1 },
            },
          },
        ],
      }),
    );
  }
  return [200, { status: true }];
});
