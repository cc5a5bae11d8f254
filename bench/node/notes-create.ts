import { TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import { v7 } from "uuid";
import { dynamodb } from "./dynamodb.ts";
import { caller, json, route } from "./http.ts";
import { claim, draft, key, type Note, Notes, Storage, show } from "./notes.ts";

const free = Number(process.env.FREE_NOTES);

export const handler = route(async (event) => {
  const userId = caller(event);
  const { content, attachment } = draft(json(event));
  const now = Date.now();
  const id = { userId, noteId: v7() };
  const note: Note = { ...id, content, attachment, createdAt: now, updatedAt: now, version: v7(), counted: true };
  if (attachment) note.uploaded = await claim(note, key(userId, attachment));
  await dynamodb.send(
    new TransactWriteCommand({
      TransactItems: [
        { Put: { TableName: Notes, Item: note, ConditionExpression: "attribute_not_exists(noteId)" } },
        {
          Update: {
            TableName: Storage,
            Key: { userId, entry: "total" },
            UpdateExpression: "ADD used :one, balance :one",
            ConditionExpression: "attribute_not_exists(balance) OR balance < :free",
            ExpressionAttributeValues: { ":one": 1, ":free": free },
          },
        },
      ],
    }),
  );
  const [shown] = await show([note]);
  return [201, shown, { ETag: `"${note.version}"`, Location: `./notes/${note.noteId}` }];
});
