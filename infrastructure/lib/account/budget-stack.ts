import type { App } from "aws-cdk-lib";
import { CfnBudget } from "aws-cdk-lib/aws-budgets";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** When the owner hears of a month's costs, in percent of the budget. */
const alarms = [
  { notificationType: "ACTUAL", threshold: 50 },
  { notificationType: "ACTUAL", threshold: 80 },
  { notificationType: "ACTUAL", threshold: 100 },
  { notificationType: "FORECASTED", threshold: 100 },
];

/** What the account may cost in a month, and who is told when it comes near. */
export class BudgetStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "budget", account);

    const { budget, owner } = account;
    if (budget === undefined || owner === undefined)
      throw new Error(`Account ${account.name} has no budget, or no owner to tell: give both in serverless.yml`);
    new CfnBudget(this, "Month", {
      budget: {
        budgetName: "scratchpad-month",
        budgetType: "COST",
        timeUnit: "MONTHLY",
        budgetLimit: { amount: budget, unit: "USD" },
      },
      notificationsWithSubscribers: alarms.map((alarm) => ({
        notification: { ...alarm, thresholdType: "PERCENTAGE", comparisonOperator: "GREATER_THAN" },
        subscribers: [{ subscriptionType: "EMAIL", address: owner }],
      })),
    });
  }
}
