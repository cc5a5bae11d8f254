import { useState } from "react";
import { FIRST_PURCHASES, type Order, purchase, purchases } from "../api/billing.ts";
import { Problem } from "../api/problem.ts";
import { useAnnounce } from "../components/announcer.tsx";
import { OpenOrder } from "../components/open-order.tsx";
import { OrderForm } from "../components/order-form.tsx";
import { Page } from "../components/page.tsx";
import { PriceTable } from "../components/price-table.tsx";
import { PurchaseHistory } from "../components/purchase-history.tsx";
import { AppError } from "../failure.ts";
import { usePages } from "../hooks/use-pages.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { forget, keep, kept } from "../session-storage.ts";
import { loadStripe } from "../stripe.ts";
import { useUser } from "../user.ts";

export default function Billing() {
  const name = `order of ${useUser().id}`;
  // An order that was sent, and of which nobody knows what became of it, also not after a reload.
  const [unanswered, setUnanswered] = useState(() => kept<Order>(name));
  const history = usePages(purchases, FIRST_PURCHASES);
  const announce = useAnnounce();

  const { busy, failure, submit } = useSubmit(async (ordered: () => Promise<Order>) => {
    const order = await ordered();
    if (Date.now() > order.askUntil) {
      drop();
      throw new AppError("This order is too old to ask about. Your purchases say what became of it.");
    }
    keep(name, order);
    try {
      await pay(order);
      drop();
      announce("Paid. Thank you.");
    } catch (error) {
      if (isFinal(error)) drop();
      else setUnanswered(order);
      throw error;
    } finally {
      void history.reload();
    }
  });

  function drop() {
    forget(name);
    setUnanswered(undefined);
  }

  return (
    <Page title="Billing">
      <section className="card">
        <h2>Buy storage</h2>
        <div className="order">
          {unanswered ? (
            <OpenOrder
              order={unanswered}
              busy={busy}
              failure={failure}
              onAsk={() => submit(async () => unanswered)}
              onDrop={drop}
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

/** Charges the order's card, with its owner's confirmation where the bank wants one. */
async function pay(order: Order): Promise<void> {
  try {
    await purchase(order);
  } catch (error) {
    if (!(error instanceof Problem) || error.clientSecret === undefined) throw error;
    const stripe = await loadStripe();
    await stripe.handleNextAction({ clientSecret: error.clientSecret });
    // Whatever they did there, the same order asked for again says what came of it.
    await purchase(order);
  }
}

/**
 * Whether nothing more can become of the order: it is refused for what it is, so its card is not charged, and will
 * not be. Anything else, too many requests for one, says nothing of what became of it before.
 */
function isFinal(error: unknown): boolean {
  if (!(error instanceof Problem) || error.status === undefined) return false;
  return [400, 402, 422].includes(error.status) && error.clientSecret === undefined;
}
