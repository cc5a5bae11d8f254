import { useState } from "react";
import {
  cancelPurchase,
  createPurchase,
  latestPurchase,
  type Order,
  type Purchase,
  resumePurchase,
} from "../api/billing.ts";
import { Problem } from "../api/problem.ts";
import { AppError } from "../failure.ts";
import { formatWait } from "../format.ts";
import { loadItem, removeItem, storeItem } from "../session-storage.ts";
import { loadStripe } from "../stripe.ts";
import { useUser } from "../user.ts";
import { useSubmit } from "./use-submit.ts";

/** An order as it was sent. */
export interface SentOrder extends Order {
  /** The ID of the user's latest purchase before this order. A later purchase shows that the order has arrived. */
  after?: string | undefined;
  /** The time of the last attempt, in milliseconds since the epoch. */
  sentAt: number;
}

/** The price that replaces the one in this build of the app. */
export interface NewPrice {
  storage: number;
  amount: number;
}

/** How long a request without a response can still take effect, in milliseconds. API Gateway ends it after 29 seconds. */
const IN_TRANSIT = 60_000;

interface Options {
  /** The loaded purchases, from newest to oldest. Undefined if they could not be loaded. */
  purchases: Purchase[] | undefined;
  /** Loads the purchases again. */
  reload: () => Promise<void>;
  onPaid: () => void;
  onCanceled: () => void;
}

/**
 * Orders storage, and continues or cancels orders that are not settled.
 *
 * The API knows the open order, so it can be continued in another browser. Only an order that may not have reached the
 * API is in sessionStorage.
 */
export function useCheckout({ purchases, reload, onPaid, onCanceled }: Options) {
  const item = `order:${useUser().id}`;
  const [unconfirmed, setUnconfirmed] = useState(() => loadItem<SentOrder>(item));
  const [newPrice, setNewPrice] = useState<NewPrice>();
  const openOrders = purchases?.filter(({ status }) => status === "PENDING") ?? [];
  // A purchase that is newer than the order shows that the order has arrived.
  const lost = unconfirmed && (!purchases || purchases[0]?.purchaseId === unconfirmed.after) ? unconfirmed : undefined;

  const { busy, failure, submit: run } = useSubmit((action: () => Promise<void>) => action());
  const runAndReload = (action: () => Promise<void>) => run(() => action().finally(reload));

  async function send(order: SentOrder): Promise<void> {
    storeItem(item, { ...order, sentAt: Date.now() });
    try {
      await confirmIfRequired(() => createPurchase(order));
    } catch (error) {
      if (isFinal(error)) {
        forget();
        if (error.code === "price_changed") setNewPrice({ storage: order.storage, amount: error.document.amount! });
        throw error;
      }
      const arrived = await arrivedPurchase(order).catch(() => undefined);
      if (!arrived) {
        setUnconfirmed({ ...order, sentAt: Date.now() });
        throw error;
      }
      forget();
      if (arrived.status === "PENDING") throw inWords(error);
      report(arrived);
      return;
    }
    forget();
    onPaid();
  }

  function forget() {
    removeItem(item);
    setUnconfirmed(undefined);
  }

  function report({ status, decline }: Purchase) {
    if (status === "FAILED") throw new AppError(decline?.message ?? "Your card was not charged.");
    onPaid();
  }

  return {
    busy,
    failure,
    newPrice,
    openOrders,
    lost,
    /** Sends a new order. `getOrder` creates the payment method, and fails if the card is invalid. */
    place: (getOrder: () => Promise<Order>) =>
      run(async () => {
        const order = await getOrder();
        const after = (await latestPurchase())?.purchaseId;
        await send({ ...order, after, sentAt: Date.now() }).finally(reload);
      }),
    /** Sends the lost order again, with the same idempotency key, unless it has arrived after all. */
    sendAgain: (order: SentOrder) =>
      runAndReload(async () => {
        const arrived = await arrivedPurchase(order);
        if (!arrived) return send(order);
        forget();
        if (arrived.status !== "PENDING") report(arrived);
      }),
    /** Drops the lost order, unless it has arrived after all or can still arrive. */
    drop: (order: SentOrder) =>
      runAndReload(async () => {
        const arrived = await arrivedPurchase(order);
        const wait = order.sentAt + IN_TRANSIT - Date.now();
        if (!arrived && wait > 0) {
          throw new AppError(
            `Your order may still be on its way. If it does not arrive, you can cancel it in ${formatWait(wait / 1000)}.`,
          );
        }
        forget();
      }),
    /** Continues an open order. */
    resume: (purchaseId: string) =>
      runAndReload(async () => {
        await confirmIfRequired(() => resumePurchase(purchaseId)).catch((error: unknown) => {
          throw inWords(error);
        });
        onPaid();
      }),
    /** Cancels an open order. */
    cancel: (purchaseId: string) =>
      runAndReload(async () => {
        try {
          await cancelPurchase(purchaseId);
        } catch (error) {
          if (!(error instanceof Problem && error.code === "already_paid")) throw error;
          onPaid();
          throw error;
        }
        onCanceled();
      }),
  };
}

/** The purchase of an order, if it has reached the API. */
async function arrivedPurchase({ after }: SentOrder): Promise<Purchase | undefined> {
  const latest = await latestPurchase();
  return latest?.purchaseId === after ? undefined : latest;
}

/** Sends a request that charges the card. If the bank asks for it, lets the cardholder confirm the payment. */
async function confirmIfRequired(charge: () => Promise<void>): Promise<void> {
  try {
    await charge();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { clientSecret, purchaseId } = error.document;
    if (clientSecret === undefined || purchaseId === undefined) throw error;
    const stripe = await loadStripe();
    await stripe.handleNextAction({ clientSecret });
    // Whether they confirmed or not, the API now returns the outcome.
    await resumePurchase(purchaseId);
  }
}

/** Replaces the message of a 503, which advises programs to retry, with one for the user. */
function inWords(error: unknown): unknown {
  if (!(error instanceof Problem && error.status === 503)) return error;
  return new AppError("We do not know yet whether your card was charged. Continue to check again.", error.requestId);
}

/** The codes of the problems with which the API rejects an order before it charges the card. */
const REJECTIONS = ["order_open", "price_changed", "too_many_declines"];

/**
 * Whether the error is the order's final outcome: the request was rejected, so the card is not charged and will not be.
 * Other errors, such as another 429 or a 503, do not say what happened to an earlier attempt.
 */
function isFinal(error: unknown): error is Problem {
  if (!(error instanceof Problem) || error.status === undefined) return false;
  if (error.code !== undefined && REJECTIONS.includes(error.code)) return true;
  return [400, 402, 422].includes(error.status) && error.document.clientSecret === undefined;
}
