import { useState } from "react";
import { createPurchase, FIRST_PURCHASES_PAGE, listPurchases, type Order } from "../api/billing.ts";
import { Problem } from "../api/problem.ts";
import { useAnnounce } from "../components/announcer.tsx";
import { OrderForm } from "../components/order-form.tsx";
import { Page } from "../components/page.tsx";
import { PendingOrder } from "../components/pending-order.tsx";
import { PriceTable } from "../components/price-table.tsx";
import { PurchaseHistory } from "../components/purchase-history.tsx";
import { AppError } from "../failure.ts";
import { usePages } from "../hooks/use-pages.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { loadItem, removeItem, storeItem } from "../session-storage.ts";
import { loadStripe } from "../stripe.ts";
import { useUser } from "../user.ts";

export default function Billing() {
  const item = `pending-order:${useUser().id}`;
  // An order whose outcome is unknown. It survives a reload.
  const [pendingOrder, setPendingOrder] = useState(() => loadItem<Order>(item));
  const history = usePages(listPurchases, FIRST_PURCHASES_PAGE);
  const announce = useAnnounce();

  const { busy, failure, submit } = useSubmit(async (getOrder: () => Promise<Order>) => {
    const order = await getOrder();
    if (Date.now() > order.retryUntil) {
      dismiss();
      throw new AppError("This order is too old to check. Its result is in your purchases.");
    }
    storeItem(item, order);
    try {
      await pay(order);
      dismiss();
      announce("Paid. Thank you.");
    } catch (error) {
      if (isFinal(error)) dismiss();
      else setPendingOrder(order);
      throw error;
    } finally {
      void history.reload();
    }
  });

  function dismiss() {
    removeItem(item);
    setPendingOrder(undefined);
  }

  return (
    <Page title="Billing">
      <section className="card">
        <h2>Buy storage</h2>
        <div className="order">
          {pendingOrder ? (
            <PendingOrder
              order={pendingOrder}
              busy={busy}
              failure={failure}
              onRetry={() => submit(async () => pendingOrder)}
              onDismiss={dismiss}
            />
          ) : (
            <OrderForm busy={busy} failure={failure} onOrder={submit} />
          )}
          <PriceTable />
        </div>
      </section>
      <PurchaseHistory {...history} />
    </Page>
  );
}

/** Charges the card. If the bank asks for it, lets the cardholder confirm the payment. */
async function pay(order: Order): Promise<void> {
  try {
    await createPurchase(order);
  } catch (error) {
    if (!(error instanceof Problem) || error.clientSecret === undefined) throw error;
    const stripe = await loadStripe();
    await stripe.handleNextAction({ clientSecret: error.clientSecret });
    // Whether they confirmed or not, the same request now returns the outcome.
    await createPurchase(order);
  }
}

/**
 * Whether the error is the order's final outcome: the request was rejected, so the card is not charged and will not be.
 * Other errors, such as 429 or 503, do not say what happened to an earlier attempt.
 */
function isFinal(error: unknown): boolean {
  if (!(error instanceof Problem) || error.status === undefined) return false;
  return [400, 402, 422].includes(error.status) && error.clientSecret === undefined;
}
