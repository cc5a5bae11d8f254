import { type App, LegacyStackSynthesizer, Stack } from "aws-cdk-lib";
import type { Account } from "../account.ts";
import { isLocal } from "../local.ts";

/** A stack that an account has once. It is deployed before the stages of the account and removed after them. */
export abstract class AccountStack extends Stack {
  protected readonly local: boolean;

  constructor(app: App, unit: string, account: Account) {
    // The prefix distinguishes the stack from those of a stage in the same app.
    super(app, `account-${unit}`, {
      stackName: `scratchpad-${unit}`,
      synthesizer: new LegacyStackSynthesizer(), // the templates need no bootstrap stack
    });
    this.local = isLocal(app, account.name);
  }
}
