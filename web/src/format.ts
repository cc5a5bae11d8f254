const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const number = new Intl.NumberFormat("en-US");
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const dateTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** Formats US cents as dollars. */
export const formatMoney = (cents: number) => dollars.format(cents / 100);

export const formatNumber = (value: number) => number.format(value);

/** Formats a count with its noun: "1 note", "2 notes". */
export const formatCount = (count: number, noun: string) => `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Formats the date of a time in milliseconds since the epoch. */
export const formatDate = (time: number) => date.format(time);

/** Formats a time in milliseconds since the epoch, to the minute. */
export const formatDateTime = (time: number) => dateTime.format(time);

/** Formats a size in bytes. */
export function formatBytes(size: number): string {
  if (size < 1_000) return formatCount(size, "byte");
  if (size < 1_000_000) return `${formatNumber(Math.round(size / 1_000))} kB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}
