import assert from "node:assert/strict"; // part: billing
import type { Page } from "playwright-core";
import { picture } from "./picture.ts";
import { intentsOf, latestPurchase, order, REQUIRES_ACTION } from "./purchases.ts"; // part: billing
import { stripeApi } from "./stripe.ts"; // part: billing
import { auth, createNotes, createUser, logIn, newCredentials, notes, storage } from "./users.ts";

/** A page of the app in a certain state. */
export interface View {
  name: string;
  open: (page: Page) => Promise<void>;
}

const heading = (page: Page, name: string) => page.getByRole("heading", { name, exact: true }).waitFor();

/** Pages that need no log-in. */
export const PUBLIC_VIEWS: View[] = [
  { name: "landing", open: (page) => go(page, "/", "A quiet place for what you want to remember") },
  { name: "sign-up", open: (page) => go(page, "/sign-up", "Sign up") },
  {
    name: "confirm-email",
    async open(page) {
      const { email, password } = newCredentials();
      await go(page, "/sign-up", "Sign up");
      await page.getByLabel("E-mail").fill(email);
      await page.getByLabel("Password").fill(password);
      await page.getByRole("button", { name: "Sign up" }).click();
      await heading(page, "Confirm your e-mail");
    },
  },
  { name: "log-in", open: (page) => go(page, "/log-in", "Log in") },
  { name: "forgotten-password", open: (page) => go(page, "/forgotten-password", "Reset your password") },
  { name: "not-found", open: (page) => go(page, "/nowhere", "Page not found") },
];

/** Pages of the user Ada, who has some notes. */
export const USER_VIEWS: View[] = [
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
      await page.getByLabel("Note text").fill("Dinner\n\nFriday at nine. Bring the good bread.");
      const noteId = page.url().split("/").at(-1)!;
      const { note, etag } = await notes.getNote(noteId);
      await notes.updateNote(noteId, { ...DINNER, content: "Dinner\n\nFriday at eight, at Charles's." }, etag);
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await heading(page, "This note was changed elsewhere");
      // Restores the note for the next run.
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
  // part: billing {
  {
    name: "billing",
    async open(page) {
      await go(page, "/billing", "Billing");
      await page.getByText("Disputed", { exact: true }).waitFor();
      const card = page.frameLocator('iframe[title="Secure card payment input frame"]');
      await card.getByPlaceholder("Card number").waitFor();
    },
  },
  {
    name: "open-order",
    async open(page) {
      await assert.rejects(order(10, REQUIRES_ACTION), { status: 402 });
      await go(page, "/billing", "Billing");
      await page.getByRole("button", { name: "Continue" }).waitFor();
    },
  },
  // part: billing }
  {
    name: "storage-full",
    async open(page) {
      const { used, allowed } = await storage.getStorage();
      await createNotes(allowed - used);
      await go(page, "/notes/new", "New note");
      await page.getByLabel("Note text").fill("Winter\n\nThe meadow under snow.");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await page.getByText("This note is not saved yet").waitFor();
    },
  },
  { name: "settings", open: (page) => go(page, "/settings", "Settings") },
];

const DINNER = { content: "Dinner\n\nFriday at seven.", attachment: null };

const NOTES = [
  "Reading list\n\nThe Left Hand of Darkness, A Pattern Language, and the one about bridges that Mary talked about.",
  DINNER.content,
  "Bread, olives, a lemon, rye flour, stamps",
];

/** Creates a user with these notes, and logs in in the tab. */
export async function logInAsAda(page: Page): Promise<void> {
  const user = await createUser();
  // part: billing {
  await order(10);
  const [intent] = await intentsOf((await latestPurchase()).purchaseId);
  await stripeApi("refunds", { payment_intent: intent!.id, amount: 1_000 });
  await latestPurchase(({ refundedAmount }) => refundedAmount === 1_000);
  await order(10, "tok_createDispute");
  await latestPurchase(({ status }) => status === "DISPUTED");
  await assert.rejects(order(10, "tok_chargeDeclinedInsufficientFunds"), { status: 402 });
  // part: billing }
  for (const content of NOTES) await notes.createNote({ content, attachment: null }, crypto.randomUUID());
  await logIn(page, user);
  await page.goto("/notes/new");
  await page.getByLabel("Note text").fill("Garden\n\nThe meadow behind the house, seen from the kitchen.");
  const file = { name: "garden.png", mimeType: "image/png", buffer: picture() };
  await page.getByLabel("File", { exact: true }).setInputFiles(file);
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved.", { exact: true }).waitFor();
  await auth.logIn(user.email, user.password);
}

/** Opens a page and waits until it is loaded. */
async function go(page: Page, path: string, title: string): Promise<void> {
  await page.goto(path);
  await heading(page, title);
  await page.getByText("Loading…").first().waitFor({ state: "detached" });
}
