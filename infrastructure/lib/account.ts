import { tables } from "./stage.ts";

/** A row of the account table in the root serverless.yml. */
export interface Account {
  name: string;
  /** The AWS account ID, 12 digits. */
  id: string;
  /** The monthly budget, in USD. */
  budget?: number;
  /** The e-mail address that receives budget notifications. */
  owner?: string;
  /** The permissions of GitHub workflows, by the name of the role that they assume. */
  github?: Record<string, Access>;
}

/** The permissions of a role for GitHub workflows. */
export interface Access {
  /**
   * The subjects that may assume the role, without the `repo:` prefix:
   * https://docs.github.com/actions/reference/openid-connect-reference
   */
  from: string[];
  /** `read` reads releases, `show` also shows what a deployment would change, `deploy` also deploys. */
  may: "read" | "show" | "deploy";
  /** The stages that the permissions apply to: a name, or a prefix that ends in an asterisk. */
  stages?: string;
}

const manifest = tables();

/** The GitHub repository, as owner/name. */
export const repository: string = manifest.repository;

const accounts: Record<string, Omit<Account, "name">> = manifest.accounts;

export function accountNamed(name: string): Account {
  const row = accounts[name];
  if (!row)
    throw new Error(
      `There is no account ${name} in serverless.yml. The accounts are: ${Object.keys(accounts).join(", ")}`,
    );
  return { ...row, name };
}
