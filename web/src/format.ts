const number = new Intl.NumberFormat("en-US");
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const dateTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const formatNumber = (value: number) => number.format(value);

/** Formats a count with its noun: "1 note", "2 notes". */
export const formatCount = (count: number, noun: string) => `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Formats a waiting time of less than a minute in seconds, and a longer one in minutes. Rounds up. */
export const formatWait = (seconds: number) =>
  seconds < 60 ? formatCount(Math.ceil(seconds), "second") : formatCount(Math.ceil(seconds / 60), "minute");

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
