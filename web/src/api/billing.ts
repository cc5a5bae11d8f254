import { request } from "./client.ts";
import { getPage } from "./page.ts";

/** A purchase as the API returns it. Amounts are in the currency's minor unit, times in milliseconds since the epoch. */
export interface Purchase {
  purchaseId: string;
  storage: number;
  amount: number;
  /** An ISO 4217 code in lower case. */
  currency: string;
  description: string;
  status: "PENDING" | "PAID" | "FAILED" | "REFUNDED" | "DISPUTED";
  createdAt: number;
  /** Why the card was not charged. */
  decline?: { message: string };
  /** The part of `amount` that was refunded. */
  refundedAmount?: number;
  /** The cardholder's dispute of the payment. If it is lost for the shop, the bank has returned the amount. */
  dispute?: { status: "open" | "won" | "lost"; amount: number; reason: string };
  /** The amount of other charges for this purchase, which were refunded. */
  surplusRefunded?: number;
}

/** A purchase request. Requests with the same idempotency key create one purchase. */
export interface Order {
  /** The number of notes to buy storage for. */
  storage: number;
  /** The price that the user has agreed to, in the currency's minor unit. */
  amount: number;
  /** The ID of the payment method that Stripe created for the card: `pm_…`. */
  source: string;
  idempotencyKey: string;
}

export const FIRST_PURCHASES_PAGE = "/billing?limit=20";

export const listPurchases = (path: string) => getPage<Purchase>(path);

/** The user's latest purchase. Undefined if there is none. */
export async function latestPurchase(): Promise<Purchase | undefined> {
  return (await listPurchases("/billing?limit=1")).items[0];
}

/**
 * Charges the card.
 *
 * Fails with 402 if the card was not charged, or, with a `clientSecret` and a `purchaseId`, if the cardholder has to
 * confirm the payment first. Fails with 409 if the price is not `amount` (the code `price_changed`), or if the user has
 * another open order (`order_open`).
 */
export async function createPurchase({ storage, amount, source, idempotencyKey }: Order): Promise<void> {
  await request("POST", "/billing", {
    body: { storage, amount, source },
    headers: { "Idempotency-Key": idempotencyKey },
  });
}

/** Continues an open order. Fails like `createPurchase`. */
export async function resumePurchase(purchaseId: string): Promise<void> {
  await request("POST", purchasePath(purchaseId));
}

/** Cancels an open order. Fails with 409 and the code `already_paid` if the card was charged meanwhile. */
export async function cancelPurchase(purchaseId: string): Promise<void> {
  await request("DELETE", purchasePath(purchaseId));
}

const purchasePath = (purchaseId: string) => `/billing/${encodeURIComponent(purchaseId)}`;
