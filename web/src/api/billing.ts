import { request } from "./client.ts";
import { page } from "./page.ts";

/** A purchase, as the API shows it. Amounts are cents of a US dollar, times milliseconds since the epoch. */
export interface Purchase {
  purchaseId: string;
  storage: number;
  amount: number;
  description: string;
  status: "PENDING" | "PAID" | "FAILED";
  createdAt: number;
  decline?: { message: string };
}

/** What is asked for. With the same key it is one purchase, however often it is asked for. */
export interface Order {
  /** Room for how many notes. */
  storage: number;
  /** The payment method that Stripe gave for the card: `pm_…`. */
  source: string;
  key: string;
  /** Until when it may be asked for, in milliseconds since the epoch: later it would be another purchase. */
  askUntil: number;
}

/** The API knows a key for 24 hours. One is left for clocks that differ. */
export const ASKABLE_FOR = 23 * 3_600_000;

export const FIRST_PURCHASES = "/billing?limit=20";

export const purchases = (path: string) => page<Purchase>(path);

/** Charges the card. 402 says that it is not charged, or with a `clientSecret` that its owner is to confirm. */
export async function purchase({ storage, source, key }: Order): Promise<void> {
  await request("POST", "/billing", { body: { storage, source }, headers: { "Idempotency-Key": key } });
}
