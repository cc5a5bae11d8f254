import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A row of the account table in the root serverless.yml. */
export interface Account {
  name: string;
  /** Its number, of 12 digits. */
  id: string;
  /** What it may cost in a month, in USD; without one nobody watches. */
  budget?: number;
  /** The e-mail address of whoever is told of what it costs. */
  owner?: string;
}

const accounts: Record<string, Omit<Account, "name">> = parse(
  readFileSync(new URL("../../serverless.yml", import.meta.url), "utf8"),
).accounts;

export function accountNamed(name: string): Account {
  const row = accounts[name];
  if (!row) throw new Error(`There is no account ${name} in serverless.yml, but ${Object.keys(accounts).join(", ")}`);
  return { ...row, name };
}
