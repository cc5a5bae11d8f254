// Tests the API with Stripe's client library for Node.js.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Stripe from "stripe";

const root = fileURLToPath(new URL("../../..", import.meta.url));
// Without --package: see .cargo/config.toml.
const run = ["run", "--quiet", "--example", "serve"];
const confirmedPayment = (name) => ({
  amount: 4000,
  currency: "usd",
  confirm: true,
  payment_method: `pm_card_${name}`,
  allowed_payment_method_types: ["card"],
});

let double;
let url;
let stripe;

const client = (key) => {
  const { hostname, port } = new URL(url);
  return new Stripe(key, { host: hostname, port, protocol: "http", maxNetworkRetries: 0 });
};

const control = async (method, path, body) => {
  const response = await fetch(`${url}/_double/${path}`, {
    method,
    body: body && JSON.stringify(body),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
};

const paidCharges = async () => (await control("GET", "charges")).data.filter((charge) => charge.paid).length;

before(async () => {
  double = spawn("cargo", run, { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  [url] = await once(createInterface(double.stdout), "line");
  stripe = client("sk_test_double");
});

after(async () => {
  double.stdin.end();
  await once(double, "exit");
});

test("a payment with a token is charged and retrieved", async () => {
  const paid = await stripe.paymentIntents.create({
    amount: 4000,
    currency: "usd",
    confirm: true,
    description: "10 notes",
    metadata: { purchaseId: "a" },
    payment_method_data: { type: "card", card: { token: "tok_visa" } },
    automatic_payment_methods: { enabled: true, allow_redirects: "never" },
  });
  assert.equal(paid.status, "succeeded");
  assert.equal(paid.amount_received, 4000);
  const found = await stripe.paymentIntents.retrieve(paid.id);
  assert.deepEqual(found.metadata, { purchaseId: "a" });
  const { data } = await stripe.paymentIntents.list({ limit: 1 });
  assert.equal(data[0].id, paid.id);
});

test("a PaymentIntent can be created first and confirmed or canceled later", async () => {
  const create = { amount: 4000, currency: "usd", allowed_payment_method_types: ["card"] };
  const { id, status } = await stripe.paymentIntents.create(create);
  assert.equal(status, "requires_payment_method");
  const paid = await stripe.paymentIntents.confirm(id, { payment_method: "pm_card_visa" });
  assert.equal(paid.status, "succeeded");
  await assert.rejects(stripe.paymentIntents.cancel(id), { code: "payment_intent_unexpected_state" });
  const other = await stripe.paymentIntents.create(create);
  const canceled = await stripe.paymentIntents.cancel(other.id);
  assert.equal(canceled.status, "canceled");
});

for (const [name, code, decline_code] of [
  ["visa_chargeDeclined", "card_declined", "generic_decline"],
  ["visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"],
  ["visa_chargeDeclinedLostCard", "card_declined", "lost_card"],
  ["chargeDeclinedExpiredCard", "expired_card", "expired_card"],
  ["chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"],
  ["chargeDeclinedProcessingError", "processing_error", "processing_error"],
]) {
  test(`${name} is a card error with the decline code ${decline_code}`, async () => {
    await assert.rejects(stripe.paymentIntents.create(confirmedPayment(name)), (error) => {
      assert(error instanceof Stripe.errors.StripeCardError);
      assert.equal(error.statusCode, 402);
      assert.equal(error.code, code);
      assert.equal(error.decline_code, decline_code);
      assert.equal(error.payment_intent.status, "requires_payment_method");
      return true;
    });
  });
}

test("a payment with 3-D Secure requires action and succeeds after authentication", async () => {
  const intent = await stripe.paymentIntents.create(confirmedPayment("threeDSecure2Required"));
  assert.equal(intent.status, "requires_action");
  assert.equal(intent.next_action.type, "use_stripe_sdk");
  assert.match(intent.client_secret, new RegExp(`^${intent.id}_secret_`));
  await control("POST", `payment_intents/${intent.id}/authenticate`, { authentication: "succeeds" });
  assert.equal((await stripe.paymentIntents.retrieve(intent.id)).status, "succeeded");
});

/** Returns the first result of `check` that is truthy. */
const eventually = async (check) => {
  for (;;) {
    const result = await check();
    if (result) return result;
    await setTimeout(10);
  }
};

test("a charge is refunded partially and completely, and not again", async () => {
  const metadata = { purchaseId: "b" };
  const paid = await stripe.paymentIntents.create({ ...confirmedPayment("visa"), metadata });
  const first = await stripe.refunds.create({ payment_intent: paid.id, amount: 1000 });
  assert.deepEqual([first.status, first.amount, first.metadata], ["succeeded", 1000, {}]);
  await stripe.refunds.create({ charge: paid.latest_charge, reason: "requested_by_customer" });
  const { latest_charge } = await stripe.paymentIntents.retrieve(paid.id, { expand: ["latest_charge"] });
  assert.deepEqual([latest_charge.amount_refunded, latest_charge.refunded], [4000, true]);
  assert.deepEqual(latest_charge.metadata, metadata);
  const again = stripe.refunds.create({ payment_intent: paid.id });
  await assert.rejects(again, { statusCode: 400, code: "charge_already_refunded" });
  const { data } = await stripe.refunds.list({ payment_intent: paid.id });
  assert.deepEqual(
    data.map(({ amount }) => amount),
    [3000, 1000],
  );
});

test("a refund can be pending first", async () => {
  const paid = await stripe.paymentIntents.create(confirmedPayment("pendingRefund"));
  const { id, status } = await stripe.refunds.create({ payment_intent: paid.id });
  assert.equal(status, "pending");
  await eventually(async () => (await stripe.refunds.retrieve(id)).status === "succeeded");
});

const disputed = async (name) => {
  const { id } = await stripe.paymentIntents.create(confirmedPayment(name));
  const [dispute] = await eventually(async () => {
    const { data } = await stripe.disputes.list({ payment_intent: id });
    return data.length && data;
  });
  return dispute;
};

for (const [evidence, status, funds] of [
  ["winning_evidence", "won", 0],
  ["losing_evidence", "lost", -5500],
]) {
  test(`${evidence} ends a dispute as ${status}`, async () => {
    const dispute = await disputed("createDispute");
    assert.equal(dispute.status, "needs_response");
    const refund = stripe.refunds.create({ payment_intent: dispute.payment_intent });
    await assert.rejects(refund, { statusCode: 400, code: "charge_disputed" });
    await stripe.disputes.update(dispute.id, { evidence: { uncategorized_text: evidence } });
    const { balance_transactions } = await eventually(async () => {
      const current = await stripe.disputes.retrieve(dispute.id);
      return current.status === status && current;
    });
    const nets = balance_transactions.map(({ net }) => net);
    assert.equal(
      nets.reduce((sum, net) => sum + net),
      funds,
    );
  });
}

test("an inquiry is closed without a chargeback", async () => {
  const inquiry = await disputed("createDisputeInquiry");
  assert.equal(inquiry.payment_method_details.card.case_type, "inquiry");
  const closed = await stripe.disputes.close(inquiry.id);
  assert.equal(closed.status, "warning_closed");
  await assert.rejects(stripe.disputes.close(inquiry.id), { statusCode: 400 });
});

test("the library pages through the payments of a time range", async () => {
  const made = [];
  for (let number = 0; number < 5; number += 1) {
    made.unshift((await stripe.paymentIntents.create(confirmedPayment("visa"))).id);
  }
  const { created } = await stripe.paymentIntents.retrieve(made[4]);
  const found = [];
  for await (const { id } of stripe.paymentIntents.list({ created: { gte: created }, limit: 2 })) found.push(id);
  assert.deepEqual(found.slice(0, 5), made);
  const { data } = await stripe.paymentIntents.list({ created: { lt: 1 } });
  assert.deepEqual(data, []);
});

test("events are listed by type", async () => {
  const paid = await stripe.paymentIntents.create(confirmedPayment("visa"));
  const { data } = await stripe.events.list({ types: ["charge.succeeded"], limit: 1 });
  assert.equal(data[0].data.object.payment_intent, paid.id);
  assert.equal((await stripe.events.retrieve(data[0].id)).livemode, false);
});

test("errors other than card errors have the library's error classes", async () => {
  const { errors } = Stripe;
  const missing = stripe.paymentIntents.retrieve("pi_none");
  await assert.rejects(missing, { statusCode: 404, code: "resource_missing" });
  const unknown = stripe.paymentIntents.create({ ...confirmedPayment("visa"), color: "red" });
  await assert.rejects(unknown, { statusCode: 400, code: "parameter_unknown", param: "color" });
  await assert.rejects(client("sk_test_other").paymentIntents.list(), errors.StripeAuthenticationError);
  await control("POST", "failures", { method: "GET", path: "/v1/*", times: 1, effect: false, end: { status: 429 } });
  await assert.rejects(stripe.paymentIntents.list(), errors.StripeRateLimitError);
  await control("POST", "failures", { method: "GET", path: "/v1/*", times: 1, end: { status: 500 } });
  await assert.rejects(stripe.paymentIntents.list(), errors.StripeAPIError);
  // The library retries once when the connection is closed, whatever maxNetworkRetries is.
  await control("POST", "failures", { method: "GET", path: "/v1/*", times: 2, end: "close" });
  await assert.rejects(stripe.paymentIntents.list(), errors.StripeConnectionError);
});

test("an idempotency key replays its response and is rejected for another request", async () => {
  const idempotencyKey = "purchase-1";
  const before = await paidCharges();
  const first = await stripe.paymentIntents.create(confirmedPayment("visa"), { idempotencyKey });
  const again = await stripe.paymentIntents.create(confirmedPayment("visa"), { idempotencyKey });
  assert.equal(again.id, first.id);
  assert.equal(again.lastResponse.headers["idempotent-replayed"], "true");
  const other = stripe.paymentIntents.create({ ...confirmedPayment("visa"), amount: 5000 }, { idempotencyKey });
  await assert.rejects(other, Stripe.errors.StripeIdempotencyError);
  assert.equal(await paidCharges(), before + 1);
});

test("a retry after a lost response charges once", async () => {
  const before = await paidCharges();
  await control("POST", "failures", { method: "POST", path: "/v1/payment_intents", times: 1, end: "close" });
  const { hostname, port } = new URL(url);
  const retrying = new Stripe("sk_test_double", { host: hostname, port, protocol: "http", maxNetworkRetries: 1 });
  const paid = await retrying.paymentIntents.create(confirmedPayment("visa"));
  assert.equal(paid.status, "succeeded");
  assert.equal(await paidCharges(), before + 1);
});

test("the library verifies a delivered event with either secret during a secret roll", async () => {
  const received = deferred();
  const endpoint = createServer(async (request, response) => {
    const chunks = await request.toArray();
    response.end();
    received.resolve([Buffer.concat(chunks), request.headers["stripe-signature"]]);
  });
  await once(endpoint.listen(0, "127.0.0.1"), "listening");
  const hook = `http://127.0.0.1:${endpoint.address().port}/billing/webhook`;
  const { id } = await stripe.paymentIntents.create({ ...confirmedPayment("visa"), confirm: false });
  await control("PUT", "webhook", { url: hook, secrets: ["whsec_old", "whsec_new"] });
  await stripe.paymentIntents.confirm(id);
  const [payload, signature] = await received.promise;
  for (const secret of ["whsec_old", "whsec_new"]) {
    const event = stripe.webhooks.constructEvent(payload, signature, secret);
    assert.equal(event.type, "payment_intent.succeeded");
    assert.equal(event.data.object.id, id);
    assert.equal(event.livemode, false);
  }
  assert.throws(() => stripe.webhooks.constructEvent(payload, signature, "whsec_other"));
  await control("DELETE", "webhook");
  endpoint.close();
});

function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
