import { randomUUID } from "node:crypto";
import type { Page } from "playwright-core";
import { loadConfig } from "../../src/config.ts";
import { codeFor, stage } from "./stage.ts";

export interface Credentials {
  email: string;
  password: string;
}

/** Credentials for an account that does not exist yet. */
export const newCredentials = (): Credentials => ({
  email: `ada.${randomUUID().slice(0, 8)}@example.com`,
  password: "Correct-horse-9",
});

// The tests prepare data with the app's own modules, which need their configuration first.
await loadConfig(`${stage.webUrl}/config.json`);
export const auth = await import("../../src/auth.ts");
export const billing = await import("../../src/api/billing.ts"); // part: billing
export const notes = await import("../../src/api/notes.ts");
export const prices = await import("../../src/prices.ts"); // part: billing
export const storage = await import("../../src/api/storage.ts");

/** Creates an account and logs in outside the browser. */
export async function createUser(): Promise<Credentials> {
  const credentials = newCredentials();
  await auth.signUp(credentials.email, credentials.password);
  await auth.confirmEmail(credentials.email, await codeFor(credentials.email));
  await auth.logIn(credentials.email, credentials.password);
  return credentials;
}

/** Logs in in the tab and waits for the list of notes. */
export async function logIn(page: Page, { email, password }: Credentials): Promise<void> {
  await page.goto("/log-in");
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).dblclick();
  await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
}

/** Creates an account and logs in, also in the tab. */
export async function createAndLogIn(page: Page): Promise<Credentials> {
  const credentials = await createUser();
  await logIn(page, credentials);
  return credentials;
}

/** How many notes `createNotes` creates at once. */
const CONCURRENCY = 8;

/** Creates notes of the current user outside the browser. */
export async function createNotes(count: number): Promise<void> {
  let created = 0;
  const createRest = async () => {
    while (created < count) {
      created += 1;
      await notes.createNote({ content: `Note number ${created}`, attachment: null }, crypto.randomUUID());
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, createRest));
}
