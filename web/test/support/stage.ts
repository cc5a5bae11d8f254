import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** The addresses and IDs of the stage, from the file that `cargo xtask` writes. */
interface Stage {
  apiUrl: string;
  cloudUrl: string;
  region: string;
  userPoolId: string;
  userPoolClientId: string;
  identityPoolId: string;
  stripeUrl: string;
  webUrl: string;
}

const file = process.env.SCRATCHPAD_STAGE;
if (file === undefined) throw new Error("SCRATCHPAD_STAGE is not set. Run these tests with cargo xtask test --e2e");

// The path is relative to the root of the repository.
const root = resolve(import.meta.dirname, "../../..");
export const stage: Stage = JSON.parse(readFileSync(resolve(root, file), "utf8"));

/** The latest code that was mailed to an address. */
export async function codeFor(email: string): Promise<string> {
  const response = await fetch(`${stage.cloudUrl}/_ministack/ses/messages`);
  const { messages } = (await response.json()) as { messages: Record<string, { To: string[]; BodyText: string }[]> };
  const mail = Object.values(messages)
    .flat()
    .findLast(({ To }) => To.includes(email));
  const code = mail?.BodyText.match(/\b\d{6}\b/)?.[0];
  if (code === undefined) throw new Error(`no code was mailed to ${email}`);
  return code;
}

/** Calls the control API of the local Stripe: local/stripe/src/control.rs. */
export async function stripe<T>(method: string, control: string, body?: object): Promise<T> {
  const response = await fetch(`${stage.stripeUrl}/_double/${control}`, {
    method,
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${control}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** The ID of the stage's AWS account, which the local cloud accepts as an access key. */
const ACCOUNT = "555555555555";

/** Sends a POST request to the API of the local Stripe: https://docs.stripe.com/api */
export async function stripeApi<T>(path: string, params: Record<string, string | number | boolean>): Promise<T> {
  const body = new URLSearchParams(Object.entries(params).map(([name, value]) => [name, String(value)]));
  const headers = { Authorization: `Bearer ${await secretKey()}` };
  const response = await fetch(`${stage.stripeUrl}/v1/${path}`, { method: "POST", headers, body });
  if (!response.ok) throw new Error(`POST ${path}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** Reads the stage's secret key of Stripe from the local cloud. */
async function secretKey(): Promise<string> {
  const response = await fetch(stage.cloudUrl, {
    method: "POST",
    headers: {
      "Content-Type": "application/x-amz-json-1.1",
      "X-Amz-Target": "AmazonSSM.GetParameter",
      // The local cloud does not check the signatures of its account's root user.
      Authorization: `AWS4-HMAC-SHA256 Credential=${ACCOUNT}/20260101/${stage.region}/ssm/aws4_request, SignedHeaders=host, Signature=0`,
    },
    body: JSON.stringify({ Name: "/scratchpad/local/stripe-secret-key", WithDecryption: true }),
  });
  const { Parameter } = (await response.json()) as { Parameter?: { Value: string } };
  if (Parameter === undefined) throw new Error("the local cloud has no secret key of Stripe");
  return Parameter.Value;
}
