import { ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import { UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { v7 } from "uuid";
import { dynamodb } from "./dynamodb.ts";
import { caller, json, Problem, route } from "./http.ts";
import { claim, draft, key, Notes, release } from "./notes.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const { content, attachment } = draft(json(event));
  const tag = event.headers["If-Match"]?.replaceAll('"', "");
  const version = v7();
  const write = { userId, noteId: event.pathParameters!.id!, version };
  const file = attachment && key(userId, attachment);
  const uploaded = file ? await claim(write, file) : null;
  try {
    const { Attributes: before } = await dynamodb.send(
      new UpdateCommand({
        TableName: Notes,
        Key: { userId, noteId: write.noteId },
        UpdateExpression:
          "SET content = :content, attachment = :attachment, uploaded = :uploaded, updatedAt = :updatedAt, version = :version",
        ConditionExpression: `attribute_exists(noteId)${tag ? " AND version = :expected" : ""}`,
        ExpressionAttributeValues: {
          ":content": content,
          ":attachment": attachment,
          ":uploaded": uploaded ?? null,
          ":updatedAt": Date.now(),
          ":version": version,
          ...(tag ? { ":expected": tag } : {}),
        },
        ReturnValues: "UPDATED_OLD",
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
    if (before?.attachment) await release({ ...write, version: before.version }, key(userId, before.attachment));
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    if (file) await release(write, file);
    throw error.Item
      ? new Problem(412, "The note was changed since you read it.")
      : new Problem(404, "You have no note with this id.");
  }
  return [200, { status: true }, { ETag: `"${version}"` }];
});
