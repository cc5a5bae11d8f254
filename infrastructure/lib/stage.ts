import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A row of the stage table in the root serverless.yml, with the columns that infrastructure goes by. */
export interface Stage {
  name: string;
  infrastructure: "own" | "dev";
  /** The stage whose data and people it works with: its own name, or the one that it links to. */
  linked: string;
  protected: boolean;
  allowedOrigin: string;
  /** The e-mail address of whoever is told of its functions' alarms, if it has some. */
  alarms?: string;
  /** How calls come to new code, if not all at once. */
  traffic?: string;
  /** Where people find the app, if not at CloudFront's own name. */
  domain?: string;
  /** The name servers of that domain's zone, once it is deployed. */
  nameServers?: string[];
  /** The domains of other stages that are below this one's, and their name servers. */
  delegations: Delegation[];
  /** Other stages link to this one's infrastructure, so its users may call their APIs as well. */
  shared: boolean;
}

export interface Delegation {
  domain: string;
  nameServers: string[];
}

type Row = Omit<Stage, "name" | "linked" | "delegations" | "shared">;

/** The tables of the root serverless.yml, with what they take from the environment. */
export function tables(environment: Record<string, string | undefined> = process.env) {
  const text = readFileSync(new URL("../../serverless.yml", import.meta.url), "utf8");
  const set = (_: string, name: string, otherwise: string) => environment[name] ?? otherwise;
  return parse(text.replace(/\$\{env:(\w+), '([^']*)'\}/g, set));
}

export function stageNamed(name: string, environment?: Record<string, string>): Stage {
  const stages: Record<string, Row> = tables(environment).stages;
  const row = stages[name] ?? stages.ephemeral!;
  const shared = name === "dev"; // any stage without a row may link to it
  const linked = row.infrastructure === "own" ? name : row.infrastructure;
  return { ...row, name, linked, shared, delegations: delegations(row.domain, Object.values(stages)) };
}

/** Which of these are below `domain`, and known well enough to be delegated. */
export function delegations(domain: string | undefined, rows: Pick<Stage, "domain" | "nameServers">[]): Delegation[] {
  return rows.flatMap(({ domain: below, nameServers }) =>
    below?.endsWith(`.${domain}`) && nameServers ? [{ domain: below, nameServers }] : [],
  );
}
