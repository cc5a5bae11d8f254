import { forget, keep, kept } from "./session-storage.ts";

/**
 * The Idempotency-Key of a form: the same as long as the same is sent, so that one that was sent twice has
 * one effect, also across a reload. It ends with the form's success.
 */
export function keyOf(form: string, body: object): string {
  const last = kept<{ body: string; key: string }>(named(form));
  const sent = JSON.stringify(body);
  if (last?.body === sent) return last.key;
  const key = crypto.randomUUID();
  keep(named(form), { body: sent, key });
  return key;
}

export function done(form: string): void {
  forget(named(form));
}

const named = (form: string) => `key of ${form}`;
