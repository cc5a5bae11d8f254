import { randomUUID } from "node:crypto";
import type { Page } from "playwright-core";
import { loadConfig } from "../../src/config.ts";
import { codeFor, stage } from "./stage.ts";

export interface Person {
  email: string;
  password: string;
}

/** Somebody whom the stage does not know yet. */
export const stranger = (): Person => ({
  email: `ada.${randomUUID().slice(0, 8)}@example.com`,
  password: "Correct-horse-9",
});

// What a test begins with is made by the app's own modules, which want their configuration first.
await loadConfig(`${stage.webUrl}/config.json`);
export const auth = await import("../../src/auth.ts");
export const billing = await import("../../src/api/billing.ts");
export const notes = await import("../../src/api/notes.ts");

/** Somebody with an account, signed in here, outside the browser. */
export async function member(): Promise<Person> {
  const person = stranger();
  await auth.signUp(person.email, person.password);
  await auth.confirmEmail(person.email, await codeFor(person.email));
  await auth.logIn(person.email, person.password);
  return person;
}

/** Has a person log in, and waits for their notes. */
export async function logIn(page: Page, { email, password }: Person): Promise<void> {
  await page.goto("/log-in");
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).dblclick();
  await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
}

/** A tab's person: new, and logged in. */
export async function newMember(page: Page): Promise<Person> {
  const person = await member();
  await logIn(page, person);
  return person;
}
