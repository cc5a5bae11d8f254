import type { Purchase } from "../api/billing.ts";
import type { Failure } from "../failure.ts";
import { formatDateTime } from "../format.ts";
import { formatMoney } from "../prices.ts";
import { FailureMessage } from "./failure-message.tsx";
import { Loading } from "./loading.tsx";

interface Props {
  items: Purchase[] | undefined;
  busy: boolean;
  failure: Failure | undefined;
  loadMore: (() => void) | undefined;
  reload: () => void;
}

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
  const { description, createdAt, amount, currency } = purchase;
  const [name, ...hints] = outcome(purchase);
  return (
    <li>
      <span className="purchase-name">{description.charAt(0).toUpperCase() + description.slice(1)}</span>
      <span className="purchase-amount">{formatMoney(amount, currency)}</span>
      <time dateTime={new Date(createdAt).toISOString()}>{formatDateTime(createdAt)}</time>
      <span className={`status ${name.toLowerCase().replace(" ", "-")}`}>{name}</span>
      {hints.map((hint) => (
        <span key={hint} className="hint">
          {hint}
        </span>
      ))}
    </li>
  );
}

/** The status of a purchase in words, and what happened to the customer's money. */
function outcome(purchase: Purchase): [name: string, ...hints: string[]] {
  const { amount, status, decline, refundedAmount = 0, dispute, surplusRefunded = 0 } = purchase;
  const money = (amount: number) => formatMoney(amount, purchase.currency);
  if (status === "PENDING") return ["Pending"];
  if (status === "FAILED") {
    // A charge that came too late was refunded: the statement of the card shows both.
    if (surplusRefunded > 0) return ["Refunded", `Your card was charged ${money(surplusRefunded)} and refunded.`];
    return decline ? ["Not charged", decline.message] : ["Not charged"];
  }
  const hints: string[] = [];
  if (refundedAmount > 0) hints.push(`${money(refundedAmount)} of ${money(amount)} was refunded.`);
  if (dispute) hints.push(disputeHint(dispute.status, money(dispute.amount)));
  if (surplusRefunded > 0) hints.push(`A second charge of ${money(surplusRefunded)} was refunded.`);
  return [nameOf(purchase), ...hints];
}

function nameOf({ status, refundedAmount = 0, dispute }: Purchase): string {
  if (status === "DISPUTED") return dispute?.status === "lost" ? "Charged back" : "Disputed";
  if (status === "REFUNDED") return "Refunded";
  return refundedAmount > 0 ? "Partly refunded" : "Paid";
}

function disputeHint(status: "open" | "won" | "lost", amount: string): string {
  if (status === "open") return `You disputed ${amount}. Your bank has not decided yet.`;
  if (status === "lost") return `You disputed ${amount}, and your bank returned the amount to you.`;
  return `You disputed ${amount}. Your bank decided that the payment stands.`;
}
