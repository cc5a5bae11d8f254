import type { App } from "aws-cdk-lib";
import type { Account } from "../account.ts";
import { isLocal } from "../local.ts";
import { type StageTable, stageTable } from "../stage.ts";
import { ApiLogsStack } from "./api-logs-stack.ts";
import { BoundaryStack } from "./boundary-stack.ts";
import { BudgetStack } from "./budget-stack.ts";
import { GithubStack } from "./github-stack.ts";
import { ReleasesStack } from "./releases-stack.ts";

/**
 * The stacks that an account has once, for the stages of `table` that are in the account. A local cloud has no costs, and so
 * no budget.
 */
export function accountInfrastructure(app: App, account: Account, table: StageTable = stageTable()) {
  const stacks = [
    ReleasesStack,
    BoundaryStack,
    ApiLogsStack,
    ...(isLocal(app, account.name) ? [] : [BudgetStack]),
    ...(account.github ? [GithubStack] : []),
  ];
  return stacks.map((Stack) => new Stack(app, account, table));
}

/** The roles for GitHub workflows of an account, whose row need not be in serverless.yml. */
export const githubStack = (app: App, account: Account, table: StageTable = stageTable()) =>
  new GithubStack(app, account, table);
