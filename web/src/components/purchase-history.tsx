import type { Purchase } from "../api/billing.ts";
import type { Failure } from "../failure.ts";
import { formatDateTime, formatMoney } from "../format.ts";
import { FailureMessage } from "./failure-message.tsx";
import { Loading } from "./loading.tsx";

interface Props {
  items: Purchase[] | undefined;
  busy: boolean;
  failure: Failure | undefined;
  loadMore: (() => void) | undefined;
  reload: () => void;
}

const STATUS = { PENDING: "Pending", PAID: "Paid", FAILED: "Not charged" } as const;

export function PurchaseHistory({ items, busy, failure, loadMore, reload }: Props) {
  return (
    <section className="card">
      <div className="card-title">
        <h2>Your purchases</h2>
        <button type="button" className="button quiet" disabled={busy} onClick={reload}>
          Refresh
        </button>
      </div>
      {items?.length === 0 && <p className="hint">No purchases yet.</p>}
      {items && items.length > 0 && (
        <ul className="purchases">
          {items.map((purchase) => (
            <PurchaseItem key={purchase.purchaseId} purchase={purchase} />
          ))}
        </ul>
      )}
      <FailureMessage failure={failure} />
      {busy && !items && <Loading />}
      {loadMore && (
        <button type="button" className="button" disabled={busy} onClick={loadMore}>
          Load more
        </button>
      )}
    </section>
  );
}

function PurchaseItem({ purchase }: { purchase: Purchase }) {
  const { description, createdAt, amount, status, decline } = purchase;
  return (
    <li>
      <span className="purchase-name">{description.charAt(0).toUpperCase() + description.slice(1)}</span>
      <span className="purchase-amount">{formatMoney(amount)}</span>
      <time dateTime={new Date(createdAt).toISOString()}>{formatDateTime(createdAt)}</time>
      <span className={`status ${status.toLowerCase()}`}>{STATUS[status]}</span>
      {decline && <span className="hint">{decline.message}</span>}
    </li>
  );
}
