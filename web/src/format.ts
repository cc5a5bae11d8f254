const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const number = new Intl.NumberFormat("en-US");
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const minute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** Cents of a US dollar, as people write them. */
export const money = (cents: number) => dollars.format(cents / 100);

export const count = (things: number) => number.format(things);

/** A number of things, and what they are. */
export const counted = (things: number, one: string) => `${count(things)} ${one}${things === 1 ? "" : "s"}`;

/** The day of a time in milliseconds since the epoch. */
export const dayOf = (time: number) => day.format(time);

/** The same, to the minute. */
export const minuteOf = (time: number) => minute.format(time);

/** A file's length. */
export function bytes(length: number): string {
  if (length < 1_000) return counted(length, "byte");
  if (length < 1_000_000) return `${count(Math.round(length / 1_000))} kB`;
  return `${(length / 1_000_000).toFixed(1)} MB`;
}
