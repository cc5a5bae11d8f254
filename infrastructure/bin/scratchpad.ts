import { App } from "aws-cdk-lib";
import { infrastructure } from "../lib/infrastructure.ts";
import { stageNamed } from "../lib/stage.ts";

// The templates are all that is needed: cfn-lint checks them, and the rest would double the time it takes.
const app = new App({ analyticsReporting: false, builtinCloudFormationValidation: false, treeMetadata: false });
const name = app.node.tryGetContext("stage");
if (typeof name !== "string") throw new Error("Name the stage: -c stage=NAME");
infrastructure(app, stageNamed(name));
