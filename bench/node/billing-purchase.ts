import { TransactWriteCommand } from "@aws-sdk/lib-dynamodb";
import Stripe from "stripe";
import { v7 } from "uuid";
import { Purchases, secret, settle } from "./billing.ts";
import { dynamodb } from "./dynamodb.ts";
import { caller, json, Problem, route } from "./http.ts";

const { hostname, port, protocol } = new URL(process.env.STRIPE_URL!);
const stripe = new Stripe(await secret("stripe-secret-key"), {
  host: hostname,
  port: Number(port || 443),
  protocol: protocol === "http:" ? "http" : "https",
  telemetry: false,
});

const price = (storage: number) => (storage <= 10 ? 400 : storage <= 100 ? 200 : 100);

export const handler = route(async (event) => {
  const userId = caller(event);
  const { storage, source } = json<{ storage?: number; source?: string }>(event);
  if (!Number.isInteger(storage) || storage! < 1) throw new Problem(422, "storage");
  if (typeof source !== "string" || !/^(tok|pm)_/.test(source)) throw new Problem(422, "source");
  const [purchaseId, now] = [v7(), Date.now()];
  const amount = storage! * price(storage!);
  const description = `storage for ${storage} notes`;
  const purchase = {
    userId,
    purchaseId,
    storage,
    amount,
    currency: "usd",
    description,
    status: "PENDING",
    source,
    unsettledShard: now % 4,
    dueAt: now + 120_000,
    createdAt: now,
    updatedAt: now,
  };
  await dynamodb.send(
    new TransactWriteCommand({
      TransactItems: [
        { Put: { TableName: Purchases, Item: purchase, ConditionExpression: "attribute_not_exists(purchaseId)" } },
        {
          Update: {
            TableName: process.env.BUYERS_TABLE!,
            Key: { userId },
            UpdateExpression: "SET openOrder = :order",
            ConditionExpression: "attribute_not_exists(openOrder) OR openOrder = :order",
            ExpressionAttributeValues: { ":order": purchaseId },
          },
        },
      ],
    }),
  );
  const payment = source.startsWith("pm_")
    ? { payment_method: source }
    : { payment_method_data: { type: "card" as const, card: { token: source } } };
  const intent = await stripe.paymentIntents.create(
    {
      amount,
      currency: "usd",
      confirm: true,
      description,
      metadata: { userId, purchaseId },
      automatic_payment_methods: { enabled: true, allow_redirects: "never" },
      ...(payment as object),
    },
    { idempotencyKey: purchaseId },
  );
  if (intent.status !== "succeeded") throw new Problem(402, "The card was not charged.");
  await settle(userId, purchaseId, intent.id);
  return [200, { status: true, purchaseId, amount }];
});
