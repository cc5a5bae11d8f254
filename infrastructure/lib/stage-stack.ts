import { type App, CfnOutput, LegacyStackSynthesizer, RemovalPolicy, Stack } from "aws-cdk-lib";
import { isLocal } from "./local.ts";
import type { Stage } from "./stage.ts";

/** A stack that is one stage's: its name, its exports and what becomes of its data all follow from the stage. */
export abstract class StageStack extends Stack {
  protected readonly local: boolean;
  protected readonly removalPolicy: RemovalPolicy;

  constructor(
    app: App,
    unit: string,
    protected readonly stage: Stage,
  ) {
    super(app, unit, {
      stackName: `scratchpad-${unit}-${stage.name}`,
      terminationProtection: stage.protected,
      synthesizer: new LegacyStackSynthesizer(), // templates alone: they need nothing of `cdk bootstrap`
    });
    this.local = isLocal(app, stage.name);
    this.removalPolicy = stage.protected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;
  }

  protected nameOf(resource: string) {
    return `scratchpad-${this.stage.name}-${resource}`;
  }

  /** Exports a value for services to import. */
  protected share(name: string, value: string) {
    new CfnOutput(this, name, { value, exportName: this.nameOf(name) });
  }
}
