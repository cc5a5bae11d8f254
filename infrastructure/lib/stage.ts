import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A row of the stage table in the root serverless.yml, with the columns that infrastructure goes by. */
export interface Stage {
  name: string;
  infrastructure: "own" | "dev";
  protected: boolean;
  allowedOrigin: string;
  /** Where people find the app, if not at CloudFront's own name. */
  domain?: string;
  /** Other stages link to this one's infrastructure, so its users may call their APIs as well. */
  shared: boolean;
}

const stages: Record<string, Omit<Stage, "name" | "shared">> = parse(
  readFileSync(new URL("../../serverless.yml", import.meta.url), "utf8"),
).stages;

export function stageNamed(name: string): Stage {
  const shared = Object.values(stages).some((row) => row.infrastructure === name);
  return { ...(stages[name] ?? stages["ephemeral"]!), name, shared };
}
