import type { Purchase } from "../api/billing.ts";
import { formatCount, formatDateTime } from "../format.ts";
import { formatMoney } from "../prices.ts";

interface Props {
  purchase: Purchase;
  busy: boolean;
  onContinue: () => void;
  onCancel: () => void;
}

/** An order that is not settled. It replaces the order form, so that the user does not buy the same storage twice. */
export function OpenOrder({ purchase, busy, onContinue, onCancel }: Props) {
  const { storage, amount, currency, createdAt } = purchase;
  return (
    <>
      <p>
        You have an open order: storage for {formatCount(storage, "note")} for{" "}
        <strong>{formatMoney(amount, currency)}</strong>, placed on {formatDateTime(createdAt)}. Continue to complete
        the payment, or cancel the order. Your card is charged at most once.
      </p>
      <div className="actions">
        <button type="button" className="button primary" disabled={busy} aria-busy={busy} onClick={onContinue}>
          Continue
        </button>
        <button type="button" className="button quiet" disabled={busy} onClick={onCancel}>
          Cancel order
        </button>
      </div>
    </>
  );
}
