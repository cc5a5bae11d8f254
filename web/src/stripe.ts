import { config } from "./config.ts";
import { AppError } from "./failure.ts";

/** The part of Stripe.js that this app uses: https://docs.stripe.com/js */
export interface Stripe {
  elements(): { create(kind: "card", options: object): CardElement };
  createPaymentMethod(from: { type: "card"; card: CardElement }): Promise<{
    paymentMethod?: { id: string };
    error?: { message?: string };
  }>;
  /** Shows what the card's bank asks its owner, and resolves once they are through with it. */
  handleNextAction(of: { clientSecret: string }): Promise<{ error?: { message?: string } }>;
}

/** Where a person types a card's number: a frame of Stripe's, for this app is never to see it. */
export interface CardElement {
  mount(on: HTMLElement): void;
  destroy(): void;
}

declare global {
  interface Window {
    Stripe?: (publishableKey: string) => Stripe;
  }
}

let loading: Promise<Stripe> | undefined;

/** Stripe.js, from Stripe itself: it may not be bundled. Fetched once it is needed, and again if that failed. */
export function loadStripe(): Promise<Stripe> {
  loading ??= fetchScript().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

function fetchScript(): Promise<Stripe> {
  return new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = config.stripeScript;
    script.onload = () => {
      if (window.Stripe) loaded(window.Stripe(config.stripePublishableKey));
      else failed(new AppError("Stripe, which takes the payment, cannot be used right now."));
    };
    script.onerror = () => {
      script.remove();
      failed(new AppError("Stripe, which takes the payment, cannot be reached. Try again in a moment."));
    };
    document.head.append(script);
  });
}
