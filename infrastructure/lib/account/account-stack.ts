import { type App, LegacyStackSynthesizer, Stack } from "aws-cdk-lib";
import type { Account } from "../account.ts";
import { isLocal } from "../local.ts";

/** A stack that an account has once, whatever stages are in it. It is deployed before them, and removed after. */
export abstract class AccountStack extends Stack {
  protected readonly local: boolean;

  constructor(app: App, unit: string, account: Account) {
    super(app, unit, {
      stackName: `scratchpad-${unit}`,
      synthesizer: new LegacyStackSynthesizer(), // templates alone: they need nothing of `cdk bootstrap`
    });
    this.local = isLocal(app, account.name);
  }
}
