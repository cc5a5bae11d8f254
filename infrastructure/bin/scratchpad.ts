import { App } from "aws-cdk-lib";
import { accountInfrastructure } from "../lib/account/infrastructure.ts";
import { accountNamed } from "../lib/account.ts";
import { infrastructure } from "../lib/infrastructure.ts";
import { stageNamed } from "../lib/stage.ts";
import { checkCertificateRegion } from "../lib/web-stack.ts"; // part: web

// Only the templates are used, and cfn-lint checks them. The features that are turned off would double the run time.
const app = new App({ analyticsReporting: false, builtinCloudFormationValidation: false, treeMetadata: false });
const [stage, account] = ["stage", "account"].map((kind) => app.node.tryGetContext(kind));
if (stage === undefined && account === undefined)
  throw new Error(
    "Pass -c stage=NAME for the stacks of a stage, -c account=NAME for the stacks of an account, or both",
  );
if (stage !== undefined) {
  checkCertificateRegion(stageNamed(String(stage))); // part: web
  infrastructure(app, stageNamed(String(stage)));
}
if (account !== undefined) accountInfrastructure(app, accountNamed(String(account)));
