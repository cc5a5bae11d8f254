// Purchases and secrets, shared by the billing routes.
import { ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import { GetParametersCommand, SSMClient } from "@aws-sdk/client-ssm";
import { UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";

export const Purchases = process.env.PURCHASES_TABLE!;

/** Reads a secret from SSM. */
export async function secret(name: string): Promise<string> {
  const Name = `${process.env.SECRETS_PREFIX}/${name}`;
  const { Parameters } = await new SSMClient({}).send(
    new GetParametersCommand({ Names: [Name], WithDecryption: true }),
  );
  const value = Parameters?.[0]?.Value;
  if (!value) throw new Error(`the secret ${name} does not exist`);
  return value;
}

/** Sets a purchase from PENDING to PAID. A settled purchase does not change. */
export async function settle(userId: string, purchaseId: string, intentId: string) {
  try {
    await dynamodb.send(
      new UpdateCommand({
        TableName: Purchases,
        Key: { userId, purchaseId },
        UpdateExpression:
          "SET updatedAt = :updatedAt, #status = :paid, paymentIntentId = :intent, revision = :one, outbox = :outbox, dueAt = :dueAt REMOVE #source",
        ConditionExpression: "#status = :pending",
        ExpressionAttributeNames: { "#status": "status", "#source": "source" },
        ExpressionAttributeValues: {
          ":updatedAt": Date.now(),
          ":paid": "PAID",
          ":pending": "PENDING",
          ":intent": intentId,
          ":one": 1,
          ":outbox": [{ type: "paid" }],
          ":dueAt": Date.now() + 120_000,
        },
        ReturnValues: "ALL_NEW",
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
}
