import { readFileSync } from "node:fs";
import type { Exception } from "./permissions.ts";

/**
 * The permissions of handlers that no role needs. A reason without a source follows from the type's properties in the
 * CloudFormation template reference. local/cloud/stack_permissions.py reads the JSON file too.
 */
export const exceptions: Exception[] = JSON.parse(
  readFileSync(new URL("permission-exceptions.json", import.meta.url), "utf8"),
);
