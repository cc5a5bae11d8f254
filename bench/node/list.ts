import { QueryCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, Problem, route } from "./http.ts";
import { Notes, show, type Note } from "./notes.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const { limit: asked, cursor } = event.queryStringParameters ?? {};
  const limit = Number(asked ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new Problem(422, "limit");
  const found = await dynamodb.send(
    new QueryCommand({
      TableName: Notes,
      KeyConditionExpression: "userId = :user",
      ExpressionAttributeValues: { ":user": userId },
      ExclusiveStartKey: cursor === undefined ? undefined : { userId, noteId: cursor },
      ScanIndexForward: false,
      ConsistentRead: true,
      Limit: limit + 1,
    }),
  );
  const notes = (found.Items ?? []).slice(0, limit) as Note[];
  const more = found.LastEvaluatedKey !== undefined || (found.Items ?? []).length > limit;
  const next = `./notes?limit=${limit}&cursor=${notes.at(-1)?.noteId}`;
  return [200, await show(notes), more ? { Link: `<${next}>; rel="next"` } : undefined];
});
