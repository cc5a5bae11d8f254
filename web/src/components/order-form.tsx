import { useState } from "react";
import { ASKABLE_FOR, type Order } from "../api/billing.ts";
import { AppError, type Failure } from "../failure.ts";
import { counted, money } from "../format.ts";
import { price, STORAGE_LIMIT } from "../prices.ts";
import type { CardElement, Stripe } from "../stripe.ts";
import { CardField } from "./card-field.tsx";
import { FailureNote } from "./failure-note.tsx";
import { Field } from "./field.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  busy: boolean;
  failure: Failure | undefined;
  onOrder: (order: () => Promise<Order>) => void;
}

/** How much, from which card; and the price before anything is paid. */
export function OrderForm({ busy, failure, onOrder }: Props) {
  const [typed, setTyped] = useState("10");
  const [payment, setPayment] = useState<{ stripe: Stripe; card: CardElement }>();
  const storage = Number(typed);
  const valid = Number.isInteger(storage) && storage >= 1 && storage <= STORAGE_LIMIT;

  async function order(): Promise<Order> {
    if (payment === undefined) throw new AppError("The card cannot be entered yet.");
    const { paymentMethod, error } = await payment.stripe.createPaymentMethod({ type: "card", card: payment.card });
    if (!paymentMethod) throw new AppError(error?.message ?? "The card cannot be used.");
    return { storage, source: paymentMethod.id, key: crypto.randomUUID(), askUntil: Date.now() + ASKABLE_FOR };
  }

  return (
    <Form onSubmit={() => onOrder(order)}>
      <Field label="Notes" type="number" min={1} max={STORAGE_LIMIT} step={1} value={typed} onChange={setTyped} />
      <CardField onReady={setPayment} />
      <output className="price">
        {valid ? (
          <>
            Storage for {counted(storage, "note")}: <strong>{money(price(storage))}</strong>
          </>
        ) : (
          `From 1 to ${counted(STORAGE_LIMIT, "note")}`
        )}
      </output>
      <FailureNote failure={failure} />
      <Submit busy={busy} disabled={!valid || payment === undefined}>
        {valid ? `Pay ${money(price(storage))}` : "Pay"}
      </Submit>
    </Form>
  );
}
