import { useEffect, useId, useRef, useState } from "react";
import { type Failure, toFailure } from "../failure.ts";
import { type CardElement, loadStripe, type Stripe } from "../stripe.ts";
import { FailureMessage } from "./failure-message.tsx";

interface Props {
  /** Receives the card form once it is ready, and undefined when it is removed. */
  onReady: (payment: { stripe: Stripe; card: CardElement } | undefined) => void;
}

/** Stripe's card form. */
export function CardField({ onReady }: Props) {
  const id = useId();
  const container = useRef<HTMLDivElement>(null);
  const [failure, setFailure] = useState<Failure>();
  const [attempt, setAttempt] = useState(1);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the form is mounted once per attempt
  useEffect(() => {
    let card: CardElement | undefined;
    let unmounted = false;
    setFailure(undefined);
    loadStripe().then(
      (stripe) => {
        if (unmounted || container.current === null) return;
        card = stripe
          .elements()
          .create("card", { hidePostalCode: true, style: { base: textStyle(container.current) } });
        card.mount(container.current);
        onReady({ stripe, card });
      },
      (error: unknown) => setFailure(toFailure(error)),
    );
    return () => {
      unmounted = true;
      onReady(undefined);
      card?.destroy();
    };
  }, [attempt]);

  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset would add a border and a legend that a grid cannot lay out
    <div className="field" role="group" aria-labelledby={id}>
      <span id={id} className="label">
        Card
      </span>
      {failure ? (
        <>
          <FailureMessage failure={failure} />
          <button type="button" className="button" onClick={() => setAttempt(attempt + 1)}>
            Try again
          </button>
        </>
      ) : (
        <div ref={container} className="card-element" />
      )}
      <p className="hint">Stripe processes your card. The card number never reaches our servers.</p>
    </div>
  );
}

/** The page's text style, which Stripe's iframe cannot read. Phones zoom in on inputs with text below 16 px. */
function textStyle(container: HTMLElement) {
  const style = getComputedStyle(container);
  return { color: style.color, fontSize: "16px", "::placeholder": { color: style.getPropertyValue("--muted").trim() } };
}
