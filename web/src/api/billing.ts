import { request } from "./client.ts";
import { getPage } from "./page.ts";

/** A purchase as the API returns it. Amounts are in US cents, times in milliseconds since the epoch. */
export interface Purchase {
  purchaseId: string;
  storage: number;
  amount: number;
  description: string;
  status: "PENDING" | "PAID" | "FAILED";
  createdAt: number;
  decline?: { message: string };
}

/** A purchase request. Requests with the same idempotency key create one purchase. */
export interface Order {
  /** The number of notes to buy storage for. */
  storage: number;
  /** The ID of the payment method that Stripe created for the card: `pm_…`. */
  source: string;
  idempotencyKey: string;
  /**
   * When retrying stops being safe, in milliseconds since the epoch. After that the API no longer knows the key, and a
   * retry would create a second purchase.
   */
  retryUntil: number;
}

/** The API stores an idempotency key for 24 hours. One hour is a margin for clock skew. In milliseconds. */
export const ORDER_RETRY_PERIOD = 23 * 3_600_000;

export const FIRST_PURCHASES_PAGE = "/billing?limit=20";

export const listPurchases = (path: string) => getPage<Purchase>(path);

/**
 * Charges the card. Fails with 402 if the card was not charged, or, with a `clientSecret`, if the cardholder has to
 * confirm the payment first.
 */
export async function createPurchase({ storage, source, idempotencyKey }: Order): Promise<void> {
  await request("POST", "/billing", { body: { storage, source }, headers: { "Idempotency-Key": idempotencyKey } });
}
