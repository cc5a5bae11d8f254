import type { App } from "aws-cdk-lib";
import { AlarmsStack } from "./alarms-stack.ts";
import { CognitoStack } from "./cognito-stack.ts";
import { dataStacks } from "./data.ts";
import { DnsStack } from "./dns-stack.ts";
import { FirewallStack } from "./firewall-stack.ts";
import { isLocal } from "./local.ts";
import { OperationsStack } from "./operations-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import type { Stage } from "./stage.ts";
import { TablesStack } from "./tables-stack.ts";
import { TopicsStack } from "./topics-stack.ts"; // part: billing
import { WebStack } from "./web-stack.ts"; // part: web

/** The stacks of a stage. A stage that links to another stage's infrastructure has no tables, bucket or users of its own. */
export function infrastructure(app: App, stage: Stage) {
  const stacks = [
    ...(stage.domain === undefined ? [] : [DnsStack]),
    ...(stage.infrastructure === "own" ? [CognitoStack, S3Stack] : []),
    TopicsStack, // part: billing
    ...(stage.name === "local" ? [] : [WebStack]), // `cargo xtask dev` serves the app of the stage local // part: web
    ...(stage.alarms ? [AlarmsStack, OperationsStack] : []),
    ...(stage.webAcl && !isLocal(app, stage.name) ? [FirewallStack] : []), // the local cloud has no firewall
  ];
  const data = stage.infrastructure === "own" ? dataStacks : [];
  return [
    ...data.map(([unit, tables]) => new TablesStack(app, unit, stage, tables)),
    ...stacks.map((Stack) => new Stack(app, stage)),
  ];
}
