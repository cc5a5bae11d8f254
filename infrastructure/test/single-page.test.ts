import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { stageNamed } from "../lib/stage.ts";
import { WebStack } from "../lib/web-stack.ts";

const web = Template.fromStack(new WebStack(new App({ builtinCloudFormationValidation: false }), stageNamed("dev")));
const [{ Properties: singlePage }] = Object.values(web.findResources("AWS::CloudFront::Function")) as [any];

/** Runs the function in njs, the engine of CloudFront Functions, for each URI. Returns the URIs that it requests from S3. */
function runInNjs(uris: string[]): string[] {
  const script = `${singlePage.FunctionCode}
var requested = ${JSON.stringify(uris)}.map(function (uri) {
  return handler({ version: "1.0", context: { eventType: "viewer-request" }, request: { method: "GET", uri: uri } }).uri;
});
console.log(JSON.stringify(requested));`;
  const { error, status, stdout, stderr } = spawnSync("njs", ["-"], { input: script, encoding: "utf8" });
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ENOENT")
    assert.fail("njs is needed for this test (not found). Install njs with your system's package manager.");
  assert.ok(!error && status === 0, `njs cannot run the function: ${error ?? stderr + stdout}`);
  return JSON.parse(stdout);
}

test("CloudFront serves index.html for the pages of the app, and other files by their name", () => {
  const files = ["/index.html", "/config.json", "/assets/index-BxyZ12_3.js", "/a.b/c.d", "/.well-known/security.txt"];
  const pages = ["/", "/notes", "/notes/", "/notes/2026-01-01", "/a.b/c", "/a%2Eb", ""];
  assert.deepEqual(runInNjs([...files, ...pages]), [...files, ...pages.map(() => "/index.html")]);
});
