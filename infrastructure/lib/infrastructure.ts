import { type App } from "aws-cdk-lib";
import { CognitoStack } from "./cognito-stack.ts";
import { DynamodbStack } from "./dynamodb-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import { type Stage } from "./stage.ts";
import { WebStack } from "./web-stack.ts";

/** The stacks of a stage; none when it links to another stage's. On a laptop the app is served by `cargo xtask`. */
export function infrastructure(app: App, stage: Stage) {
  if (stage.infrastructure !== "own") return [];
  const stacks = [CognitoStack, DynamodbStack, S3Stack, ...(stage.name === "local" ? [] : [WebStack])];
  return stacks.map((Stack) => new Stack(app, stage));
}
