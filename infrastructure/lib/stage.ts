import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A stage, with the columns of its row in the root serverless.yml that the stacks use. */
export interface Stage {
  name: string;
  /** The name of its row: its own name, a pattern such as `pr-*`, or `ephemeral`. */
  row: string;
  /** The name of the permissions boundary of all roles of the stage. */
  boundary: string;
  /** The name of its row in the account table. */
  account: string;
  infrastructure: "own" | "dev";
  /** The stage whose data and users it uses: its own name, or the stage that it links to. */
  linked: string;
  protected: boolean;
  allowedOrigin: string;
  /** The e-mail address that receives its alarms. Without one the stage has no alarms and no dashboard. */
  alarms?: string;
  /** Its service level objectives over 30 days, by route group. A stage with alarms has them. */
  objectives?: Record<string, Objective>;
  /** The limit of requests per IP address that its web ACL applies. Undefined if it has no web ACL. */
  webAcl?: { requestsPer5Minutes: number };
  /** The CodeDeploy configuration that shifts traffic to new code. Undefined if traffic is not shifted gradually. */
  traffic?: string;
  /** The domain of the app and of the sender of e-mail, which has a hosted zone. */
  domain?: string;
  /**
   * Whether the name servers of the parent domain delegate the domain to its hosted zone. Only then can
   * certificates of the domain be validated, and SES send e-mail from the domain.
   */
  delegated?: boolean;
  /** The name servers of the domain's hosted zone, known once it is deployed. */
  nameServers?: string[];
  /** The subdomains of other stages that this stage's zone delegates. */
  delegations: Delegation[];
  /** Whether other stages link to its infrastructure. Its users may then call the APIs of those stages too. */
  shared: boolean;
}

/** The service level objective of a route group. */
export interface Objective {
  /** The percentage of requests that must not be faults (5xx responses and crashes). */
  availability: number;
  /** The percentage of requests that must be answered within `within`. */
  latency: number;
  /** Milliseconds. */
  within: number;
}

/** A subdomain with the name servers of its hosted zone. */
export interface Delegation {
  domain: string;
  nameServers: string[];
}

/** A row of the stage table. */
export type StageRow = Omit<Stage, "name" | "row" | "boundary" | "linked" | "delegations" | "shared">;

/** The stage table: the rows by name. */
export type StageTable = Record<string, StageRow>;

/** Reads the tables of the root serverless.yml, with environment variables substituted. */
export function tables(environment: Record<string, string | undefined> = process.env) {
  const text = readFileSync(new URL("../../serverless.yml", import.meta.url), "utf8");
  const substitute = (_: string, name: string, fallback: string) => environment[name] ?? fallback;
  return parse(text.replace(/\$\{env:(\w+), '([^']*)'\}/g, substitute));
}

/** Reads the stage table. */
export const stageTable = (environment?: Record<string, string>): StageTable => tables(environment).stages;

export function stageNamed(name: string, environment?: Record<string, string>): Stage {
  const stages = stageTable(environment);
  const rowName = rowOf(name, Object.keys(stages));
  const row = stages[rowName]!;
  const shared = name === "dev"; // stages without a row may link to it
  const linked = row.infrastructure === "own" ? name : row.infrastructure;
  const allowedOrigin = row.domain && !row.delegated ? "*" : row.allowedOrigin; // the app has another domain
  return {
    ...row,
    name,
    row: rowName,
    boundary: boundaryOf(rowName),
    linked,
    shared,
    allowedOrigin,
    delegations: delegations(row.domain, Object.values(stages)),
  };
}

/**
 * Returns the name of a stage's row: its own row, or else the row whose pattern it matches (`pr-*`), or else `ephemeral`.
 * serverless.resources.cjs and xtask find a stage's row in the same way.
 *
 * @throws if IAM policies for another row would apply to the stage.
 */
export function rowOf(stage: string, rows: string[]): string {
  if (rows.includes(stage)) return stage;
  const [confused] = rows.filter((row) => isConfused(stage, row));
  if (confused)
    throw new Error(`A stage cannot be named ${stage}: IAM policies for stages ${confused} would apply to it`);
  return rows.find((row) => row.endsWith("*") && stage.startsWith(row.slice(0, -1))) ?? "ephemeral";
}

/**
 * Whether an IAM pattern for the resources of a row would match resources of a stage that uses another row. Patterns such as
 * `scratchpad-dev-*` match stages whose name begins with `dev-`, and `scratchpad-*-dev` those whose name ends with `-dev`.
 */
const isConfused = (stage: string, row: string) =>
  row.endsWith("*")
    ? `${stage}-*` === row || stage.includes(`-${row.slice(0, -1)}`)
    : stage.startsWith(`${row}-`) || stage.endsWith(`-${row}`);

/** Returns the pattern that the names of a row's stages match, in which `*` stands for any text. */
export const stagesOf = (row: string) => (row === "ephemeral" ? "*" : row);

/** Returns the name of the permissions boundary of a row's stages: `scratchpad-boundary-pr` for the row `pr-*`. */
export const boundaryOf = (row: string) => `scratchpad-boundary-${row.replace(/-\*$/, "")}`;

/** Returns the rows whose domain is below `domain` and whose name servers are known. */
export function delegations(
  domain: string | undefined,
  rows: Pick<StageRow, "domain" | "nameServers">[],
): Delegation[] {
  return rows.flatMap(({ domain: subdomain, nameServers }) =>
    subdomain?.endsWith(`.${domain}`) && nameServers ? [{ domain: subdomain, nameServers }] : [],
  );
}
