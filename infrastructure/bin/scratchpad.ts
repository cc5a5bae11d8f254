import { App } from "aws-cdk-lib";
import { accountInfrastructure } from "../lib/account/infrastructure.ts";
import { accountNamed } from "../lib/account.ts";
import { infrastructure } from "../lib/infrastructure.ts";
import { stageNamed } from "../lib/stage.ts";

// The templates are all that is needed: cfn-lint checks them, and the rest would double the time it takes.
const app = new App({ analyticsReporting: false, builtinCloudFormationValidation: false, treeMetadata: false });
const [stage, account] = ["stage", "account"].map((kind) => app.node.tryGetContext(kind));
if (typeof stage === "string") infrastructure(app, stageNamed(stage));
else if (typeof account === "string") accountInfrastructure(app, accountNamed(account));
else throw new Error("Name what to make: -c stage=NAME, or -c account=NAME for what an account has once");
