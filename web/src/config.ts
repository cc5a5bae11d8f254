/** The stage's configuration, read from config.json next to index.html. One build serves every stage. */
interface Config {
  stage: string;
  apiUrl: string;
  region: string;
  userPoolId: string;
  userPoolClientId: string;
  identityPoolId: string;
  /** The endpoint of Cognito, if it is not AWS's own. */
  cognitoEndpoint?: string;
  // part: billing {
  /** The URL of Stripe.js. */
  stripeScript: string;
  stripePublishableKey: string;
  // part: billing }
}

const REQUIRED = [
  "stage",
  "apiUrl",
  "region",
  "userPoolId",
  "userPoolClientId",
  "identityPoolId",
  "stripeScript", // part: billing
  "stripePublishableKey", // part: billing
] as const satisfies (keyof Config)[];

const URLS = [
  "apiUrl",
  "stripeScript", // part: billing
  "cognitoEndpoint",
];

/** Set by `loadConfig` before anything is rendered. */
export let config: Config;

/** Why the app cannot start. The message is for the developer who deployed it. */
class ConfigError extends Error {}

export async function loadConfig(url = "/config.json"): Promise<void> {
  config = parse(await fetchJson(url));
}

async function fetchJson(url: string): Promise<unknown> {
  const response = await fetch(url).catch(() => {
    throw new ConfigError(`${url} could not be fetched.`);
  });
  if (!response.ok) throw new ConfigError(`${url} is missing (status ${response.status}).`);
  // If config.json is missing, a server may send index.html with status 200.
  return response.json().catch(() => {
    throw new ConfigError(`${url} is missing or is not JSON.`);
  });
}

function parse(json: unknown): Config {
  if (typeof json !== "object" || json === null) throw new ConfigError("config.json is not an object.");
  const values = new Map<string, unknown>(Object.entries(json));
  const missing = REQUIRED.filter((name) => typeof values.get(name) !== "string" || values.get(name) === "");
  if (missing.length > 0) throw new ConfigError(`config.json has no value for ${missing.join(", ")}.`);
  for (const name of URLS) {
    const url = values.get(name);
    if (url !== undefined && !URL.canParse(String(url))) {
      throw new ConfigError(`config.json: ${name} is not a URL.`);
    }
  }
  return json as Config;
}
