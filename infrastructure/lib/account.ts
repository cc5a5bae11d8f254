import { tables } from "./stage.ts";

/** A row of the account table in the root serverless.yml. */
export interface Account {
  name: string;
  /** Its number, of 12 digits. */
  id: string;
  /** What it may cost in a month, in USD. */
  budget?: number;
  /** The e-mail address of whoever is told of what it costs. */
  owner?: string;
  /** What workflows on GitHub may do in it, by the name of the role that they take. */
  github?: Record<string, Access>;
}

export interface Access {
  /** What a workflow runs for, as GitHub calls it: https://docs.github.com/actions/reference/openid-connect-reference */
  from: string[];
  /** Read releases; show besides what a deploy would change; deploy. */
  may: "read" | "show" | "deploy";
  /** Of which stages: a name, or one that ends in an asterisk. */
  stages?: string;
}

const manifest = tables();

/** The repository on GitHub, as owner/name. */
export const repository: string = manifest.repository;

const accounts: Record<string, Omit<Account, "name">> = manifest.accounts;

export function accountNamed(name: string): Account {
  const row = accounts[name];
  if (!row) throw new Error(`There is no account ${name} in serverless.yml, but ${Object.keys(accounts).join(", ")}`);
  return { ...row, name };
}
