// Signs as Stripe does, by Stripe's own library: reads [{payload, secret, timestamp}] and writes the values of
// Stripe-Signature.

import { json } from "node:stream/consumers";
import Stripe from "stripe";

const { webhooks } = new Stripe("sk_test_none");
const deliveries = await json(process.stdin);
console.log(JSON.stringify(deliveries.map((delivery) => webhooks.generateTestHeaderString(delivery))));
