import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, isApi, requestsTo } from "./support/browser.ts";
import { stage, stripe } from "./support/stage.ts";
import { billing, createAndLogIn } from "./support/users.ts";

/** Stripe's test cards: https://docs.stripe.com/testing */
const GOOD = "4242424242424242";
const DECLINED = "4000000000009995";
const REQUIRES_3D_SECURE = "4000000000003220";

const pay = (page: Page, price: string) => page.getByRole("button", { name: `Pay ${price}` });
const challenge = (page: Page) => page.frameLocator('iframe[title="3D Secure challenge"]');

/** Logs in a new user and fills in the order form. */
async function fillOrderForm(page: Page, notes: number, card: string): Promise<void> {
  await createAndLogIn(page);
  await page.goto("/billing");
  await page.getByLabel("Notes").fill(String(notes));
  await typeCard(page, card);
}

/** Types into Stripe's iframe key by key, because it inserts spaces while the user types. */
async function typeCard(page: Page, number: string): Promise<void> {
  const frame = page.frameLocator('iframe[title="Secure card payment input frame"]');
  await frame.locator("[name=cardnumber]").pressSequentially(number);
  await frame.locator("[name=exp-date]").pressSequentially("1234");
  await frame.locator("[name=cvc]").pressSequentially("123");
}

/** Waits until the history has a purchase with this status. */
const purchaseListed = (page: Page, status: string) =>
  page.getByRole("listitem").getByText(status, { exact: true }).waitFor();

/** The purchases of the current user, and how many times Stripe charged each. */
async function purchasesAndCharges(): Promise<[status: string, amount: number, charges: number][]> {
  const { items } = await billing.listPurchases(billing.FIRST_PURCHASES_PAGE);
  const { data } = await stripe<{ data: { status: string; metadata: { purchaseId?: string } }[] }>(
    "GET",
    "payment_intents",
  );
  return items.map(({ purchaseId, status, amount }) => {
    const charges = data.filter((intent) => intent.metadata.purchaseId === purchaseId && intent.status === "succeeded");
    return [status, amount, charges.length];
  });
}

after(() => stripe("DELETE", "failures"));

test(
  "the price is shown before payment, a double click pays once, and the history lists the purchase",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await page.getByText("Storage for 10 notes: $40.00").waitFor();
    const sent = requestsTo(page, "POST", "/billing");
    await pay(page, "$40.00").dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    await purchaseListed(page, "Paid");
    assert.equal(sent.length, 1);
    assert.deepEqual(await purchasesAndCharges(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "the price follows the number of notes, and an invalid number disables payment",
  inTab(async (page) => {
    await fillOrderForm(page, 11, GOOD);
    for (const [notes, price] of [
      ["1", "$4.00"],
      ["100", "$200.00"],
      ["101", "$101.00"],
      ["999999", "$999,999.00"],
    ] as const) {
      await page.getByLabel("Notes").fill(notes);
      await pay(page, price).waitFor();
    }
    for (const notes of ["0", "1000000", "1.5", ""]) {
      await page.getByLabel("Notes").fill(notes);
      assert.ok(await page.getByRole("button", { name: "Pay" }).isDisabled(), notes);
    }
  }),
);

test(
  "a declined card shows the bank's message, and another card can pay",
  inTab(async (page) => {
    await fillOrderForm(page, 10, DECLINED);
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("Your card has insufficient funds.").waitFor();
    await purchaseListed(page, "Not charged");
    await page.reload();
    await typeCard(page, GOOD);
    await pay(page, "$40.00").click();
    await purchaseListed(page, "Paid");
    const amounts = await purchasesAndCharges();
    assert.deepEqual(amounts, [
      ["PAID", 4_000, 1],
      ["FAILED", 4_000, 0],
    ]);
  }),
);

test(
  "an invalid card number is rejected without a purchase",
  inTab(async (page) => {
    await fillOrderForm(page, 10, "4242424242424241");
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("card number").waitFor();
    assert.deepEqual(await purchasesAndCharges(), []);
  }),
);

test(
  "a card that requires 3-D Secure is charged after confirmation",
  inTab(async (page) => {
    await fillOrderForm(page, 101, REQUIRES_3D_SECURE);
    await pay(page, "$101.00").click();
    await challenge(page).getByRole("button", { name: "COMPLETE" }).click();
    await page.getByText("Paid. Thank you.").waitFor();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", 10_100, 1]]);
  }),
);

test(
  "a failed 3-D Secure confirmation does not charge the card",
  inTab(async (page) => {
    await fillOrderForm(page, 10, REQUIRES_3D_SECURE);
    await pay(page, "$40.00").click();
    await challenge(page).getByRole("button", { name: "FAIL" }).click();
    await page.getByRole("alert").waitFor();
    await purchaseListed(page, "Not charged");
    assert.deepEqual(await purchasesAndCharges(), [["FAILED", 4_000, 0]]);
  }),
);

test(
  "an order whose response was lost can be retried after a reload and is charged once",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await page.route(
      (url) => isApi(url) && url.pathname.endsWith("/billing") && url.search === "",
      async (route) => {
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await pay(page, "$40.00").click();
    await page.getByText("We do not know yet whether your card was charged").waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Check again" }).dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    assert.deepEqual(await purchasesAndCharges(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "while Stripe is down an order stays pending, and a retry charges it once",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await stripe("POST", "failures", { method: "POST", path: "/v1/payment_intents", effect: false, end: "close" });
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("It is not known yet whether your card is charged.").waitFor();
    await stripe("DELETE", "failures");
    await page.getByRole("button", { name: "Check again" }).click();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "if Stripe.js cannot be loaded the page shows an error and can retry",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.route(`${stage.stripeUrl}/v3/`, (route) => route.abort(), { times: 1 });
    await page.goto("/billing");
    await page.getByRole("alert").getByText("Our payment provider, Stripe, cannot be reached.").waitFor();
    await page.getByRole("button", { name: "Try again" }).click();
    await typeCard(page, GOOD);
    await pay(page, "$40.00").click();
    await purchaseListed(page, "Paid");
  }),
);
