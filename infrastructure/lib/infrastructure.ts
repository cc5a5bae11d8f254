import type { App } from "aws-cdk-lib";
import { AlarmsStack } from "./alarms-stack.ts";
import { CognitoStack } from "./cognito-stack.ts";
import { DynamodbStack } from "./dynamodb-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import type { Stage } from "./stage.ts";
import { WebStack } from "./web-stack.ts";

/** The stacks of a stage. A stage that links to another stage's infrastructure has no tables, bucket or users of its own. */
export function infrastructure(app: App, stage: Stage) {
  const stacks = [
    ...(stage.infrastructure === "own" ? [CognitoStack, DynamodbStack, S3Stack] : []),
    ...(stage.name === "local" ? [] : [WebStack]), // `cargo xtask dev` serves the app of the stage local
    ...(stage.alarms ? [AlarmsStack] : []),
  ];
  return stacks.map((Stack) => new Stack(app, stage));
}
