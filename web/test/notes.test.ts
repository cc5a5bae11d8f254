import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, requestsTo } from "./support/browser.ts";
import { newMember, notes } from "./support/people.ts";

const text = (page: Page) => page.getByLabel("Text of the note");
const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true });
const saved = (page: Page) => page.getByText("Saved.", { exact: true }).waitFor();
const itemsOf = (page: Page) => page.getByRole("listitem");

/** A note that is there before the test begins. */
const given = (content: string) => notes.createNote({ content, attachment: null }, crypto.randomUUID());

/** Whoever is signed in has so many notes, the last one made being the newest. */
async function givenMany(count: number): Promise<void> {
  for (let made = 1; made <= count; made += 1) await given(`Note number ${made}`);
}

test(
  "a note is written, found in the list, changed and deleted",
  inTab(async (page) => {
    await newMember(page);
    await page.getByRole("link", { name: "Write your first note" }).click();
    await text(page).fill("Groceries\nBread, olives, a lemon.");
    await save(page).click();
    await saved(page);
    await text(page).fill("Groceries\nBread, olives, two lemons.");
    await save(page).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /two lemons/ }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("Nothing written yet.").waitFor();
  }),
);

test(
  "two clicks on each button make one note, change it once and delete it once",
  inTab(async (page) => {
    await newMember(page);
    const [made, changed, deleted] = ["POST", "PUT", "DELETE"].map((verb) => requestsTo(page, verb, "/notes"));
    await page.goto("/notes/new");
    await text(page).fill("Once");
    await save(page).dblclick();
    await saved(page);
    await text(page).fill("Once more");
    await save(page).dblclick();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete it" }).dblclick();
    await page.getByText("Nothing written yet.").waitFor();
    assert.deepEqual(
      [made, changed, deleted].map((sent) => sent?.length),
      [1, 1, 1],
    );
  }),
);

test(
  "a note whose answer was lost is saved again, and there is one of it",
  inTab(async (page) => {
    await newMember(page);
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
    await page.getByText("This is what you had typed and not saved.").waitFor();
    await save(page).click();
    await saved(page);
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /Sent twice/ }).waitFor();
    assert.equal(await itemsOf(page).count(), 1);
  }),
);

test(
  "a change whose answer was lost is not in its own way",
  inTab(async (page) => {
    await newMember(page);
    const { noteId } = await given("Before");
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
    await saved(page);
  }),
);

test(
  "what is typed while a change is being saved stays, and is saved next",
  inTab(async (page) => {
    await newMember(page);
    const { noteId } = await given("One");
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
    await saved(page);
    assert.equal((await notes.note(noteId)).note.content, "One, two");
    assert.equal(await text(page).inputValue(), "One, two, three");
    await page.getByText("Not saved yet").waitFor();
    await save(page).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    assert.equal((await notes.note(noteId)).note.content, "One, two, three");
  }),
);

test(
  "a note that was changed in another tab shows both versions, and either can stay",
  inTab(async (page) => {
    await newMember(page);
    const { noteId } = await given("Dinner at seven");
    const other = await page.context().newPage();
    for (const tab of [page, other]) {
      await tab.goto(`/notes/${noteId}`);
      await text(tab).waitFor();
    }
    await text(other).fill("Dinner at eight");
    await save(other).click();
    await saved(other);
    await text(page).fill("Dinner at nine");
    await save(page).click();
    await page.getByRole("heading", { name: "This note was changed elsewhere" }).waitFor();
    await page.getByText("Dinner at eight").waitFor();
    await page.getByText("Dinner at nine").waitFor();
    await page.getByRole("button", { name: "Keep mine" }).dblclick();
    await saved(page);
    assert.equal((await notes.note(noteId)).note.content, "Dinner at nine");

    await text(other).fill("Dinner at ten");
    await save(other).click();
    await other.getByRole("button", { name: "Take the other" }).click();
    assert.equal(await text(other).inputValue(), "Dinner at nine");
    await text(other).fill("Dinner at nine sharp");
    await save(other).click();
    await saved(other);
  }),
);

test(
  "a note that was deleted elsewhere can be saved as a new one",
  inTab(async (page) => {
    await newMember(page);
    const { noteId } = await given("Here today");
    await page.goto(`/notes/${noteId}`);
    await text(page).fill("Here tomorrow");
    await notes.deleteNote(noteId);
    await save(page).click();
    await page.getByText("This note was deleted elsewhere.").waitFor();
    await page.getByRole("button", { name: "Save it as a new note" }).dblclick();
    await saved(page);
    const { items } = await notes.notes(notes.FIRST_NOTES);
    assert.deepEqual(
      items.map(({ content }) => content),
      ["Here tomorrow"],
    );
  }),
);

test(
  "going back after a note was deleted does not lead to it",
  inTab(async (page) => {
    await newMember(page);
    await given("To be kept");
    const { noteId } = await given("To be deleted");
    await page.goto("/notes");
    await page.getByRole("link", { name: /To be deleted/ }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("The note is deleted.").waitFor();
    await page.goBack();
    await page.getByRole("link", { name: /To be kept/ }).waitFor();
    assert.equal(await page.getByRole("link", { name: /To be deleted/ }).count(), 0);
    await page.goto(`/notes/${noteId}`);
    await page.getByText("You have no note at this address.").waitFor();
  }),
);

test(
  "300 notes are loaded by hundreds, and searched as one types",
  inTab(async (page) => {
    await newMember(page);
    await givenMany(300);
    await page.goto("/notes");
    const search = page.getByRole("searchbox", { name: "Search" });
    for (const loaded of [100, 200]) {
      await page.getByText(`The latest ${loaded} notes`).waitFor();
      await page.getByRole("button", { name: "Load more" }).dblclick();
    }
    await page.getByText("300 notes", { exact: true }).waitFor();
    assert.equal(await itemsOf(page).count(), 300);
    assert.equal(await page.getByRole("button", { name: "Load more" }).count(), 0);
    await search.pressSequentially("NUMBER 29");
    await page.getByText("11 of 300 notes").waitFor(); // 29, 290 to 299
    assert.equal(await itemsOf(page).count(), 11);
    await search.fill("nowhere");
    await page.getByText("“nowhere” is in none of 300 notes.").waitFor();
  }),
);

test(
  "what looks like a script or a link is text",
  inTab(async (page) => {
    await newMember(page);
    const content = '<script>document.title = "run"</script>\n<img src=x onerror="alert(1)"> javascript:alert(1)';
    const { noteId } = await given(content);
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
  "a note that is too long is refused in words, and its text stays",
  inTab(async (page) => {
    await newMember(page);
    await page.goto("/notes/new");
    await text(page).fill("x".repeat(100_001));
    await page.getByText("100,001 of at most 100,000 characters").waitFor();
    await save(page).click();
    await page.getByRole("alert").getByText("Content must have at most 100000 characters.").waitFor();
    await page.getByRole("alert").getByText("Request").waitFor();
    assert.equal((await text(page).inputValue()).length, 100_001);
  }),
);
