import assert from "node:assert/strict";
import { test } from "node:test";
import { inTab } from "./support/browser.ts";
import { listShows, save, text } from "./support/storage.ts";
import { createAndLogIn, createNotes, notes, storage } from "./support/users.ts";

test(
  "the list shows the storage, and warns when at most 10 notes are left",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page.getByText("Storage: 0 of 100 notes").waitFor();
    await createNotes(89);
    await listShows(page, "Storage: 89 of 100 notes");
    await createNotes(1);
    await listShows(page, "Your storage is almost full: 90 of 100 notes.");
    // part: billing {
    await page.getByRole("link", { name: "Buy storage" }).click();
    await page.getByRole("heading", { name: "Billing" }).waitFor();
    await page.getByText("90 of 100 notes").waitFor();
    await page.getByText("Free: 100 notes. Bought: 0 notes.").waitFor();
    // part: billing }
  }),
);

test(
  "the draft of a full storage survives a reload, and can be saved after a note was deleted",
  inTab(async (page) => {
    await createAndLogIn(page);
    await createNotes(100);
    await page.goto("/notes/new");
    await text(page).fill("Instead of another");
    await save(page).click();
    await page.getByRole("alert").getByText("This note is not saved yet").waitFor();
    await page.reload();
    await page.getByText("This is your unsaved text.").waitFor();
    const { items } = await notes.listNotes(notes.FIRST_NOTES_PAGE);
    await notes.deleteNote(items[0]!.noteId);
    await save(page).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
    assert.equal((await storage.getStorage()).used, 100);
  }),
);
