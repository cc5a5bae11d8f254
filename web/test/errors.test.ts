import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, isApi } from "./support/browser.ts";
import { eventually } from "./support/eventually.ts";
import { stage } from "./support/stage.ts";
import { createAndLogIn, notes } from "./support/users.ts";

/** Opens the form for a new note, and waits until it has loaded the storage. */
async function openNewNote(page: Page): Promise<void> {
  await page.goto("/notes/new");
  const loaded = () => performance.getEntriesByType("resource").some(({ name }) => name.endsWith("/storage"));
  await eventually(() => page.evaluate(loaded), Boolean);
}

const text = (page: Page) => page.getByLabel("Note text");
const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true }).click();

/** Makes the API and Cognito respond as they do after a session has expired. */
async function expireSession(page: Page): Promise<void> {
  const cors = { "access-control-allow-origin": "*" };
  await page.route(isApi, (route) =>
    route.fulfill({
      status: 403,
      headers: cors,
      json: { message: "The security token included in the request is expired" },
    }),
  );
  await page.route(`${stage.cloudUrl}/`, (route) => {
    const body = route.request().postDataJSON() as { AuthFlow?: string; RefreshToken?: string };
    if (body.AuthFlow !== "REFRESH_TOKEN_AUTH" && body.RefreshToken === undefined) return route.fallback();
    return route.fulfill({
      status: 400,
      headers: {
        ...cors,
        "access-control-expose-headers": "x-amzn-ErrorType",
        "x-amzn-ErrorType": "NotAuthorizedException",
      },
      json: { __type: "NotAuthorizedException", message: "Refresh Token has expired" },
    });
  });
}

const logInDialog = (page: Page) => page.getByRole("dialog", { name: "Your session has ended" });

test(
  "after a session expires during an edit, the user logs in on the same page and the edit is saved",
  inTab(async (page) => {
    const { email, password } = await createAndLogIn(page);
    const { noteId } = await notes.createNote({ content: "First", attachment: null }, crypto.randomUUID());
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("First, then second");
    await expireSession(page);
    await save(page);
    await logInDialog(page).getByLabel("Password").fill("Wrong-horse-9");
    await logInDialog(page).getByRole("button", { name: "Log in" }).click();
    await logInDialog(page).getByText("The e-mail address or the password is wrong.").waitFor();
    assert.equal(await logInDialog(page).getByLabel("E-mail").inputValue(), email);
    await page.unrouteAll();
    await logInDialog(page).getByLabel("Password").fill(password);
    await logInDialog(page).getByRole("button", { name: "Log in" }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
    assert.equal((await notes.getNote(noteId)).note.content, "First, then second");
  }),
);

test(
  "the text is kept if the user declines to log in again, also after a reload",
  inTab(async (page) => {
    const { email, password } = await createAndLogIn(page);
    await openNewNote(page);
    await text(page).fill("Half a thought");
    await expireSession(page);
    await save(page);
    await logInDialog(page).getByRole("button", { name: "Not now" }).click();
    await page.getByText("You are logged out.").waitFor();
    assert.equal(await text(page).inputValue(), "Half a thought");
    await page.unrouteAll();
    await page.reload();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("This is your unsaved text.").waitFor();
    assert.equal(await text(page).inputValue(), "Half a thought");
  }),
);

test(
  "while the API is down the app shows an error, and a retry works",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.route(isApi, (route) => route.abort("connectionrefused"));
    await page.goto("/notes");
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await page.unrouteAll();
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("You have no notes yet.").waitFor();
  }),
);

test(
  "a server error shows a plain message and the request ID",
  inTab(async (page) => {
    await createAndLogIn(page);
    await openNewNote(page);
    await text(page).fill("Nevertheless");
    await page.route(
      isApi,
      (route) =>
        route.fulfill({
          status: 500,
          contentType: "application/problem+json",
          headers: { "access-control-allow-origin": "*" },
          json: { type: "about:blank", title: "Internal Server Error", status: 500, requestId: "6f1d2c3b" },
        }),
      { times: 1 },
    );
    await save(page);
    await page.getByRole("alert").getByText("Something went wrong on our side.").waitFor();
    await page.getByRole("alert").getByText("6f1d2c3b").waitFor();
    await save(page);
    await page.getByText("Saved.", { exact: true }).waitFor();
  }),
);

test(
  "the app shows that it is offline before the user saves",
  inTab(async (page) => {
    await createAndLogIn(page);
    await openNewNote(page);
    await text(page).fill("On the train");
    await page.context().setOffline(true);
    await page.getByText("Your text is kept").waitFor();
    await save(page);
    await page.getByRole("alert").getByText("You are offline.").waitFor();
    await page.context().setOffline(false);
    await save(page);
    await page.getByText("Saved.", { exact: true }).waitFor();
  }),
);

test(
  "missing configuration values are listed by name",
  inTab(async (page) => {
    await page.route("**/config.json", (route) => route.fulfill({ json: { stage: "local", apiUrl: stage.apiUrl } }));
    await page.goto("/");
    await page.getByText("config.json has no value for region, userPoolId").waitFor();
    await page.unrouteAll();
    await page.route("**/config.json", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.goto("/");
    await page.getByText("/config.json is missing or is not JSON.").waitFor();
  }),
);
