/** What a stage tells the app, in config.json beside index.html: one build serves every stage. */
interface Config {
  stage: string;
  apiUrl: string;
  region: string;
  userPoolId: string;
  userPoolClientId: string;
  identityPoolId: string;
  /** Where Cognito is, if not at AWS. */
  cognitoEndpoint?: string;
  /** The address of Stripe.js. */
  stripeScript: string;
  stripePublishableKey: string;
}

const REQUIRED = [
  "stage",
  "apiUrl",
  "region",
  "userPoolId",
  "userPoolClientId",
  "identityPoolId",
  "stripeScript",
  "stripePublishableKey",
] as const satisfies (keyof Config)[];

/** The stage's own, once `loadConfig` is done; nothing is shown before. */
export let config: Config;

/** Why the app cannot start, for whoever deployed it. */
class ConfigError extends Error {}

export async function loadConfig(address = "/config.json"): Promise<void> {
  config = read(await fetchJson(address));
}

async function fetchJson(address: string): Promise<unknown> {
  const response = await fetch(address).catch(() => {
    throw new ConfigError(`${address} could not be fetched.`);
  });
  if (!response.ok) throw new ConfigError(`${address} is missing (status ${response.status}).`);
  // A server that answers unknown addresses with index.html answers 200.
  return response.json().catch(() => {
    throw new ConfigError(`${address} is missing, or not JSON.`);
  });
}

function read(json: unknown): Config {
  if (typeof json !== "object" || json === null) throw new ConfigError("config.json is not an object.");
  const given = new Map<string, unknown>(Object.entries(json));
  const missing = REQUIRED.filter((name) => typeof given.get(name) !== "string" || given.get(name) === "");
  if (missing.length > 0) throw new ConfigError(`config.json lacks ${missing.join(", ")}.`);
  for (const name of ["apiUrl", "stripeScript", "cognitoEndpoint"]) {
    const address = given.get(name);
    if (address !== undefined && !URL.canParse(String(address))) {
      throw new ConfigError(`config.json: ${name} is not an address.`);
    }
  }
  return json as Config;
}
