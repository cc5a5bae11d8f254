import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, requestsTo } from "./support/browser.ts";
import { createAndLogIn, createNotes, notes } from "./support/users.ts";

const text = (page: Page) => page.getByLabel("Note text");
const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true });
const waitForSaved = (page: Page) => page.getByText("Saved.", { exact: true }).waitFor();
const listItems = (page: Page) => page.getByRole("listitem");

/** Creates a note through the API. */
const createNote = (content: string) => notes.createNote({ content, attachment: null }, crypto.randomUUID());

test(
  "a note is created, found in the list, changed and deleted",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.getByRole("link", { name: "Write your first note" }).click();
    await text(page).fill("Groceries\nBread, olives, a lemon.");
    await save(page).click();
    await waitForSaved(page);
    await text(page).fill("Groceries\nBread, olives, two lemons.");
    await save(page).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /two lemons/ }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete note" }).click();
    await page.getByText("You have no notes yet.").waitFor();
  }),
);

test(
  "double clicks create one note, change it once and delete it once",
  inTab(async (page) => {
    await createAndLogIn(page);
    const [created, changed, deleted] = ["POST", "PUT", "DELETE"].map((method) => requestsTo(page, method, "/notes"));
    await page.goto("/notes/new");
    await text(page).fill("Once");
    await save(page).dblclick();
    await waitForSaved(page);
    await text(page).fill("Once more");
    await save(page).dblclick();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete note" }).dblclick();
    await page.getByText("You have no notes yet.").waitFor();
    assert.deepEqual(
      [created, changed, deleted].map((requests) => requests?.length),
      [1, 1, 1],
    );
  }),
);

test(
  "a new note whose response was lost is saved again without a duplicate",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.goto("/notes/new");
    await text(page).fill("Sent twice");
    await page.route(
      (url) => url.pathname.endsWith("/notes"),
      async (route) => {
        if (route.request().method() !== "POST") return route.continue();
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await save(page).click();
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await page.reload();
    await page.getByText("This is your unsaved text.").waitFor();
    await save(page).click();
    await waitForSaved(page);
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /Sent twice/ }).waitFor();
    assert.equal(await listItems(page).count(), 1);
  }),
);

test(
  "a change whose response was lost is saved again without a conflict",
  inTab(async (page) => {
    await createAndLogIn(page);
    const { noteId } = await createNote("Before");
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("After");
    await page.route(
      (url) => url.pathname.endsWith(noteId),
      async (route) => {
        await route.fetch();
        await route.abort();
      },
      { times: 1 },
    );
    await save(page).click();
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await save(page).click();
    await waitForSaved(page);
  }),
);

test(
  "text typed during a save is kept and saved by the next save",
  inTab(async (page) => {
    await createAndLogIn(page);
    const { noteId } = await createNote("One");
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("One, two");
    await page.route(
      (url) => url.pathname.endsWith(noteId),
      async (route) => {
        await text(page).pressSequentially(", three");
        await route.continue();
      },
      { times: 1 },
    );
    await save(page).click();
    await waitForSaved(page);
    assert.equal((await notes.getNote(noteId)).note.content, "One, two");
    assert.equal(await text(page).inputValue(), "One, two, three");
    await page.getByText("Not saved yet").waitFor();
    await save(page).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    assert.equal((await notes.getNote(noteId)).note.content, "One, two, three");
  }),
);

test(
  "a note changed in another tab shows both versions, and the user can keep either",
  inTab(async (page) => {
    await createAndLogIn(page);
    const { noteId } = await createNote("Dinner at seven");
    const other = await page.context().newPage();
    for (const tab of [page, other]) {
      await tab.goto(`/notes/${noteId}`);
      await text(tab).waitFor();
    }
    await text(other).fill("Dinner at eight");
    await save(other).click();
    await waitForSaved(other);
    await text(page).fill("Dinner at nine");
    await save(page).click();
    await page.getByRole("heading", { name: "This note was changed elsewhere" }).waitFor();
    await page.getByText("Dinner at eight").waitFor();
    await page.getByText("Dinner at nine").waitFor();
    await page.getByRole("button", { name: "Keep my version" }).dblclick();
    await waitForSaved(page);
    assert.equal((await notes.getNote(noteId)).note.content, "Dinner at nine");

    await text(other).fill("Dinner at ten");
    await save(other).click();
    await other.getByRole("button", { name: "Use other version" }).click();
    assert.equal(await text(other).inputValue(), "Dinner at nine");
    await text(other).fill("Dinner at nine sharp");
    await save(other).click();
    await waitForSaved(other);
  }),
);

test(
  "a note that was deleted elsewhere can be saved as a new note",
  inTab(async (page) => {
    await createAndLogIn(page);
    const { noteId } = await createNote("Here today");
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("Here tomorrow");
    await notes.deleteNote(noteId);
    await save(page).click();
    await page.getByText("This note was deleted elsewhere.").waitFor();
    await page.getByRole("button", { name: "Save as new note" }).dblclick();
    await waitForSaved(page);
    const { items } = await notes.listNotes(notes.FIRST_NOTES_PAGE);
    assert.deepEqual(
      items.map(({ content }) => content),
      ["Here tomorrow"],
    );
  }),
);

test(
  "going back after deleting a note does not open it",
  inTab(async (page) => {
    await createAndLogIn(page);
    await createNote("To be kept");
    const { noteId } = await createNote("To be deleted");
    await page.goto("/notes");
    await page.getByRole("link", { name: /To be deleted/ }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete note" }).click();
    await page.getByText("Note deleted.").waitFor();
    await page.goBack();
    await page.getByRole("link", { name: /To be kept/ }).waitFor();
    assert.equal(await page.getByRole("link", { name: /To be deleted/ }).count(), 0);
    await page.goto(`/notes/${noteId}`);
    await page.getByText("This note does not exist.").waitFor();
  }),
);

test(
  "the search filters the notes while the user types",
  inTab(async (page) => {
    await createAndLogIn(page);
    await createNotes(12);
    await page.goto("/notes");
    const search = page.getByRole("searchbox", { name: "Search" });
    await search.pressSequentially("NUMBER 5");
    await page.getByText("1 of 12 notes").waitFor();
    assert.equal(await listItems(page).count(), 1);
    await search.fill("nowhere");
    await page.getByText("No match for “nowhere” in 12 notes.").waitFor();
  }),
);

test(
  "HTML in a note is shown as text",
  inTab(async (page) => {
    await createAndLogIn(page);
    const content = '<script>document.title = "run"</script>\n<img src=x onerror="alert(1)"> javascript:alert(1)';
    const { noteId } = await createNote(content);
    await page.goto("/notes");
    await page.getByText("<script>", { exact: false }).waitFor();
    assert.equal(await page.locator("main img, main script, a[href^=javascript]").count(), 0);
    await page.goto(`/notes/${noteId}`);
    await text(page).waitFor();
    assert.equal(await text(page).inputValue(), content);
    assert.notEqual(await page.title(), "run");
  }),
);

test(
  "a note that is too long shows an error, and its text is kept",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.goto("/notes/new");
    await text(page).fill("x".repeat(100_001));
    await page.getByText("100,001 of at most 100,000 characters").waitFor();
    await save(page).click();
    await page.getByRole("alert").getByText("Content must have at most 100000 characters.").waitFor();
    await page.getByRole("alert").getByText("Request ID").waitFor();
    assert.equal((await text(page).inputValue()).length, 100_001);
  }),
);
