import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Page } from "playwright-core";
import { formatMoney } from "../src/prices.ts";
import { closeTab, inTab, isApi, openTab, requestsTo } from "./support/browser.ts";
import { eventually } from "./support/eventually.ts";
import {
  challenge,
  DECLINED,
  GOOD,
  intentsOf,
  latestPurchase,
  order,
  payButton,
  purchasesAndCharges,
  REQUIRES_3D_SECURE,
  REQUIRES_ACTION,
  typeCard,
} from "./support/purchases.ts";
import { stage } from "./support/stage.ts";
import { stripe, stripeApi } from "./support/stripe.ts";
import { billing, createAndLogIn, createUser, logIn, prices } from "./support/users.ts";

/** The price of 10 notes, in the minor unit of the currency, and as the app shows it. */
const PRICE = prices.price(10);
const MONEY = formatMoney(PRICE);

/** Logs in a new user and fills in the order form. */
async function fillOrderForm(page: Page, notes: number, card: string): Promise<void> {
  await createAndLogIn(page);
  await page.goto("/billing");
  await page.getByLabel("Notes").fill(String(notes));
  await typeCard(page, card);
}

/** Logs in a new user, and opens the billing page with an open order of 10 notes that waits for 3-D Secure. */
async function openBillingWithOrder(page: Page): Promise<void> {
  await createAndLogIn(page);
  await assert.rejects(order(10, REQUIRES_ACTION), { status: 402 });
  await page.goto("/billing");
  await page.getByText(`You have an open order: storage for 10 notes for ${MONEY}`).waitFor();
}

/** Waits until the history has a purchase with this status. */
const purchaseListed = (page: Page, status: string) =>
  page.getByRole("listitem").getByText(status, { exact: true }).waitFor();

const isOrder = (url: URL) => isApi(url) && url.pathname.endsWith("/billing") && url.search === "";

after(() => stripe("DELETE", "failures"));

test(
  "the price is shown before payment, a double click pays once, and the history lists the purchase",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await page.getByText(`Storage for 10 notes: ${MONEY}`).waitFor();
    const sent = requestsTo(page, "POST", "/billing");
    await payButton(page, MONEY).dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    await purchaseListed(page, "Paid");
    await page.getByText("0 of 110 notes").waitFor();
    await page.getByText("Free: 100 notes. Bought: 10 notes.").waitFor();
    assert.equal(sent.length, 1);
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test(
  "the price follows the number of notes, and an invalid number disables payment",
  inTab(async (page) => {
    await fillOrderForm(page, 11, GOOD);
    for (const [notes, price] of [
      ["1", formatMoney(prices.price(1))],
      ["100", formatMoney(prices.price(100))],
      ["101", formatMoney(prices.price(101))],
      ["999999", formatMoney(prices.price(999999))],
    ] as const) {
      await page.getByLabel("Notes").fill(notes);
      await payButton(page, price).waitFor();
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
    await payButton(page, MONEY).click();
    await page.getByRole("alert").getByText("Your card has insufficient funds.").waitFor();
    await purchaseListed(page, "Not charged");
    await page.reload();
    await typeCard(page, GOOD);
    await payButton(page, MONEY).click();
    await purchaseListed(page, "Paid");
    const amounts = await purchasesAndCharges();
    assert.deepEqual(amounts, [
      ["PAID", PRICE, 1],
      ["FAILED", PRICE, 0],
    ]);
  }),
);

test(
  "an invalid card number is rejected without a purchase",
  inTab(async (page) => {
    await fillOrderForm(page, 10, "4242424242424241");
    await payButton(page, MONEY).click();
    await page.getByRole("alert").getByText("card number").waitFor();
    assert.deepEqual(await purchasesAndCharges(), []);
  }),
);

test(
  "a card that requires 3-D Secure is charged after confirmation",
  inTab(async (page) => {
    await fillOrderForm(page, 101, REQUIRES_3D_SECURE);
    await payButton(page, formatMoney(prices.price(101))).click();
    await challenge(page).getByRole("button", { name: "COMPLETE" }).click();
    await page.getByText("Paid. Thank you.").waitFor();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", prices.price(101), 1]]);
  }),
);

test(
  "a failed 3-D Secure confirmation does not charge the card",
  inTab(async (page) => {
    await fillOrderForm(page, 10, REQUIRES_3D_SECURE);
    await payButton(page, MONEY).click();
    await challenge(page).getByRole("button", { name: "FAIL" }).click();
    await page.getByRole("alert").waitFor();
    await purchaseListed(page, "Not charged");
    assert.deepEqual(await purchasesAndCharges(), [["FAILED", PRICE, 0]]);
  }),
);

test(
  "an order whose response was lost is found in the list of purchases",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await page.route(
      isOrder,
      async (route) => {
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await payButton(page, MONEY).click();
    await page.getByText("Paid. Thank you.").waitFor();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test(
  "an order that may not have arrived can be sent again after a reload and is charged once",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await page.route(isOrder, (route) => route.abort(), { times: 1 });
    await payButton(page, MONEY).click();
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await page.reload();
    await page.getByText("We do not know yet whether your order has arrived.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Pay" }).count(), 0);
    await page.getByRole("button", { name: "Send again" }).dblclick();
    await page.getByText("Paid. Thank you.").waitFor();
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test(
  "an order that may not have arrived can be canceled once it can no longer arrive",
  inTab(async (page) => {
    await page.clock.install();
    await fillOrderForm(page, 10, GOOD);
    await page.route(isOrder, (route) => route.abort(), { times: 1 });
    await payButton(page, MONEY).click();
    await page.getByRole("button", { name: "Cancel order" }).click();
    await page.getByRole("alert").getByText("Your order may still be on its way.").waitFor();
    await page.clock.fastForward("01:01");
    await page.getByRole("button", { name: "Cancel order" }).click();
    await payButton(page, MONEY).waitFor();
    assert.deepEqual(await purchasesAndCharges(), []);
  }),
);

test(
  "while Stripe is down an order stays open, and is charged once when the user continues",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await stripe("POST", "failures", { method: "POST", path: "/v1/payment_intents", effect: false, end: "close" });
    await payButton(page, MONEY).click();
    await page.getByText(`You have an open order: storage for 10 notes for ${MONEY}`).waitFor();
    await page.getByRole("alert").getByText("We do not know yet whether your card was charged.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Pay" }).count(), 0);
    await stripe("DELETE", "failures");
    await page.getByRole("button", { name: "Continue" }).dblclick();
    await purchaseListed(page, "Paid");
    await payButton(page, MONEY).waitFor();
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test("the browser closes during 3-D Secure, and the user resumes the order in a new browser", async () => {
  const user = await createUser();
  const first = await openTab();
  try {
    await logIn(first, user);
    await first.goto("/billing");
    await typeCard(first, REQUIRES_3D_SECURE);
    await payButton(first, MONEY).click();
    await challenge(first).getByRole("button", { name: "COMPLETE" }).waitFor();
  } finally {
    await closeTab(first);
  }
  const second = await openTab();
  try {
    await logIn(second, user);
    await second.goto("/billing");
    await second.getByText(`You have an open order: storage for 10 notes for ${MONEY}`).waitFor();
    await purchaseListed(second, "Pending");
    assert.equal(await second.getByRole("button", { name: "Pay" }).count(), 0);
    await second.getByRole("button", { name: "Continue" }).click();
    await challenge(second).getByRole("button", { name: "COMPLETE" }).click();
    await second.getByText("Paid. Thank you.").waitFor();
    await second.getByText("0 of 110 notes").waitFor();
    await purchaseListed(second, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  } finally {
    await closeTab(second);
  }
});

test(
  "an open order is canceled, and the user can order again",
  inTab(async (page) => {
    await openBillingWithOrder(page);
    await page.getByRole("button", { name: "Cancel order" }).dblclick();
    await page.getByText("Order canceled.").waitFor();
    await purchaseListed(page, "Not charged");
    await typeCard(page, GOOD);
    await payButton(page, MONEY).click();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [
      ["PAID", PRICE, 1],
      ["FAILED", PRICE, 0],
    ]);
  }),
);

test(
  "an order that was paid meanwhile cannot be canceled",
  inTab(async (page) => {
    await openBillingWithOrder(page);
    const [intent] = await intentsOf((await latestPurchase()).purchaseId);
    await stripe("POST", `payment_intents/${intent?.id}/authenticate`, { authentication: "succeeds" });
    await page.getByRole("button", { name: "Cancel order" }).click();
    await page.getByRole("alert").getByText("This order is already paid, so it cannot be canceled.").waitFor();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test(
  "a second order shows the open order instead of charging the card",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    await assert.rejects(order(20, REQUIRES_ACTION), { status: 402 });
    await payButton(page, MONEY).click();
    await page.getByText(`You have an open order: storage for 20 notes for ${formatMoney(prices.price(20))}`).waitFor();
    await page.getByRole("alert").getByText("Continue or cancel it first.").waitFor();
    assert.deepEqual(await purchasesAndCharges(), [["PENDING", prices.price(20), 0]]);
  }),
);

test(
  "if the price has changed since the app was loaded, the user agrees to the new price before paying",
  inTab(async (page) => {
    // The app as it was built when a note of the first tier cost 25 hundredths less.
    await page.route("**/assets/*.js", async (route) => {
      const response = await route.fetch();
      const [now, then] = [prices.price(1), prices.price(1) - 25].map((each) => `each:${each}`) as [string, string];
      await route.fulfill({ response, body: (await response.text()).replace(now, then) });
    });
    await fillOrderForm(page, 10, GOOD);
    await payButton(page, formatMoney(PRICE - 250)).click();
    await page.getByRole("alert").getByText(`The price is now ${MONEY}. Your card was not charged.`).waitFor();
    assert.deepEqual(await purchasesAndCharges(), []);
    await payButton(page, MONEY).click();
    await purchaseListed(page, "Paid");
    assert.deepEqual(await purchasesAndCharges(), [["PAID", PRICE, 1]]);
  }),
);

test("the app and the API have the same prices", async () => {
  await createUser();
  for (const storage of [1, 10, 11, 100, 101, prices.STORAGE_LIMIT]) {
    const order = { storage, amount: 1, source: "tok_visa", idempotencyKey: crypto.randomUUID() };
    await assert.rejects(billing.createPurchase(order), ({ status, document }) => {
      assert.equal(status, 409);
      assert.equal(document.code, "price_changed");
      assert.equal(document.amount, prices.price(storage));
      return true;
    });
  }
});

test(
  "after ten declined cards in an hour the app says when the user can try again",
  inTab(async (page) => {
    await fillOrderForm(page, 10, GOOD);
    for (let declines = 0; declines < 10; declines += 1) {
      await assert.rejects(order(10, "tok_chargeDeclined"), { status: 402 });
    }
    await payButton(page, MONEY).click();
    const message = page.getByRole("alert").getByText(/Too many payments were declined. Try again in \d+ minutes\./);
    await message.waitFor();
    assert.equal((await purchasesAndCharges()).length, 10);
  }),
);

test(
  "a partial and then a full refund appear in the history, and withdraw the storage",
  inTab(async (page) => {
    await createAndLogIn(page);
    await order(10);
    const { purchaseId } = await latestPurchase();
    const [intent] = await intentsOf(purchaseId);
    await stripeApi("refunds", { payment_intent: intent!.id, amount: PRICE / 5 });
    await latestPurchase(({ refundedAmount }) => refundedAmount === PRICE / 5);
    await page.goto("/billing");
    await purchaseListed(page, "Partly refunded");
    await page.getByText(`${formatMoney(PRICE / 5)} of ${MONEY} was refunded.`).waitFor();
    await reloadUntil(page, "0 of 108 notes"); // four fifths of 10 notes
    await stripeApi("refunds", { payment_intent: intent!.id });
    await latestPurchase(({ status }) => status === "REFUNDED");
    await page.getByRole("button", { name: "Refresh" }).click();
    await purchaseListed(page, "Refunded");
    await page.getByText(`${MONEY} of ${MONEY} was refunded.`).waitFor();
    await reloadUntil(page, "0 of 100 notes");
  }),
);

for (const [evidence, status, name, hint] of [
  ["losing_evidence", "DISPUTED", "Charged back", "and your bank returned the amount to you."],
  ["winning_evidence", "PAID", "Paid", "Your bank decided that the payment stands."],
] as const) {
  test(
    `a dispute is shown while it is open, and when the bank has decided it: ${evidence}`,
    inTab(async (page) => {
      await createAndLogIn(page);
      await order(10, "tok_createDispute");
      const { purchaseId } = await latestPurchase(({ dispute }) => dispute?.status === "open");
      await page.goto("/billing");
      await purchaseListed(page, "Disputed");
      await page.getByText(`You disputed ${MONEY}. Your bank has not decided yet.`).waitFor();
      const intents = await intentsOf(purchaseId);
      const { data } = await stripe<{ data: { id: string; payment_intent: string }[] }>("GET", "disputes");
      const dispute = data.find(({ payment_intent }) => payment_intent === intents[0]?.id);
      await stripeApi(`disputes/${dispute?.id}`, { "evidence[uncategorized_text]": evidence, submit: true });
      await latestPurchase((purchase) => purchase.dispute?.status !== "open" && purchase.status === status);
      await page.getByRole("button", { name: "Refresh" }).click();
      await purchaseListed(page, name);
      await page.getByText(hint).waitFor();
      await reloadUntil(page, status === "PAID" ? "0 of 110 notes" : "0 of 100 notes");
    }),
  );
}

test(
  "a charge for a canceled order is refunded, and the history does not say that the card was not charged",
  inTab(async (page) => {
    await openBillingWithOrder(page);
    await page.getByRole("button", { name: "Cancel order" }).click();
    await purchaseListed(page, "Not charged");
    const { purchaseId } = await latestPurchase();
    await chargeAgain(purchaseId);
    await latestPurchase(({ surplusRefunded }) => surplusRefunded === PRICE);
    await page.getByRole("button", { name: "Refresh" }).click();
    await purchaseListed(page, "Refunded");
    await page.getByText(`Your card was charged ${MONEY} and refunded.`).waitFor();
    assert.equal(await page.getByText(/not charged/i).count(), 0);
  }),
);

test(
  "a second charge for a paid order is refunded, and the history says so",
  inTab(async (page) => {
    await createAndLogIn(page);
    await order(10);
    const { purchaseId } = await latestPurchase();
    await chargeAgain(purchaseId);
    await latestPurchase(({ surplusRefunded }) => surplusRefunded === PRICE);
    await page.goto("/billing");
    await purchaseListed(page, "Paid");
    await page.getByText(`A second charge of ${MONEY} was refunded.`).waitFor();
    await page.getByText("0 of 110 notes").waitFor();
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
    await payButton(page, MONEY).click();
    await purchaseListed(page, "Paid");
  }),
);

/** Charges the card for a purchase outside the API, with a PaymentIntent that names the purchase. */
async function chargeAgain(purchaseId: string): Promise<void> {
  const [intent] = await intentsOf(purchaseId);
  await stripeApi("payment_intents", {
    amount: PRICE,
    currency: prices.CURRENCY,
    confirm: true,
    payment_method: "pm_card_visa",
    "automatic_payment_methods[enabled]": true,
    "automatic_payment_methods[allow_redirects]": "never",
    ...Object.fromEntries(Object.entries(intent!.metadata).map(([name, value]) => [`metadata[${name}]`, value])),
  });
}

/** Reloads the page until it contains this text. */
async function reloadUntil(page: Page, text: string): Promise<void> {
  const shown = async () => {
    await page.reload();
    await page
      .getByText(/of [\d,]+ notes/)
      .first()
      .waitFor();
    return page.getByText(text).count();
  };
  await eventually(shown, (count) => count > 0);
}
