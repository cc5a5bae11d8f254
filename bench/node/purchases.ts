import { QueryCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, Problem, route } from "./http.ts";

export const handler = route(async (event) => {
  const userId = caller(event);
  const { limit: asked, cursor } = event.queryStringParameters ?? {};
  const limit = Number(asked ?? 100);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new Problem(422, "limit");
  const found = await dynamodb.send(
    new QueryCommand({
      TableName: process.env.PURCHASES_TABLE!,
      KeyConditionExpression: "userId = :user",
      ExpressionAttributeValues: { ":user": userId },
      ExclusiveStartKey: cursor === undefined ? undefined : { userId, purchaseId: cursor },
      ScanIndexForward: false,
      ConsistentRead: true,
      Limit: limit + 1,
    }),
  );
  const purchases = (found.Items ?? []).slice(0, limit);
  const more = found.LastEvaluatedKey !== undefined || (found.Items ?? []).length > limit;
  const shown = purchases.map(({ source: _, unsettledShard: __, dueAt: ___, intentId: ____, ...purchase }) => purchase);
  const next = `./billing?limit=${limit}&cursor=${purchases.at(-1)?.purchaseId}`;
  return [200, shown, more ? { Link: `<${next}>; rel="next"` } : undefined];
});
