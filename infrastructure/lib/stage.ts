import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A row of the stage table in the root serverless.yml, with the columns that the stacks use. */
export interface Stage {
  name: string;
  infrastructure: "own" | "dev";
  /** The stage whose data and users it uses: its own name, or the stage that it links to. */
  linked: string;
  protected: boolean;
  allowedOrigin: string;
  /** The e-mail address that receives its alarms. Without one the stage has no alarms. */
  alarms?: string;
  /** The CodeDeploy configuration that shifts traffic to new code. Undefined if traffic is not shifted gradually. */
  traffic?: string;
  /** The domain of the app. Without one, or until it is delegated, the app has CloudFront's domain. */
  domain?: string;
  /**
   * Whether the name servers of the parent domain delegate the domain to its hosted zone. Only then can the certificate of the
   * app be validated, and SES send e-mail from the domain.
   */
  delegated?: boolean;
  /** The name servers of the domain's hosted zone, known once it is deployed. */
  nameServers?: string[];
  /** The subdomains of other stages that this stage's zone delegates. */
  delegations: Delegation[];
  /** Whether other stages link to its infrastructure. Its users may then call the APIs of those stages too. */
  shared: boolean;
}

/** A subdomain with the name servers of its hosted zone. */
export interface Delegation {
  domain: string;
  nameServers: string[];
}

type Row = Omit<Stage, "name" | "linked" | "delegations" | "shared">;

/** Reads the tables of the root serverless.yml, with environment variables substituted. */
export function tables(environment: Record<string, string | undefined> = process.env) {
  const text = readFileSync(new URL("../../serverless.yml", import.meta.url), "utf8");
  const substitute = (_: string, name: string, fallback: string) => environment[name] ?? fallback;
  return parse(text.replace(/\$\{env:(\w+), '([^']*)'\}/g, substitute));
}

export function stageNamed(name: string, environment?: Record<string, string>): Stage {
  const stages: Record<string, Row> = tables(environment).stages;
  const row = stages[name] ?? stages.ephemeral!;
  const shared = name === "dev"; // stages without a row may link to it
  const linked = row.infrastructure === "own" ? name : row.infrastructure;
  const allowedOrigin = row.domain && !row.delegated ? "*" : row.allowedOrigin; // CloudFront's domain is not known here
  return { ...row, name, linked, shared, allowedOrigin, delegations: delegations(row.domain, Object.values(stages)) };
}

/** Returns the rows whose domain is below `domain` and whose name servers are known. */
export function delegations(domain: string | undefined, rows: Pick<Stage, "domain" | "nameServers">[]): Delegation[] {
  return rows.flatMap(({ domain: subdomain, nameServers }) =>
    subdomain?.endsWith(`.${domain}`) && nameServers ? [{ domain: subdomain, nameServers }] : [],
  );
}
