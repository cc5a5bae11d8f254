import { loadItem, removeItem, storeItem } from "./session-storage.ts";

/**
 * Returns the idempotency key for a form's request.
 *
 * The key stays the same, also after a reload, until the body changes or `clearIdempotencyKey` is called. A request that
 * is sent twice therefore has one effect.
 */
export function idempotencyKey(form: string, body: object): string {
  const last = loadItem<{ body: string; key: string }>(itemName(form));
  const json = JSON.stringify(body);
  if (last?.body === json) return last.key;
  const key = crypto.randomUUID();
  storeItem(itemName(form), { body: json, key });
  return key;
}

/** Forgets the key of a form whose request has succeeded. */
export function clearIdempotencyKey(form: string): void {
  removeItem(itemName(form));
}

const itemName = (form: string) => `idempotency-key:${form}`;
