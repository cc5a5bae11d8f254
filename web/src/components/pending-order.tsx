import type { Order } from "../api/billing.ts";
import type { Failure } from "../failure.ts";
import { formatCount, formatMoney } from "../format.ts";
import { price } from "../prices.ts";
import { FailureMessage } from "./failure-message.tsx";

interface Props {
  order: Order;
  busy: boolean;
  failure: Failure | undefined;
  onRetry: () => void;
  onDismiss: () => void;
}

/** An order whose outcome is unknown. A retry has the same idempotency key and never charges the card twice. */
export function PendingOrder({ order, busy, failure, onRetry, onDismiss }: Props) {
  return (
    <div className="form">
      <p>
        You ordered storage for {formatCount(order.storage, "note")} for{" "}
        <strong>{formatMoney(price(order.storage))}</strong>. We do not know yet whether your card was charged. It is
        safe to check again: your card is charged at most once.
      </p>
      <FailureMessage failure={failure} />
      <div className="actions">
        <button type="button" className="button primary" disabled={busy} aria-busy={busy} onClick={onRetry}>
          Check again
        </button>
        <button type="button" className="button quiet" disabled={busy} onClick={onDismiss}>
          Dismiss
        </button>
      </div>
      <p className="hint">If you dismiss this order, you can still find its result in your purchases below.</p>
    </div>
  );
}
