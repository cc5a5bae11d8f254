// Signs webhook payloads with Stripe's library. Reads [{payload, secret, timestamp}] from stdin and writes the values of
// Stripe-Signature to stdout.

import { json } from "node:stream/consumers";
import Stripe from "stripe";

const { webhooks } = new Stripe("sk_test_none");
const deliveries = await json(process.stdin);
console.log(JSON.stringify(deliveries.map((delivery) => webhooks.generateTestHeaderString(delivery))));
