import type { App } from "aws-cdk-lib";

/**
 * Whether the stacks are deployed to a local cloud, which supports only HTTP and has no costs. This is the stage or account
 * `local`, or another one that a local cloud emulates (`-c cloud=local`).
 */
export const isLocal = (app: App, name: string) => name === "local" || app.node.tryGetContext("cloud") === "local";
