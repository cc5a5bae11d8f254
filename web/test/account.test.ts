import assert from "node:assert/strict";
import { test } from "node:test";
import { inTab } from "./support/browser.ts";
import { codeFor } from "./support/stage.ts";
import { auth, createAndLogIn, createUser, logIn, newCredentials } from "./support/users.ts";

test(
  "a new user signs up, confirms the e-mail address and is logged in",
  inTab(async (page) => {
    const { email, password } = newCredentials();
    await page.goto("/");
    await page.getByRole("link", { name: "Get started" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).dblclick();
    await page.getByLabel("Code").fill(await waitForCode(email, () => page.getByLabel("Code").waitFor()));
    await page.getByRole("button", { name: "Confirm" }).dblclick();
    await page.getByText("You have no notes yet.").waitFor();
  }),
);

test(
  "logging in with an unconfirmed address asks for the code and can send a new one",
  inTab(async (page) => {
    const { email, password } = newCredentials();
    await auth.signUp(email, password);
    await page.goto("/log-in");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("button", { name: "Send a new code" }).click();
    await page.getByText(`We sent a new code to ${email}.`).waitFor();
    await page.getByLabel("Code").fill(await codeFor(email));
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByText("You have no notes yet.").waitFor();
  }),
);

test(
  "a wrong password shows an error, and the right one then logs in",
  inTab(async (page) => {
    const { email, password } = await createUser();
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
  "signing up with an address that already has an account shows an error",
  inTab(async (page) => {
    const { email, password } = await createUser();
    await page.goto("/sign-up");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByText("This e-mail address already has an account.").waitFor();
  }),
);

test(
  "a weak password is rejected in the browser",
  inTab(async (page) => {
    await page.goto("/sign-up");
    await page.getByLabel("E-mail").fill(newCredentials().email);
    await page.getByLabel("Password").fill("password");
    await page.getByRole("button", { name: "Sign up" }).click();
    assert.equal(await page.locator("input:invalid").count(), 1);
  }),
);

test(
  "a user resets a forgotten password with a code",
  inTab(async (page) => {
    const { email } = await createUser();
    await page.goto("/log-in");
    await page.getByRole("link", { name: "Forgot your password?" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByRole("button", { name: "Send code" }).dblclick();
    await page.getByLabel("Code").fill(await waitForCode(email, () => page.getByLabel("Code").waitFor()));
    await page.getByLabel("New password").fill("Another-horse-10");
    await page.getByRole("button", { name: "Set password" }).dblclick();
    await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
  }),
);

test(
  "a user changes the password and logs in with the new one",
  inTab(async (page) => {
    const user = await createAndLogIn(page);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByLabel("Current password").fill("Wrong-horse-9");
    await page.getByLabel("New password").fill("Another-horse-10");
    await page.getByRole("button", { name: "Change password" }).click();
    await page.getByText("Your current password is wrong.").waitFor();
    await page.getByLabel("Current password").fill(user.password);
    await page.getByRole("button", { name: "Change password" }).dblclick();
    await page.getByText("Password changed.").waitFor();
    await page.getByRole("button", { name: "Log out", exact: true }).click();
    await page.getByRole("link", { name: "Get started" }).waitFor();
    await logIn(page, { ...user, password: "Another-horse-10" });
  }),
);

test(
  "after logging out everywhere, a page asks for a log-in and then opens",
  inTab(async (page) => {
    const user = await createAndLogIn(page);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Log out everywhere" }).click();
    await page.getByRole("link", { name: "Get started" }).waitFor();
    await page.goto("/settings?from=mail");
    await page.getByLabel("E-mail").fill(user.email);
    await page.getByLabel("Password").fill(user.password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Settings", exact: true }).waitFor();
    assert.ok(page.url().endsWith("/settings?from=mail"), page.url());
  }),
);

test(
  "the log-in page does not redirect to another site",
  inTab(async (page) => {
    const { email, password } = await createUser();
    await page.goto("/log-in?to=//example.com");
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("heading", { name: "Notes", exact: true }).waitFor();
  }),
);

/** Waits until the page says that the code was sent, and returns the code. */
async function waitForCode(email: string, codeSent: () => Promise<void>): Promise<string> {
  await codeSent();
  return codeFor(email);
}
