import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { parse } from "yaml";

const root = resolve(import.meta.dirname, "../..");
export const services = readdirSync(join(root, "services")).filter((name) =>
  existsSync(join(root, "services", name, "serverless.yml")),
);

/** A service's functions, by the names in its manifest. */
export const functionsOf = (service: string): string[] => Object.keys(manifest(service).functions);

const manifest = (service: string) => parse(readFileSync(join(root, "services", service, "serverless.yml"), "utf8"));

/** What osls makes of a service for a stage: a template. It makes it alike whatever is in the functions' zips. */
export async function packaged(service: string, stage: string, environment: Record<string, string> = {}): Promise<any> {
  const folder = join(root, "services", service);
  for (const { package: own } of Object.values<any>(manifest(service).functions)) {
    const zip = resolve(folder, own.artifact.replace("${sls:stage}", stage));
    mkdirSync(dirname(zip), { recursive: true });
    if (!existsSync(zip)) writeFileSync(zip, "");
  }
  const out = mkdtempSync(join(tmpdir(), "scratchpad-"));
  try {
    await promisify(execFile)(join(root, "node_modules/.bin/osls"), ["package", "--stage", stage, "--package", out], {
      cwd: folder,
      env: { ...process.env, NODE_NO_WARNINGS: "1", ...environment },
    });
    return JSON.parse(readFileSync(join(out, "cloudformation-template-update-stack.json"), "utf8"));
  } finally {
    rmSync(out, { recursive: true });
  }
}
