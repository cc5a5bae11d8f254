import { useEffect, useId, useRef, useState } from "react";
import { type Failure, failureOf } from "../failure.ts";
import { type CardElement, loadStripe, type Stripe } from "../stripe.ts";
import { FailureNote } from "./failure-note.tsx";

interface Props {
  /** Says what the card can be paid with; nothing any more once the field is gone. */
  onReady: (payment: { stripe: Stripe; card: CardElement } | undefined) => void;
}

/** Where Stripe asks for the card. */
export function CardField({ onReady }: Props) {
  const id = useId();
  const place = useRef<HTMLDivElement>(null);
  const [failure, setFailure] = useState<Failure>();
  const [attempt, setAttempt] = useState(1);

  useEffect(() => {
    let card: CardElement | undefined;
    let left = false;
    setFailure(undefined);
    loadStripe().then(
      (stripe) => {
        if (left || place.current === null) return;
        card = stripe.elements().create("card", { hidePostalCode: true, style: { base: textStyle(place.current) } });
        card.mount(place.current);
        onReady({ stripe, card });
      },
      (error: unknown) => setFailure(failureOf(error)),
    );
    return () => {
      left = true;
      onReady(undefined);
      card?.destroy();
    };
  }, [attempt]);

  return (
    <div className="field" role="group" aria-labelledby={id}>
      <span id={id} className="label">
        Card
      </span>
      {failure ? (
        <>
          <FailureNote failure={failure} />
          <button type="button" className="button" onClick={() => setAttempt(attempt + 1)}>
            Try again
          </button>
        </>
      ) : (
        <div ref={place} className="card-element" />
      )}
      <p className="hint">It goes to Stripe, and not through our hands.</p>
    </div>
  );
}

/** The look of the page, which Stripe's frame cannot see. A phone zooms in on text that is smaller than this. */
function textStyle(place: HTMLElement) {
  const look = getComputedStyle(place);
  return { color: look.color, fontSize: "16px", "::placeholder": { color: look.getPropertyValue("--soft").trim() } };
}
