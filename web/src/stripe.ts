import { config } from "./config.ts";
import { AppError } from "./failure.ts";

/** The part of Stripe.js that this app uses: https://docs.stripe.com/js */
export interface Stripe {
  elements(): { create(kind: "card", options: object): CardElement };
  createPaymentMethod(from: { type: "card"; card: CardElement }): Promise<{
    paymentMethod?: { id: string };
    error?: { message?: string };
  }>;
  /** Shows the bank's confirmation dialog (3-D Secure). Resolves when the cardholder has finished it. */
  handleNextAction(of: { clientSecret: string }): Promise<{ error?: { message?: string } }>;
}

/** The card form. It is Stripe's iframe: the card number never reaches this app. */
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

/** Loads Stripe.js on first use, and again if that failed. Stripe requires that it comes from Stripe's own server. */
export function loadStripe(): Promise<Stripe> {
  loading ??= fetchScript().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

function fetchScript(): Promise<Stripe> {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = config.stripeScript;
    script.onload = () => {
      if (window.Stripe) resolve(window.Stripe(config.stripePublishableKey));
      else reject(new AppError("Our payment provider, Stripe, is not available right now."));
    };
    script.onerror = () => {
      script.remove();
      reject(new AppError("Our payment provider, Stripe, cannot be reached. Try again in a moment."));
    };
    document.head.append(script);
  });
}
