import { useState } from "react";
import type { Order } from "../api/billing.ts";
import { AppError, type Failure } from "../failure.ts";
import { formatCount, formatNumber } from "../format.ts";
import type { NewPrice } from "../hooks/use-checkout.ts";
import { formatMoney, price, STORAGE_LIMIT } from "../prices.ts";
import type { CardElement, Stripe } from "../stripe.ts";
import { CardField } from "./card-field.tsx";
import { FailureMessage } from "./failure-message.tsx";
import { Field } from "./field.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  busy: boolean;
  failure: Failure | undefined;
  newPrice: NewPrice | undefined;
  onOrder: (order: () => Promise<Order>) => void;
}

/** Asks for the number of notes and the card, and shows the price before the user pays. */
export function OrderForm({ busy, failure, newPrice, onOrder }: Props) {
  const [input, setInput] = useState(String(newPrice?.storage ?? 10));
  const [payment, setPayment] = useState<{ stripe: Stripe; card: CardElement }>();
  const storage = Number(input);
  const valid = Number.isInteger(storage) && storage >= 1 && storage <= STORAGE_LIMIT;
  const amount = newPrice?.storage === storage ? newPrice.amount : price(storage);

  async function order(): Promise<Order> {
    if (payment === undefined) throw new AppError("The card form is not ready yet.");
    const { paymentMethod, error } = await payment.stripe.createPaymentMethod({ type: "card", card: payment.card });
    if (!paymentMethod) throw new AppError(error?.message ?? "The card cannot be used.");
    return { storage, amount, source: paymentMethod.id, idempotencyKey: crypto.randomUUID() };
  }

  return (
    <Form onSubmit={() => onOrder(order)}>
      <Field label="Notes" type="number" min={1} max={STORAGE_LIMIT} step={1} value={input} onChange={setInput} />
      <CardField onReady={setPayment} />
      <output className="price">
        {valid ? (
          <>
            Storage for {formatCount(storage, "note")}: <strong>{formatMoney(amount)}</strong>
          </>
        ) : (
          `Enter a number from 1 to ${formatNumber(STORAGE_LIMIT)}.`
        )}
      </output>
      <FailureMessage failure={failure} />
      <Submit busy={busy} disabled={!valid || payment === undefined}>
        {valid ? `Pay ${formatMoney(amount)}` : "Pay"}
      </Submit>
    </Form>
  );
}
