import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";
import { readServices } from "../lib/manifests.ts";

const root = resolve(import.meta.dirname, "../..");
/** The names of all services that have functions. */
export const services = readServices().map(({ name }) => name);

/** The names of a service's functions, from its manifest. */
export const functionsOf = (service: string): string[] => Object.keys(manifest(service).functions);

const manifest = (service: string) => parse(readFileSync(join(root, "services", service, "serverless.yml"), "utf8"));

/** Packages a service for a stage with osls, and returns the template. It does not depend on the content of the zips. */
export async function packageService(
  service: string,
  stage: string,
  environment: Record<string, string> = {},
): Promise<any> {
  const directory = join(root, "services", service);
  for (const { package: functionPackage } of Object.values<any>(manifest(service).functions)) {
    const zip = resolve(directory, functionPackage.artifact.replace("${sls:stage}", stage));
    mkdirSync(dirname(zip), { recursive: true });
    if (!existsSync(zip)) writeFileSync(zip, "");
  }
  const out = mkdtempSync(join(tmpdir(), "scratchpad-"));
  try {
    await promisify(execFile)(join(root, "node_modules/.bin/osls"), ["package", "--stage", stage, "--package", out], {
      cwd: directory,
      env: { ...process.env, NODE_NO_WARNINGS: "1", ...environment },
    });
    return JSON.parse(readFileSync(join(out, "cloudformation-template-update-stack.json"), "utf8"));
  } finally {
    rmSync(out, { recursive: true });
  }
}
