import { type App, CfnOutput, Fn, LegacyStackSynthesizer, RemovalPolicy, Stack } from "aws-cdk-lib";
import { isLocal } from "./local.ts";
import type { Stage } from "./stage.ts";

/** A stack of a stage. The stage determines its name, its exports and whether its data is retained. */
export abstract class StageStack extends Stack {
  protected readonly local: boolean;
  /** A protected stage keeps its data, but not resources whose creation failed: their names would block the next attempt. */
  protected readonly removalPolicy: RemovalPolicy;

  constructor(
    app: App,
    unit: string,
    protected readonly stage: Stage,
  ) {
    super(app, unit, {
      stackName: `scratchpad-${unit}-${stage.name}`,
      terminationProtection: stage.protected,
      synthesizer: new LegacyStackSynthesizer(), // the templates need no bootstrap stack
    });
    this.local = isLocal(app, stage.name);
    this.removalPolicy = stage.protected ? RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE : RemovalPolicy.DESTROY;
  }

  /** The name of a resource of the stage. */
  protected nameOf(resource: string) {
    return `scratchpad-${this.stage.name}-${resource}`;
  }

  /** The value of an export of another stack of the stage. */
  protected importOutput(name: string) {
    return Fn.importValue(this.nameOf(name));
  }

  /** Exports a value that services and other stacks import. */
  protected exportOutput(name: string, value: string) {
    new CfnOutput(this, name, { value, exportName: this.nameOf(name) });
  }
}
