import { tables } from "./stage.ts";

/** A row of the account table in the root serverless.yml. */
export interface Account {
  name: string;
  /** What plays it. */
  cloud: "aws" | "local";
  /** Its number, of 12 digits. */
  id: string;
  /** What it may cost in a month, in USD; without one nobody watches. */
  budget?: number;
  /** The e-mail address of whoever is told of what it costs. */
  owner?: string;
}

const accounts: Record<string, Omit<Account, "name">> = tables().accounts;

export function accountNamed(name: string): Account {
  const row = accounts[name];
  if (!row) throw new Error(`There is no account ${name} in serverless.yml, but ${Object.keys(accounts).join(", ")}`);
  return { ...row, name };
}
