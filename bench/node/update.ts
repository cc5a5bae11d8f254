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
  const file = attachment && key(userId, attachment);
  if (file) await claim(userId, file, version);
  try {
    const { Attributes: before } = await dynamodb.send(
      new UpdateCommand({
        TableName: Notes,
        Key: { userId, noteId: event.pathParameters!.id },
        UpdateExpression: "SET content = :content, attachment = :attachment, updatedAt = :updatedAt, version = :version",
        ConditionExpression: "attribute_exists(noteId)" + (tag ? " AND version = :expected" : ""),
        ExpressionAttributeValues: {
          ":content": content,
          ":attachment": attachment,
          ":updatedAt": Date.now(),
          ":version": version,
          ...(tag ? { ":expected": tag } : {}),
        },
        ReturnValues: "UPDATED_OLD",
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
    if (before?.attachment) await release(userId, key(userId, before.attachment), before.version);
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    if (file) await release(userId, file, version);
    throw error.Item ? new Problem(412, "The note was changed since you read it.") : new Problem(404, "You have no note with this id.");
  }
  return [200, { status: true }, { ETag: `"${version}"` }];
});
