import { formatCount } from "../format.ts";
import type { SentOrder } from "../hooks/use-checkout.ts";
import { formatMoney } from "../prices.ts";

interface Props {
  order: SentOrder;
  busy: boolean;
  onSendAgain: () => void;
  onCancel: () => void;
}

/** An order that may not have reached the API. Sent again, it has the same idempotency key. */
export function LostOrder({ order: { storage, amount }, busy, onSendAgain, onCancel }: Props) {
  return (
    <>
      <p>
        You ordered storage for {formatCount(storage, "note")} for <strong>{formatMoney(amount)}</strong>. We do not
        know yet whether your order has arrived. It is safe to send it again: your card is charged at most once.
      </p>
      <div className="actions">
        <button type="button" className="button primary" disabled={busy} aria-busy={busy} onClick={onSendAgain}>
          Send again
        </button>
        <button type="button" className="button quiet" disabled={busy} onClick={onCancel}>
          Cancel order
        </button>
      </div>
    </>
  );
}
