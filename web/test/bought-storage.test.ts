import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { formatMoney } from "../src/prices.ts";
import { inTab } from "./support/browser.ts";
import { eventually } from "./support/eventually.ts";
import { picture } from "./support/picture.ts";
import { buyStorage, GOOD, intentsOf, latestPurchase, payButton, typeCard } from "./support/purchases.ts";
import { listShows, save, text } from "./support/storage.ts";
import { stripeApi } from "./support/stripe.ts";
import { createAndLogIn, createNotes, notes, prices, storage } from "./support/users.ts";

const listItems = (page: Page) => page.getByRole("listitem");

test(
  "when the storage is full the user buys more and continues with the draft and its file",
  inTab(async (page) => {
    await createAndLogIn(page);
    await createNotes(100);
    await listShows(page, "Your storage is full: 100 of 100 notes.");
    await page.getByRole("link", { name: "New note" }).click();
    await page.getByText("Your storage is full: 100 of 100 notes.").waitFor();
    await text(page).fill("The hundred and first");
    const file = { name: "garden.png", mimeType: "image/png", buffer: picture() };
    await page.getByLabel("File", { exact: true }).setInputFiles(file);
    await page.getByAltText("Preview of garden.png").waitFor();
    await save(page).click();
    const full = page.getByRole("alert").filter({ hasText: "your storage is full: 100 of 100 notes." });
    await full.waitFor();
    assert.equal(await text(page).inputValue(), "The hundred and first");

    await full.getByRole("link", { name: "Buy storage" }).click();
    await page.getByText("Your note is not saved yet.").waitFor();
    await typeCard(page, GOOD);
    await payButton(page, formatMoney(prices.price(10))).click();
    await page.getByRole("heading", { name: "New note" }).waitFor();
    await page.getByText("You can save your note now.").waitFor();
    assert.equal(await text(page).inputValue(), "The hundred and first");
    await page.getByText("garden.png").waitFor();
    await save(page).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
    await page.getByAltText("Preview of garden.png").waitFor();
    assert.deepEqual(await storage.getStorage(), { used: 101, allowed: 110, free: 100, bought: 10 });

    // A refund withdraws the storage. It hides no note, and a saved note can still be changed.
    const [intent] = await intentsOf((await latestPurchase()).purchaseId);
    await stripeApi("refunds", { payment_intent: intent!.id });
    await eventually(storage.getStorage, ({ allowed }) => allowed === 100);
    await text(page).fill("The hundred and first, changed");
    await save(page).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    await listShows(page, "Your storage is full: 101 of 100 notes.");
    await page.getByRole("link", { name: /The hundred and first, changed/ }).waitFor();
    await page.getByRole("link", { name: "Billing" }).click();
    await page.getByText("All your notes are kept.").waitFor();
  }),
);

test(
  "the text of a note that was deleted elsewhere survives a full storage and a reload",
  inTab(async (page) => {
    await createAndLogIn(page);
    await createNotes(1);
    const [note] = (await notes.listNotes(notes.FIRST_NOTES_PAGE)).items;
    await page.goto(`/notes/${note!.noteId}`);
    await text(page).fill("Here tomorrow");
    await notes.deleteNote(note!.noteId);
    await createNotes(100);
    await save(page).click();
    await page.getByRole("button", { name: "Save as new note" }).click();
    const full = page.getByRole("alert").filter({ hasText: "This note is not saved yet" });
    await full.getByRole("link", { name: "Buy storage" }).click();
    await typeCard(page, GOOD);
    await payButton(page, formatMoney(prices.price(10))).click();
    await page.getByText("This note was deleted elsewhere.").waitFor();
    assert.equal(await text(page).inputValue(), "Here tomorrow");
    await page.getByRole("button", { name: "Save as new note" }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();
  }),
);

test(
  "300 notes are loaded 100 at a time, and the search filters them while the user types",
  inTab(async (page) => {
    await createAndLogIn(page);
    await buyStorage(200);
    await createNotes(300);
    await page.goto("/notes");
    const search = page.getByRole("searchbox", { name: "Search" });
    for (const loaded of [100, 200]) {
      await page.getByText(`The latest ${loaded} notes`).waitFor();
      await page.getByRole("button", { name: "Load more" }).dblclick();
    }
    await page.getByText("300 notes", { exact: true }).waitFor();
    assert.equal(await listItems(page).count(), 300);
    assert.equal(await page.getByRole("button", { name: "Load more" }).count(), 0);
    await search.pressSequentially("NUMBER 29");
    await page.getByText("11 of 300 notes").waitFor(); // 29, 290 to 299
    assert.equal(await listItems(page).count(), 11);
    await search.fill("nowhere");
    await page.getByText("No match for “nowhere” in 300 notes.").waitFor();
  }),
);
