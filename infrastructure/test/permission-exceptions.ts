import { readFileSync } from "node:fs";
import type { Exception } from "./permissions.ts";

/**
 * The permissions of handlers that no role needs. local/cloud/launch.py reads the file too. Where a reason names no other
 * source, it follows from the type's properties in the CloudFormation template reference.
 */
export const exceptions: Exception[] = JSON.parse(
  readFileSync(new URL("permission-exceptions.json", import.meta.url), "utf8"),
);
