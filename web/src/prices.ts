/** From how many notes on, how many cents each costs: the table of services/billing-api/billing/src/purchase.rs. */
export const PRICES = [
  { from: 1, each: 400 },
  { from: 11, each: 200 },
  { from: 101, each: 100 },
] as const;

/** The most notes that one purchase can make room for. */
export const STORAGE_LIMIT = 999_999;

/** What room for so many notes costs, in cents. */
export function price(notes: number): number {
  return notes * (PRICES.findLast(({ from }) => from <= notes)?.each ?? 0);
}
