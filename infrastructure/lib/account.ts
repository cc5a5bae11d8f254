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
  /** `existing` if the account already has GitHub's OIDC provider. Otherwise, the account's stacks create it. */
  oidcProvider?: "existing";
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
  /** The row of the stage table whose stages the permissions apply to: a name, or a prefix that ends in an asterisk. */
  stages: string;
}

const manifest = tables();

/** The GitHub repository, as owner/name. */
export const repository: string = manifest.repository;

/** The ids that GitHub gave to the owner of the repository and to the repository. They never change. */
export const repositoryIds: { owner: number; repository: number } = manifest.repositoryIds;

/**
 * The claims `sub` of GitHub's tokens for a context of a workflow, such as `pull_request`. The claim contains the ids of a
 * repository that was created, renamed or transferred after 2026-07-15, and only the names of an older one:
 * https://docs.github.com/actions/reference/openid-connect-reference
 */
export function subjects(context: string): string[] {
  const [owner, name] = repository.split("/");
  const { owner: ownerId, repository: repositoryId } = repositoryIds;
  return [`repo:${owner}/${name}:${context}`, `repo:${owner}@${ownerId}/${name}@${repositoryId}:${context}`];
}

const accounts: Record<string, Omit<Account, "name">> = manifest.accounts;

export function accountNamed(name: string): Account {
  const row = accounts[name];
  if (!row)
    throw new Error(
      `There is no account ${name} in serverless.yml. The accounts are: ${Object.keys(accounts).join(", ")}`,
    );
  return { ...row, name };
}
