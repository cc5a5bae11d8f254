import { useEffect } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { FIRST_PURCHASES_PAGE, listPurchases } from "../api/billing.ts";
import { useAnnounce } from "../components/announcer.tsx";
import { FailureMessage } from "../components/failure-message.tsx";
import { Loading } from "../components/loading.tsx";
import { LostOrder } from "../components/lost-order.tsx";
import { OpenOrder } from "../components/open-order.tsx";
import { OrderForm } from "../components/order-form.tsx";
import { Page } from "../components/page.tsx";
import { PriceTable } from "../components/price-table.tsx";
import { PurchaseHistory } from "../components/purchase-history.tsx";
import { StorageCard } from "../components/storage-card.tsx";
import { useCheckout } from "../hooks/use-checkout.ts";
import { useCredit } from "../hooks/use-credit.ts";
import { usePages } from "../hooks/use-pages.ts";
import { useStorage } from "../hooks/use-storage.ts";
import { localPath } from "../local-path.ts";

export default function Billing() {
  const [, navigate] = useLocation();
  const [query] = useSearchParams();
  // The path of the unsaved note for which the user buys storage.
  const to = localPath(query.get("to"));
  const announce = useAnnounce();
  const history = usePages(listPurchases, FIRST_PURCHASES_PAGE);
  const storage = useStorage();
  const { awaiting, awaitCredit, credited } = useCredit(storage);
  const checkout = useCheckout({
    purchases: history.items,
    reload: history.reload,
    onPaid() {
      announce("Paid. Thank you.");
      awaitCredit();
    },
    onCanceled: () => announce("Order canceled."),
  });

  function refresh() {
    void history.reload();
    void storage.reload();
  }

  // biome-ignore lint/correctness/useExhaustiveDependencies: the user returns once, when the credit arrives
  useEffect(() => {
    if (!credited || to === undefined) return;
    announce("Paid. Thank you. You can save your note now.");
    navigate(to, { replace: true });
  }, [credited]);

  return (
    <Page title="Billing">
      {to && (
        <div className="notice">
          <p>Your note is not saved yet. After the purchase you return to it.</p>
          <Link href={to} className="button quiet">
            Back to your note
          </Link>
        </div>
      )}
      <StorageCard {...storage} awaiting={awaiting} />
      <section className="card">
        <h2>Buy storage</h2>
        <div className="order">
          {history.items || history.failure ? <Checkout {...checkout} /> : <Loading />}
          <PriceTable />
        </div>
      </section>
      <PurchaseHistory {...history} reload={refresh} />
    </Page>
  );
}

/** The order that is not settled, if there is one, or else the form for a new order. */
function Checkout(checkout: ReturnType<typeof useCheckout>) {
  const { busy, failure, openOrders, lost, newPrice } = checkout;
  if (openOrders.length === 0 && !lost) {
    return <OrderForm busy={busy} failure={failure} newPrice={newPrice} onOrder={checkout.place} />;
  }
  return (
    <div className="form">
      {openOrders.map((purchase) => (
        <OpenOrder
          key={purchase.purchaseId}
          purchase={purchase}
          busy={busy}
          onContinue={() => checkout.resume(purchase.purchaseId)}
          onCancel={() => checkout.cancel(purchase.purchaseId)}
        />
      ))}
      {lost && (
        <LostOrder
          order={lost}
          busy={busy}
          onSendAgain={() => checkout.sendAgain(lost)}
          onCancel={() => checkout.drop(lost)}
        />
      )}
      <FailureMessage failure={failure} />
    </div>
  );
}
