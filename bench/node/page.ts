// Pagination, shared by the list routes.
import { QueryCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, type Event, Problem } from "./http.ts";

/** Queries a page of the user's newest items. The Link header points to older ones. `id` is the table's sort key. */
export async function page(event: Event, TableName: string, id: string, path: string) {
  const userId = caller(event);
  const { limit: asked, cursor } = event.queryStringParameters ?? {};
  const limit = Number(asked ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new Problem(422, "limit");
  const found = await dynamodb.send(
    new QueryCommand({
      TableName,
      KeyConditionExpression: "userId = :user",
      ExpressionAttributeValues: { ":user": userId },
      ExclusiveStartKey: cursor === undefined ? undefined : { userId, [id]: cursor },
      ScanIndexForward: false,
      ConsistentRead: true,
      Limit: limit + 1,
    }),
  );
  const items = (found.Items ?? []).slice(0, limit);
  const more = found.LastEvaluatedKey !== undefined || (found.Items ?? []).length > limit;
  const next = `./${path}?limit=${limit}&cursor=${items.at(-1)?.[id]}`;
  return { items, headers: more ? { Link: `<${next}>; rel="next"` } : undefined };
}
