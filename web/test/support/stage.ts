import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** Where the stage is, as `cargo xtask` writes it down. */
interface Stage {
  apiUrl: string;
  cloudUrl: string;
  userPoolId: string;
  userPoolClientId: string;
  identityPoolId: string;
  stripeUrl: string;
  webUrl: string;
}

const file = process.env.SCRATCHPAD_STAGE;
if (file === undefined) throw new Error("SCRATCHPAD_STAGE names no stage: run these by cargo xtask test --e2e");

// A path is meant from the checkout, wherever the tests run.
const checkout = resolve(import.meta.dirname, "../../..");
export const stage: Stage = JSON.parse(readFileSync(resolve(checkout, file), "utf8"));

/** The newest code that was mailed to an address. */
export async function codeFor(email: string): Promise<string> {
  const answer = await fetch(`${stage.cloudUrl}/_ministack/ses/messages`);
  const { messages } = (await answer.json()) as { messages: Record<string, { To: string[]; BodyText: string }[]> };
  const mail = Object.values(messages)
    .flat()
    .findLast(({ To }) => To.includes(email));
  const code = mail?.BodyText.match(/\b\d{6}\b/)?.[0];
  if (code === undefined) throw new Error(`no code was mailed to ${email}`);
  return code;
}

/** What Stripe's double is told, or tells: local/stripe/src/control.rs. */
export async function stripe<T>(verb: string, control: string, body?: object): Promise<T> {
  const answer = await fetch(`${stage.stripeUrl}/_double/${control}`, {
    method: verb,
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${verb} ${control}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
