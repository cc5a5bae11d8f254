import assert from "node:assert/strict";
import { test } from "node:test";
import { inTab } from "./support/browser.ts";
import { auth, logIn, member, newMember, stranger } from "./support/people.ts";
import { codeFor } from "./support/stage.ts";

test(
  "a person who signs up confirms the address and is in",
  inTab(async (page) => {
    const { email, password } = stranger();
    await page.goto("/");
    await page.getByRole("link", { name: "Begin" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).dblclick();
    await page.getByLabel("Code").fill(await codeSeen(email, () => page.getByLabel("Code").waitFor()));
    await page.getByRole("button", { name: "Confirm" }).dblclick();
    await page.getByText("Nothing written yet.").waitFor();
  }),
);

test(
  "who logs in with an address that is not confirmed is asked for the code, and can have a new one",
  inTab(async (page) => {
    const { email, password } = stranger();
    await auth.signUp(email, password);
    await page.goto("/log-in");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name: "Send a new code" }).click();
    await page.getByText(`A new code is on its way to ${email}.`).waitFor();
    await page.getByLabel("Code").fill(await codeFor(email));
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByText("Nothing written yet.").waitFor();
  }),
);

test(
  "a wrong password is said to be wrong, and the right one then is taken",
  inTab(async (page) => {
    const { email, password } = await member();
    await page.goto("/log-in");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill("Wrong-horse-9");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").getByText("The e-mail address or the password is wrong.").waitFor();
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
  }),
);

test(
  "who signs up with an address that has an account is told so",
  inTab(async (page) => {
    const { email, password } = await member();
    await page.goto("/sign-up");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByText("There is an account with this e-mail address.").waitFor();
  }),
);

test(
  "a weak password is not sent",
  inTab(async (page) => {
    await page.goto("/sign-up");
    await page.getByLabel("E-mail").fill(stranger().email);
    await page.getByLabel("Password").fill("password");
    await page.getByRole("button", { name: "Sign up" }).click();
    assert.equal(await page.locator("input:invalid").count(), 1);
  }),
);

test(
  "a forgotten password is replaced by a code",
  inTab(async (page) => {
    const { email } = await member();
    await page.goto("/log-in");
    await page.getByRole("link", { name: "Forgotten your password?" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByRole("button", { name: "Send the code" }).dblclick();
    await page.getByLabel("Code").fill(await codeSeen(email, () => page.getByLabel("Code").waitFor()));
    await page.getByLabel("New password").fill("Another-horse-10");
    await page.getByRole("button", { name: "Set it" }).dblclick();
    await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
  }),
);

test(
  "a changed password is the one that logs in",
  inTab(async (page) => {
    const person = await newMember(page);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByLabel("Present password").fill("Wrong-horse-9");
    await page.getByLabel("New password").fill("Another-horse-10");
    await page.getByRole("button", { name: "Change password" }).click();
    await page.getByText("Your present password is another one.").waitFor();
    await page.getByLabel("Present password").fill(person.password);
    await page.getByRole("button", { name: "Change password" }).dblclick();
    await page.getByText("Your password is changed.").waitFor();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByRole("link", { name: "Begin" }).waitFor();
    await logIn(page, { ...person, password: "Another-horse-10" });
  }),
);

test(
  "who signed out everywhere sees no notes, and comes back to where they wanted to be",
  inTab(async (page) => {
    const person = await newMember(page);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Sign out everywhere" }).click();
    await page.getByRole("link", { name: "Begin" }).waitFor();
    await page.goto("/billing");
    await page.getByLabel("E-mail").fill(person.email);
    await page.getByLabel("Password").fill(person.password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Billing", exact: true }).waitFor();
  }),
);

test(
  "a link cannot lead elsewhere by way of the log-in",
  inTab(async (page) => {
    const { email, password } = await member();
    await page.goto("/log-in?to=//example.com");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
  }),
);

/** The code, once the page says that it was sent. */
async function codeSeen(email: string, seen: () => Promise<void>): Promise<string> {
  await seen();
  return codeFor(email);
}
