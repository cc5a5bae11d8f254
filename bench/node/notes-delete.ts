import { DeleteCommand, GetCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, route } from "./http.ts";
import { key, type Note, Notes, release } from "./notes.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const Key = { userId, noteId: event.pathParameters!.id };
  const { Item } = await dynamodb.send(new GetCommand({ TableName: Notes, Key, ConsistentRead: true }));
  if (Item) {
    if (Item.attachment) await release(Item as Note, key(userId, Item.attachment));
    await dynamodb.send(
      new DeleteCommand({
        TableName: Notes,
        Key,
        ConditionExpression: "attribute_not_exists(noteId) OR version = :version",
        ExpressionAttributeValues: { ":version": Item.version },
      }),
    );
  }
  return [200, { status: true }];
});
