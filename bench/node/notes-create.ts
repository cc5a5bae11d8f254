import { PutCommand } from "@aws-sdk/lib-dynamodb";
import { v7 } from "uuid";
import { dynamodb } from "./dynamodb.ts";
import { caller, json, route } from "./http.ts";
import { claim, draft, key, type Note, Notes, show } from "./notes.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const { content, attachment } = draft(json(event));
  const now = Date.now();
  const note: Note = { userId, noteId: v7(), content, attachment, createdAt: now, updatedAt: now, version: v7() };
  if (attachment) note.uploaded = await claim(note, key(userId, attachment));
  await dynamodb.send(
    new PutCommand({ TableName: Notes, Item: note, ConditionExpression: "attribute_not_exists(noteId)" }),
  );
  const [shown] = await show([note]);
  return [201, shown, { ETag: `"${note.version}"`, Location: `./notes/${note.noteId}` }];
});
