import { formatWait } from "../format.ts";
import { formatMoney } from "../prices.ts";
import type { ProblemDocument } from "./problem-document.ts";

/** Returns the message for an order that was refused. Undefined if the problem has another cause. */
export function orderMessage(status: number, { code, amount = 0 }: ProblemDocument, retryAfter?: number) {
  if (status === 409 && code === "price_changed") {
    return `The price is now ${formatMoney(amount)}. Your card was not charged. To buy at this price, pay again.`;
  }
  if (status === 409 && code === "order_open") return "You have an open order. Continue or cancel it first.";
  if (status === 409 && code === "already_paid") return "This order is already paid, so it cannot be canceled.";
  if (status === 429 && code === "too_many_declines") {
    return `Too many payments were declined. Try again in ${retryAfter ? formatWait(retryAfter) : "a moment"}.`;
  }
  return undefined;
}
