import { type App } from "aws-cdk-lib";
import { type Account } from "../account.ts";
import { ReleasesStack } from "./releases-stack.ts";

/** The stacks that an account has once. The local cloud bills nobody, and nobody deploys to it from elsewhere. */
export function accountInfrastructure(app: App, account: Account) {
  return [ReleasesStack].map((Stack) => new Stack(app, account));
}
