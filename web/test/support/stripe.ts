import { stage } from "./stage.ts";

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
