import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, isApi } from "./support/browser.ts";
import { newMember, notes } from "./support/people.ts";
import { stage } from "./support/stage.ts";

const text = (page: Page) => page.getByLabel("Text of the note");
const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true }).click();

/** What Cognito and AWS answer once a session is over: https://docs.aws.amazon.com/cognito-user-identity-pools/ */
async function endSession(page: Page): Promise<void> {
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

const logInAgain = (page: Page) => page.getByRole("dialog", { name: "Your session has ended" });

test(
  "a session that ends in the middle of an edit loses nothing: they log in where they are, and it is saved",
  inTab(async (page) => {
    const { email, password } = await newMember(page);
    const { noteId } = await notes.createNote({ content: "Begun", attachment: null }, crypto.randomUUID());
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("Begun, and gone on with");
    await endSession(page);
    await save(page);
    await logInAgain(page).getByLabel("Password").fill("Wrong-horse-9");
    await logInAgain(page).getByRole("button", { name: "Log in" }).click();
    await logInAgain(page).getByText("The e-mail address or the password is wrong.").waitFor();
    assert.equal(await logInAgain(page).getByLabel("E-mail").inputValue(), email);
    await page.unrouteAll();
    await logInAgain(page).getByLabel("Password").fill(password);
    await logInAgain(page).getByRole("button", { name: "Log in" }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
    assert.equal((await notes.note(noteId)).note.content, "Begun, and gone on with");
  }),
);

test(
  "who does not log in again keeps the text, also over a reload and another log-in",
  inTab(async (page) => {
    const { email, password } = await newMember(page);
    await page.goto("/notes/new");
    await text(page).fill("Half a thought");
    await endSession(page);
    await save(page);
    await logInAgain(page).getByRole("button", { name: "Not now" }).click();
    await page.getByText("You are signed out.").waitFor();
    assert.equal(await text(page).inputValue(), "Half a thought");
    await page.unrouteAll();
    await page.reload();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByText("This is what you had typed and not saved.").waitFor();
    assert.equal(await text(page).inputValue(), "Half a thought");
  }),
);

test(
  "with the API down the app says so, and goes on once it is back",
  inTab(async (page) => {
    await newMember(page);
    await page.route(isApi, (route) => route.abort("connectionrefused"));
    await page.goto("/notes");
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await page.unrouteAll();
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("Nothing written yet.").waitFor();
  }),
);

test(
  "a fault of the server is said in plain words, with the id that its log has it under",
  inTab(async (page) => {
    await newMember(page);
    await page.goto("/notes/new");
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
  "who is offline is told before they try",
  inTab(async (page) => {
    await newMember(page);
    await page.goto("/notes/new");
    await text(page).fill("On the train");
    await page.context().setOffline(true);
    await page.getByText("What you type is kept").waitFor();
    await save(page);
    await page.getByRole("alert").getByText("You are offline.").waitFor();
    await page.context().setOffline(false);
    await save(page);
    await page.getByText("Saved.", { exact: true }).waitFor();
  }),
);

test(
  "a configuration that lacks something is said by name",
  inTab(async (page) => {
    await page.route("**/config.json", (route) => route.fulfill({ json: { stage: "local", apiUrl: stage.apiUrl } }));
    await page.goto("/");
    await page.getByText("config.json lacks region, userPoolId").waitFor();
    await page.unrouteAll();
    await page.route("**/config.json", (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
    await page.goto("/");
    await page.getByText("/config.json is missing, or not JSON.").waitFor();
  }),
);
