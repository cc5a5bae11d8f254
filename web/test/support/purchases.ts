import type { Page } from "playwright-core";
import { eventually } from "./eventually.ts";
import { stripe } from "./stripe.ts";
import { billing, prices, storage } from "./users.ts";

/** Stripe's test cards: https://docs.stripe.com/testing */
export const GOOD = "4242424242424242";
export const DECLINED = "4000000000009995";
export const REQUIRES_3D_SECURE = "4000000000003220";

/** The payment method of a card that requires 3-D Secure. */
export const REQUIRES_ACTION = "pm_card_threeDSecure2Required";

export const payButton = (page: Page, price: string) => page.getByRole("button", { name: `Pay ${price}` });

/** Stripe's dialog in which the cardholder confirms a payment. */
export const challenge = (page: Page) => page.frameLocator('iframe[title="3D Secure challenge"]');

/** Types a card into Stripe's iframe key by key, because it inserts spaces while the user types. */
export async function typeCard(page: Page, number: string): Promise<void> {
  const frame = page.frameLocator('iframe[title="Secure card payment input frame"]');
  await frame.locator("[name=cardnumber]").pressSequentially(number);
  await frame.locator("[name=exp-date]").pressSequentially("1234");
  await frame.locator("[name=cvc]").pressSequentially("123");
}

/** Orders storage outside the browser, with a token or a payment method of Stripe. */
export async function order(notes: number, source = "tok_visa"): Promise<void> {
  await billing.createPurchase({
    storage: notes,
    amount: prices.price(notes),
    source,
    idempotencyKey: crypto.randomUUID(),
  });
}

/** Buys storage outside the browser, and waits until it can be used. */
export async function buyStorage(notes: number): Promise<void> {
  const { allowed } = await storage.getStorage();
  await order(notes);
  await eventually(storage.getStorage, (now) => now.allowed === allowed + notes);
}

/** Waits until the latest purchase of the current user satisfies a condition, and returns it. */
export async function latestPurchase(satisfies: (purchase: Purchase) => boolean = () => true): Promise<Purchase> {
  const found = await eventually(billing.latestPurchase, (purchase) => purchase !== undefined && satisfies(purchase));
  return found!;
}

type Purchase = NonNullable<Awaited<ReturnType<typeof billing.latestPurchase>>>;

interface PaymentIntent {
  id: string;
  status: string;
  metadata: { purchaseId?: string; userId?: string };
}

/** The PaymentIntents that Stripe has for a purchase, from oldest to newest. */
export async function intentsOf(purchaseId: string): Promise<PaymentIntent[]> {
  const { data } = await stripe<{ data: PaymentIntent[] }>("GET", "payment_intents");
  return data.filter(({ metadata }) => metadata.purchaseId === purchaseId);
}

/** The purchases of the current user, and how many times Stripe charged each. */
export async function purchasesAndCharges(): Promise<[status: string, amount: number, charges: number][]> {
  const { items } = await billing.listPurchases(billing.FIRST_PURCHASES_PAGE);
  return Promise.all(
    items.map(async ({ purchaseId, status, amount }): Promise<[string, number, number]> => {
      const charges = (await intentsOf(purchaseId)).filter((intent) => intent.status === "succeeded");
      return [status, amount, charges.length];
    }),
  );
}
