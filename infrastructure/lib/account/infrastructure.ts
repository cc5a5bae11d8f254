import type { App } from "aws-cdk-lib";
import type { Account } from "../account.ts";
import { isLocal } from "../local.ts";
import { BoundaryStack } from "./boundary-stack.ts";
import { BudgetStack } from "./budget-stack.ts";
import { GithubStack } from "./github-stack.ts";
import { ReleasesStack } from "./releases-stack.ts";

/** The stacks that an account has once. A local cloud has no costs and no deployments from GitHub. */
export function accountInfrastructure(app: App, account: Account) {
  const stacks = [ReleasesStack, ...(isLocal(app, account.name) ? [] : [BoundaryStack, BudgetStack, GithubStack])];
  return stacks.map((Stack) => new Stack(app, account));
}
