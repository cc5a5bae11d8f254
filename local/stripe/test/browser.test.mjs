// Tests the double of Stripe.js in a page whose content security policy is as strict as the app's.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import Stripe from "stripe";

const root = fileURLToPath(new URL("../../..", import.meta.url));
// Without --package: see .cargo/config.toml.
const run = ["run", "--quiet", "--example", "serve"];
const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let double;
let url;
let stripe;
let site;
let browser;

const server = () =>
  createServer((_request, response) => {
    response.setHeader(
      "Content-Security-Policy",
      `default-src 'none'; script-src 'self' ${url}; style-src 'self'; connect-src 'self' ${url}; frame-src ${url}`,
    );
    response.setHeader("Referrer-Policy", "no-referrer");
    response.setHeader("Content-Type", "text/html");
    response.end(`<!doctype html><html lang="en"><title>Shop</title>
      <script src="${url}/v3/"></script><div id="card"></div><button>Pay</button>`);
  });

before(async () => {
  double = spawn("cargo", run, { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  [url] = await once(createInterface(double.stdout), "line");
  const { hostname, port } = new URL(url);
  stripe = new Stripe("sk_test_double", { host: hostname, port, protocol: "http", maxNetworkRetries: 0 });
  site = server().listen(0, "127.0.0.1");
  await once(site, "listening");
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
});

after(async () => {
  await browser?.close();
  site?.close();
  double.stdin.end();
  await once(double, "exit");
});

/** Runs a test in a page with a card field. Fails if the page violates its policy or throws an error. */
const inPage = (options, check) => async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const violations = [];
  page.on(
    "console",
    (message) => message.text().includes("Content Security Policy") && violations.push(message.text()),
  );
  page.on("pageerror", (error) => violations.push(String(error)));
  try {
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
    await page.evaluate((options) => {
      window.stripe = window.Stripe("pk_test_double");
      window.card = window.stripe.elements().create("card", options);
      window.changes = [];
      window.card.on("change", (change) => window.changes.push(change));
      const ready = new Promise((resolve) => window.card.on("ready", resolve));
      window.card.mount("#card");
      return ready.then(() => {});
    }, options);
    await check(page, page.frameLocator('iframe[title="Secure card payment input frame"]'));
    assert.deepEqual(violations, []);
  } finally {
    await page.close();
  }
};

const LABELS = {
  number: "Credit or debit card number",
  expiry: "Credit or debit card expiration date",
  cvc: "Credit or debit card CVC/CVV",
  postal: "ZIP",
};

const fill = async (frame, fields) => {
  for (const [name, value] of Object.entries(fields)) await frame.getByLabel(LABELS[name]).fill(value);
};

const VALID = { number: "4242 4242 4242 4242", expiry: "12 / 40", cvc: "123" };

const createPaymentMethod = (page) =>
  page.evaluate(() => window.stripe.createPaymentMethod({ type: "card", card: window.card }));

const lastChange = (page) => page.evaluate(() => window.changes.at(-1));

/** Creates a payment method in the page and charges it as the shop's server does. */
const charge = async (page) => {
  const { paymentMethod, error } = await createPaymentMethod(page);
  assert.equal(error, undefined);
  return stripe.paymentIntents.create({
    amount: 4000,
    currency: "usd",
    confirm: true,
    payment_method: paymentMethod.id,
    allowed_payment_method_types: ["card"],
  });
};

test(
  "a valid card is charged and its number stays in the frame",
  inPage({}, async (page, frame) => {
    await fill(frame, { ...VALID, postal: "12345" });
    assert.deepEqual(await lastChange(page), {
      elementType: "card",
      empty: false,
      complete: true,
      brand: "visa",
      error: undefined,
      value: { postalCode: "12345" },
    });
    assert.match(await page.locator("#card").getAttribute("class"), /StripeElement--complete/);
    const { paymentMethod } = await createPaymentMethod(page);
    assert.equal(paymentMethod.card.last4, "4242");
    assert.equal(paymentMethod.billing_details.address.postal_code, "12345");
    assert.equal((await charge(page)).status, "succeeded");
    assert.ok(!(await page.content()).includes("4242"));
    assert.ok(!JSON.stringify(await page.evaluate(() => window.changes)).includes("4242"));
  }),
);

test(
  "a card can be entered with only the keyboard",
  inPage({ hidePostalCode: true }, async (page, frame) => {
    await page.evaluate(() => window.card.focus());
    await frame.getByLabel(LABELS.number).focus();
    await page.keyboard.type("3782822463100051240" + "1234");
    assert.equal(await frame.getByLabel(LABELS.number).inputValue(), "3782 822463 10005");
    assert.equal(await frame.getByLabel(LABELS.expiry).inputValue(), "12 / 40");
    assert.equal(await frame.getByLabel(LABELS.cvc).inputValue(), "1234");
    const { paymentMethod } = await createPaymentMethod(page);
    assert.equal(paymentMethod.card.brand, "amex");
  }),
);

test(
  "a decline is an error of the charge, not of the form",
  inPage({ hidePostalCode: true }, async (page, frame) => {
    await fill(frame, { ...VALID, number: "4000000000009995" });
    await assert.rejects(charge(page), (error) => {
      assert.equal(error.code, "card_declined");
      assert.equal(error.decline_code, "insufficient_funds");
      return true;
    });
  }),
);

test(
  "a card that is not a test card is declined",
  inPage({ hidePostalCode: true }, async (page, frame) => {
    await fill(frame, { ...VALID, number: "4111111111111111" });
    const { error } = await createPaymentMethod(page);
    assert.equal(error.type, "card_error");
    assert.equal(error.code, "card_declined");
  }),
);

test(
  "each incomplete or invalid field has its error code",
  inPage({}, async (page, frame) => {
    const year = new Date().getFullYear() % 100;
    for (const [fields, code] of [
      [{}, "incomplete_number"],
      [{ number: "4242" }, "incomplete_number"],
      [{ number: "4242424242424241" }, "invalid_number"],
      [{ number: VALID.number }, "incomplete_expiry"],
      [{ expiry: `12${year - 1}` }, "invalid_expiry_year_past"],
      [{ expiry: "1299" }, "invalid_expiry_year"],
      [{ expiry: VALID.expiry }, "incomplete_cvc"],
      [{ cvc: "123" }, "incomplete_zip"],
    ]) {
      await fill(frame, fields);
      const { error } = await createPaymentMethod(page);
      assert.equal(error?.type, "validation_error", code);
      assert.equal(error.code, code);
      const change = await lastChange(page);
      assert.deepEqual([change.error.code, change.complete], [code, false]);
    }
    await fill(frame, { postal: "12345" });
    assert.equal((await lastChange(page)).complete, true);
    await page.evaluate(() => window.card.clear());
    await page.waitForFunction(() => window.changes.at(-1).empty);
  }),
);

for (const [button, status, code] of [
  ["COMPLETE", "succeeded", undefined],
  ["FAIL", "requires_payment_method", "payment_intent_authentication_failure"],
]) {
  test(
    `a 3-D Secure challenge sets the status of the payment: ${button}`,
    inPage({ hidePostalCode: true }, async (page, frame) => {
      await fill(frame, { ...VALID, number: "4000002760003184" });
      const intent = await charge(page);
      assert.equal(intent.status, "requires_action");
      const result = page.evaluate(
        (clientSecret) => window.stripe.handleNextAction({ clientSecret }),
        intent.client_secret,
      );
      await page.frameLocator('iframe[title="3D Secure challenge"]').getByRole("button", { name: button }).click();
      const { paymentIntent, error } = await result;
      assert.equal((paymentIntent ?? error.payment_intent).status, status);
      assert.equal(error?.code, code);
      assert.equal((await stripe.paymentIntents.retrieve(intent.id)).status, status);
      assert.equal(await page.locator("dialog").count(), 0);
    }),
  );
}

test(
  "closing the challenge fails the authentication",
  inPage({ hidePostalCode: true }, async (page, frame) => {
    await fill(frame, { ...VALID, number: "4000002760003184" });
    const { client_secret } = await charge(page);
    const result = page.evaluate((secret) => window.stripe.handleCardAction(secret), client_secret);
    await page
      .frameLocator('iframe[title="3D Secure challenge"]')
      .getByRole("button", { name: "FAIL", disabled: false })
      .waitFor();
    await page.evaluate(() => document.querySelector("dialog").close());
    assert.equal((await result).error.code, "payment_intent_authentication_failure");
  }),
);

test(
  "a browser can confirm a payment",
  inPage({ hidePostalCode: true }, async (page, frame) => {
    await fill(frame, VALID);
    const intent = await stripe.paymentIntents.create({
      amount: 4000,
      currency: "usd",
      allowed_payment_method_types: ["card"],
    });
    const { paymentIntent } = await page.evaluate(
      (secret) => window.stripe.confirmCardPayment(secret, { payment_method: { card: window.card } }),
      intent.client_secret,
    );
    assert.equal(paymentIntent.status, "succeeded");
  }),
);

test(
  "a frame does not connect to a page of another origin",
  inPage({}, async (page) => {
    const messages = await page.evaluate(async (url) => {
      const frame = document.createElement("iframe");
      frame.src = `${url}/v3/card.html#${encodeURIComponent("http://127.0.0.1:1")}`;
      const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      document.body.append(frame);
      await loaded;
      const { port1, port2 } = new MessageChannel();
      const messages = [];
      port1.onmessage = ({ data }) => messages.push(data);
      frame.contentWindow.postMessage("connect", url, [port2]);
      // The card field is called later: when it has responded, this frame would have responded too.
      await window.stripe.createPaymentMethod({ type: "card", card: window.card });
      return messages;
    }, url);
    assert.deepEqual(messages, []);
  }),
);

test(
  "an unmounted element creates no token",
  inPage({}, async (page) => {
    const message = await page.evaluate(() => {
      window.card.unmount();
      return window.stripe.createToken(window.card).catch((error) => error.message);
    });
    assert.match(message, /still mounted/);
  }),
);
