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
  stripeUrl: string; // part: billing
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
