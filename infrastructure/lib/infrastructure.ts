import { type App } from "aws-cdk-lib";
import { CognitoStack } from "./cognito-stack.ts";
import { DynamodbStack } from "./dynamodb-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import { type Stage } from "./stage.ts";

/** The stacks of a stage; none when it links to another stage's. */
export function infrastructure(app: App, stage: Stage) {
  if (stage.infrastructure !== "own") return [];
  return [CognitoStack, DynamodbStack, S3Stack].map((Stack) => new Stack(app, stage));
}
