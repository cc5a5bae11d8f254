/**
 * The price per note in US cents, by the lowest number of notes it applies to. The server's copy of this table is in
 * services/billing-api/billing/src/purchase.rs.
 */
export const PRICES = [
  { from: 1, each: 400 },
  { from: 11, each: 200 },
  { from: 101, each: 100 },
] as const;

/** The maximum number of notes in one purchase. */
export const STORAGE_LIMIT = 999_999;

/** The price of storage for `notes` notes, in US cents. */
export function price(notes: number): number {
  return notes * (PRICES.findLast(({ from }) => from <= notes)?.each ?? 0);
}
