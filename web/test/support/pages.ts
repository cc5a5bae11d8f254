import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { auth, billing, logIn, member, notes, stranger } from "./people.ts";
import { picture } from "./picture.ts";

/** A page of the app, in a state that is worth looking at. */
export interface Sight {
  name: string;
  open: (page: Page) => Promise<void>;
}

const heading = (page: Page, name: string) => page.getByRole("heading", { name, exact: true }).waitFor();

/** What anybody sees. */
export const PUBLIC: Sight[] = [
  { name: "landing", open: (page) => go(page, "/", "A quiet place for what you want to remember") },
  { name: "sign-up", open: (page) => go(page, "/sign-up", "Sign up") },
  {
    name: "confirm-email",
    async open(page) {
      const { email, password } = stranger();
      await go(page, "/sign-up", "Sign up");
      await page.getByLabel("E-mail").fill(email);
      await page.getByLabel("Password").fill(password);
      await page.getByRole("button", { name: "Sign up" }).click();
      await heading(page, "Confirm your e-mail");
    },
  },
  { name: "log-in", open: (page) => go(page, "/log-in", "Log in") },
  { name: "forgotten-password", open: (page) => go(page, "/forgotten-password", "Forgotten password") },
  { name: "not-found", open: (page) => go(page, "/nowhere", "Nothing here") },
];

/** What Ada sees, who has written a little. */
export const ADAS: Sight[] = [
  { name: "notes", open: (page) => go(page, "/notes", "Notes") },
  {
    name: "note",
    async open(page) {
      await go(page, "/notes", "Notes");
      await page.getByRole("link", { name: /Garden/ }).click();
      const image = page.getByAltText("Preview of garden.png");
      await image.waitFor();
      await image.evaluate((element: HTMLImageElement) => element.decode());
    },
  },
  {
    name: "conflict",
    async open(page) {
      await go(page, "/notes", "Notes");
      await page.getByRole("link", { name: /Dinner/ }).click();
      await page.getByLabel("Text of the note").fill("Dinner\n\nFriday at nine. Bring the good bread.");
      const noteId = page.url().split("/").at(-1)!;
      const { note, etag } = await notes.note(noteId);
      await notes.updateNote(noteId, { ...DINNER, content: "Dinner\n\nFriday at eight, at Charles's." }, etag);
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await heading(page, "This note was changed elsewhere");
      // For who looks next.
      await notes.updateNote(noteId, { ...DINNER, content: note.content }, "*");
    },
  },
  {
    name: "delete-note",
    async open(page) {
      await go(page, "/notes", "Notes");
      await page.getByRole("link", { name: /Reading list/ }).click();
      await page.getByRole("button", { name: "Delete", exact: true }).click();
      await heading(page, "Delete this note?");
    },
  },
  {
    name: "billing",
    async open(page) {
      await go(page, "/billing", "Billing");
      await page.getByText("Not settled yet").waitFor();
      const card = page.frameLocator('iframe[title="Secure card payment input frame"]');
      await card.getByPlaceholder("Card number").waitFor();
    },
  },
  { name: "settings", open: (page) => go(page, "/settings", "Settings") },
];

const DINNER = { content: "Dinner\n\nFriday at seven.", attachment: null };

const WRITTEN = [
  "Reading list\n\nThe Left Hand of Darkness, A Pattern Language, and the one about bridges that Mary talked about.",
  DINNER.content,
  "Bread, olives, a lemon, rye flour, stamps",
];

/** What was ordered with, and how it ended: paid, not charged, not settled. */
const SOURCES = ["tok_visa", "tok_chargeDeclinedInsufficientFunds", "pm_card_threeDSecure2Required"];

/** A person whose notes and purchases these are, logged in in the tab. */
export async function beAda(page: Page): Promise<void> {
  const person = await member();
  for (const source of SOURCES) {
    const order = { storage: 10, source, key: crypto.randomUUID(), askUntil: Infinity };
    await billing.purchase(order).catch(({ status }: { status?: number }) => assert.equal(status, 402));
  }
  for (const content of WRITTEN) await notes.createNote({ content, attachment: null }, crypto.randomUUID());
  await logIn(page, person);
  await page.goto("/notes/new");
  await page.getByLabel("Text of the note").fill("Garden\n\nThe meadow behind the house, seen from the kitchen.");
  const file = { name: "garden.png", mimeType: "image/png", buffer: picture() };
  await page.getByLabel("File", { exact: true }).setInputFiles(file);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved.", { exact: true }).waitFor();
  await auth.logIn(person.email, person.password);
}

/** Opens a page, and waits until nothing on it is still to come. */
async function go(page: Page, path: string, title: string): Promise<void> {
  await page.goto(path);
  await heading(page, title);
  await page.getByText("Loading…").first().waitFor({ state: "detached" });
}
