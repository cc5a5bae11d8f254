import type { App } from "aws-cdk-lib";
import { AlarmsStack } from "./alarms-stack.ts";
import { CognitoStack } from "./cognito-stack.ts";
import { DynamodbStack } from "./dynamodb-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import type { Stage } from "./stage.ts";
import { WebStack } from "./web-stack.ts";

/** The stacks of a stage. One that links to another stage's data and people has none of its own for these. */
export function infrastructure(app: App, stage: Stage) {
  const stacks = [
    ...(stage.infrastructure === "own" ? [CognitoStack, DynamodbStack, S3Stack] : []),
    ...(stage.name === "local" ? [] : [WebStack]), // on a laptop `cargo xtask` serves the app
    ...(stage.alarms ? [AlarmsStack] : []),
  ];
  return stacks.map((Stack) => new Stack(app, stage));
}
