import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, isApi, requestsTo } from "./support/browser.ts";
import { billing, newMember } from "./support/people.ts";
import { stage, stripe } from "./support/stage.ts";

/** Stripe's test cards: https://docs.stripe.com/testing */
const GOOD = "4242424242424242";
const DECLINED = "4000000000009995";
const ASKS = "4000000000003220"; // by 3-D Secure

const pay = (page: Page, price: string) => page.getByRole("button", { name: `Pay ${price}` });
const challenge = (page: Page) => page.frameLocator('iframe[title="3D Secure challenge"]');

/** Has somebody new ready to buy storage for so many notes. */
async function ready(page: Page, notes: number, card: string): Promise<void> {
  await newMember(page);
  await page.goto("/billing");
  await page.getByLabel("Notes").fill(String(notes));
  await typeCard(page, card);
}

/** Into Stripe's frame, key by key: it puts the spaces itself. */
async function typeCard(page: Page, number: string): Promise<void> {
  const frame = page.frameLocator('iframe[title="Secure card payment input frame"]');
  await frame.locator("[name=cardnumber]").pressSequentially(number);
  await frame.locator("[name=exp-date]").pressSequentially("1234");
  await frame.locator("[name=cvc]").pressSequentially("123");
}

/** The history, once it has something with that status. */
const listed = (page: Page, status: string) => page.getByRole("listitem").getByText(status, { exact: true }).waitFor();

/** What whoever is signed in has bought, and how often each was charged. */
async function bought(): Promise<[status: string, amount: number, charged: number][]> {
  const { items } = await billing.purchases(billing.FIRST_PURCHASES);
  const { data } = await stripe<{ data: { status: string; metadata: { purchaseId?: string } }[] }>(
    "GET",
    "payment_intents",
  );
  return items.map(({ purchaseId, status, amount }) => {
    const paid = data.filter((intent) => intent.metadata.purchaseId === purchaseId && intent.status === "succeeded");
    return [status, amount, paid.length];
  });
}

after(() => stripe("DELETE", "failures"));

test(
  "the price is shown before it is paid, two clicks pay it once, and the history has it",
  inTab(async (page) => {
    await ready(page, 10, GOOD);
    await page.getByText("Storage for 10 notes: $40.00").waitFor();
    const sent = requestsTo(page, "POST", "/billing");
    await pay(page, "$40.00").dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    await listed(page, "Paid");
    assert.equal(sent.length, 1);
    assert.deepEqual(await bought(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "the price follows the number of notes, and nothing can be paid for a number that cannot be bought",
  inTab(async (page) => {
    await ready(page, 11, GOOD);
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
  "a declined card is said to be declined in the bank's words, and another can pay at once",
  inTab(async (page) => {
    await ready(page, 10, DECLINED);
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("Your card has insufficient funds.").waitFor();
    await listed(page, "Not charged");
    await page.reload();
    await typeCard(page, GOOD);
    await pay(page, "$40.00").click();
    await listed(page, "Paid");
    const amounts = await bought();
    assert.deepEqual(amounts, [
      ["PAID", 4_000, 1],
      ["FAILED", 4_000, 0],
    ]);
  }),
);

test(
  "a card number that cannot be one is not sent",
  inTab(async (page) => {
    await ready(page, 10, "4242424242424241");
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("card number").waitFor();
    assert.deepEqual(await bought(), []);
  }),
);

test(
  "a card whose bank asks its owner is charged once they have agreed",
  inTab(async (page) => {
    await ready(page, 101, ASKS);
    await pay(page, "$101.00").click();
    await challenge(page).getByRole("button", { name: "COMPLETE" }).click();
    await page.getByText("Paid. Thank you.").waitFor();
    await listed(page, "Paid");
    assert.deepEqual(await bought(), [["PAID", 10_100, 1]]);
  }),
);

test(
  "a card whose owner does not agree is not charged",
  inTab(async (page) => {
    await ready(page, 10, ASKS);
    await pay(page, "$40.00").click();
    await challenge(page).getByRole("button", { name: "FAIL" }).click();
    await page.getByRole("alert").waitFor();
    await listed(page, "Not charged");
    assert.deepEqual(await bought(), [["FAILED", 4_000, 0]]);
  }),
);

test(
  "an order whose answer was lost is asked for again, also after a reload, and is charged once",
  inTab(async (page) => {
    await ready(page, 10, GOOD);
    await page.route(
      (url) => isApi(url) && url.pathname.endsWith("/billing") && url.search === "",
      async (route) => {
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await pay(page, "$40.00").click();
    await page.getByText("it is not known yet whether your card is charged").waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Ask again" }).dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    assert.deepEqual(await bought(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "with Stripe out of reach nobody is told that they paid, and once it is back they have, once",
  inTab(async (page) => {
    await ready(page, 10, GOOD);
    await stripe("POST", "failures", { method: "POST", path: "/v1/payment_intents", effect: false, end: "close" });
    await pay(page, "$40.00").click();
    await page.getByRole("alert").getByText("It is not known yet whether your card is charged.").waitFor();
    await stripe("DELETE", "failures");
    await page.getByRole("button", { name: "Ask again" }).click();
    await listed(page, "Paid");
    assert.deepEqual(await bought(), [["PAID", 4_000, 1]]);
  }),
);

test(
  "with Stripe's script out of reach the page says so, and tries again when asked",
  inTab(async (page) => {
    await newMember(page);
    await page.route(`${stage.stripeUrl}/v3/`, (route) => route.abort(), { times: 1 });
    await page.goto("/billing");
    await page.getByRole("alert").getByText("Stripe, which takes the payment, cannot be reached.").waitFor();
    await page.getByRole("button", { name: "Try again" }).click();
    await typeCard(page, GOOD);
    await pay(page, "$40.00").click();
    await listed(page, "Paid");
  }),
);
