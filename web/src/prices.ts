import prices from "../../services/billing-api/prices.json" with { type: "json" };

/** The ISO 4217 code of the currency of all prices, in lower case, as Stripe writes it. */
export const CURRENCY = prices.currency;

/** The price per note in the currency's minor unit, by the lowest number of notes it applies to. */
export const PRICES = prices.tiers;

/** The maximum number of notes in one purchase. */
export const STORAGE_LIMIT = prices.limit;

/** The price of storage for `notes` notes, in the currency's minor unit. */
export function price(notes: number): number {
  return notes * (PRICES.findLast(({ from }) => from <= notes)?.each ?? 0);
}

/** Formats an amount in the minor unit of a currency, such as cents. */
export function formatMoney(amount: number, currency = CURRENCY): string {
  const money = new Intl.NumberFormat("en-US", { style: "currency", currency });
  return money.format(amount / 10 ** (money.resolvedOptions().maximumFractionDigits ?? 0));
}
