import type { App } from "aws-cdk-lib";
import { AlarmsStack } from "./alarms-stack.ts";
import { CognitoStack } from "./cognito-stack.ts";
import { DnsStack } from "./dns-stack.ts";
import { DynamodbStack } from "./dynamodb-stack.ts";
import { FirewallStack } from "./firewall-stack.ts";
import { isLocal } from "./local.ts";
import { OperationsStack } from "./operations-stack.ts";
import { S3Stack } from "./s3-stack.ts";
import type { Stage } from "./stage.ts";
import { tables } from "./stage.ts"; // part: web
import { TopicsStack } from "./topics-stack.ts"; // part: billing
import { WebStack } from "./web-stack.ts"; // part: web

// part: web {
/** The region of CloudFront's certificates. The certificate is in the same region as all other resources of the stage. */
const certificateRegion = "us-east-1";
// part: web }

/** The stacks of a stage. A stage that links to another stage's infrastructure has no tables, bucket or users of its own. */
export function infrastructure(
  app: App,
  stage: Stage,
  region: string = tables().region, // part: web
) {
  // part: web {
  if (stage.delegated && region !== certificateRegion)
    throw new Error(
      `The app of ${stage.name} cannot use the domain ${stage.domain} in ${region}: CloudFront accepts only certificates of ` +
        `${certificateRegion}. Set \`region\` to ${certificateRegion} in serverless.yml, or remove \`delegated\` from the row.`,
    );
  // part: web }
  const stacks = [
    ...(stage.domain === undefined ? [] : [DnsStack]),
    ...(stage.infrastructure === "own" ? [CognitoStack, DynamodbStack, S3Stack] : []),
    TopicsStack, // part: billing
    ...(stage.name === "local" ? [] : [WebStack]), // `cargo xtask dev` serves the app of the stage local // part: web
    ...(stage.alarms ? [AlarmsStack, OperationsStack] : []),
    ...(stage.webAcl && !isLocal(app, stage.name) ? [FirewallStack] : []), // the local cloud has no firewall
  ];
  return stacks.map((Stack) => new Stack(app, stage));
}
