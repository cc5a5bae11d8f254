import Stripe from "stripe";
import { secret, settle } from "./billing.ts";
import { Problem, route } from "./http.ts";

const endpointSecret = await secret("stripe-webhook-secret");
const stripe = new Stripe("sk_none");

export const handler = route(async (event) => {
  let stripeEvent: Stripe.Event;
  try {
    stripeEvent = stripe.webhooks.constructEvent(
      event.body ?? "",
      event.headers["Stripe-Signature"] ?? "",
      endpointSecret,
    );
  } catch {
    throw new Problem(400, "The signature is invalid.");
  }
  if (stripeEvent.type === "payment_intent.succeeded") {
    const { id, metadata } = stripeEvent.data.object;
    await settle(metadata.userId!, metadata.purchaseId!, id);
  }
  return [200, { status: true }];
});
