import type { Order } from "../api/billing.ts";
import type { Failure } from "../failure.ts";
import { counted, money } from "../format.ts";
import { price } from "../prices.ts";
import { FailureNote } from "./failure-note.tsx";

interface Props {
  order: Order;
  busy: boolean;
  failure: Failure | undefined;
  onAsk: () => void;
  onDrop: () => void;
}

/** An order of which it is not known whether its card is charged. To ask again charges nothing twice. */
export function OpenOrder({ order, busy, failure, onAsk, onDrop }: Props) {
  return (
    <div className="form">
      <p>
        You ordered storage for {counted(order.storage, "note")} at <strong>{money(price(order.storage))}</strong>, and
        it is not known yet whether your card is charged. Asking again is safe: it is charged once at most.
      </p>
      <FailureNote failure={failure} />
      <div className="actions">
        <button className="button primary" disabled={busy} aria-busy={busy} onClick={onAsk}>
          Ask again
        </button>
        <button className="button quiet" disabled={busy} onClick={onDrop}>
          Leave it
        </button>
      </div>
      <p className="hint">If you leave it, your purchases below will say what became of it.</p>
    </div>
  );
}
