// The fields of a resource: how a form shows them, and how their values are written in the form and in the API.

/** The kind of a field. A time is in milliseconds since the epoch, and a date is `YYYY-MM-DD`. */
export type Kind = "text" | "integer" | "decimal" | "checkbox" | "date" | "time" | "url" | "email";

/** The fields of a resource by name, in the order of the form. An optional field can be null. */
export type FieldTable = Record<string, { kind: Kind; required: boolean }>;

export type FieldValue = string | number | boolean | null;

type ValueOf<K extends Kind> = K extends "integer" | "decimal" | "time"
  ? number
  : K extends "checkbox"
    ? boolean
    : string;

/** The values of the fields, as the API has them. */
export type Values<T extends FieldTable> = {
  [Name in keyof T]: ValueOf<T[Name]["kind"]> | (T[Name]["required"] extends true ? never : null);
};

/** The text of a value in an input. A checkbox has the text `true` or none. */
export function toText(kind: Kind, value: FieldValue | undefined): string {
  if (value === null || value === undefined || value === false) return "";
  return kind === "time" ? localTime(Number(value)) : String(value);
}

/** The value of an input's text. Null if the input is empty. */
export function toValue(kind: Kind, text: string): FieldValue {
  if (kind === "checkbox") return text === "true";
  if (text === "") return null;
  if (kind === "time") return new Date(text).getTime();
  return kind === "integer" || kind === "decimal" ? Number(text) : text;
}

/** A value in words, in a list or a comparison. */
export function describe(kind: Kind, value: FieldValue | undefined): string {
  if (kind === "checkbox") return value ? "yes" : "no";
  return toText(kind, value).replace("T", " ") || "–";
}

/** The label of a field: `Found on` for `foundOn`. */
export function labelOf(name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A time in the form of an input of the type `datetime-local`, which has the time zone of the browser. */
function localTime(time: number): string {
  const offset = new Date(time).getTimezoneOffset() * 60_000;
  return new Date(time - offset).toISOString().replace(/(:00)?\.000Z$|Z$/, "");
}
