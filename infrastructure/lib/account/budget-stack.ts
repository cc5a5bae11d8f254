import type { App } from "aws-cdk-lib";
import { CfnBudget } from "aws-cdk-lib/aws-budgets";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** When the owner is notified, in percent of the monthly budget. */
const notifications = [
  { notificationType: "ACTUAL", threshold: 50 },
  { notificationType: "ACTUAL", threshold: 80 },
  { notificationType: "ACTUAL", threshold: 100 },
  { notificationType: "FORECASTED", threshold: 100 },
];

/** The monthly budget of the account, with notifications to its owner. */
export class BudgetStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "budget", account);

    const { budget, owner } = account;
    if (budget === undefined || owner === undefined)
      throw new Error(`Account ${account.name} has no budget or no owner to notify. Set both in serverless.yml`);
    new CfnBudget(this, "Month", {
      budget: {
        budgetName: "scratchpad-month",
        budgetType: "COST",
        timeUnit: "MONTHLY",
        budgetLimit: { amount: budget, unit: "USD" },
      },
      notificationsWithSubscribers: notifications.map((notification) => ({
        notification: { ...notification, thresholdType: "PERCENTAGE", comparisonOperator: "GREATER_THAN" },
        subscribers: [{ subscriptionType: "EMAIL", address: owner }],
      })),
    });
  }
}
