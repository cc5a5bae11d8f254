import type { App } from "aws-cdk-lib";

/**
 * Whether what is made goes to a local cloud, which speaks plain HTTP and bills nobody: the stage or account `local`, or
 * another one that a local cloud plays, by `-c cloud=local`.
 */
export const isLocal = (app: App, name: string) => name === "local" || app.node.tryGetContext("cloud") === "local";
