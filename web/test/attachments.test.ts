import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, requestsTo } from "./support/browser.ts";
import { newMember } from "./support/people.ts";
import { picture } from "./support/picture.ts";

const choose = (page: Page, name: string, mimeType: string, buffer: Buffer) =>
  page.getByLabel("File", { exact: true }).setInputFiles({ name, mimeType, buffer });

async function newNote(page: Page, content: string): Promise<void> {
  await newMember(page);
  await page.goto("/notes/new");
  await page.getByLabel("Text of the note").fill(content);
}

async function save(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved.", { exact: true }).waitFor();
}

test(
  "a picture is shown before it is saved, after it, and named in the list",
  inTab(async (page) => {
    await newNote(page, "The garden");
    await choose(page, "garden.png", "image/png", picture());
    await shown(page, "Preview of garden.png", "blob:");
    await save(page);
    await shown(page, "Preview of garden.png", "http");
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByText("garden.png").waitFor();
  }),
);

test(
  "a file of 5,000,000 bytes is taken, with its progress shown",
  inTab(async (page) => {
    await newNote(page, "The whole recording");
    await choose(page, "recording.bin", "application/octet-stream", Buffer.alloc(5_000_000));
    await page.getByRole("progressbar", { name: "Uploading recording.bin" }).waitFor();
    await page.getByRole("button", { name: "Replace the file" }).waitFor();
    await save(page);
    await page.getByRole("link", { name: "recording.bin" }).waitFor();
    await page.getByText("5.0 MB").waitFor();
  }),
);

test(
  "a file of one byte more is refused before it is sent",
  inTab(async (page) => {
    await newNote(page, "Too much");
    const asked = requestsTo(page, "POST", "/notes/attachments");
    await choose(page, "film.bin", "application/octet-stream", Buffer.alloc(5_000_001));
    await page.getByRole("alert").getByText("film.bin has 5,000,001 bytes. A file can have 5,000,000.").waitFor();
    assert.equal(asked.length, 0);
  }),
);

test(
  "an upload that fails is said to have failed, and the note can be saved without it",
  inTab(async (page) => {
    await newNote(page, "Without a file");
    await page.route("**/private/**", (route) => route.abort());
    await choose(page, "lost.png", "image/png", picture());
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await save(page);
  }),
);

test(
  "an upload can be cancelled, and a file taken away again",
  inTab(async (page) => {
    await newNote(page, "On second thoughts");
    await page.route("**/private/**", () => {}); // never answered
    const sent = page.waitForRequest("**/private/**");
    await choose(page, "doubtful.png", "image/png", picture());
    await sent;
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.unroute("**/private/**");
    await page.getByRole("button", { name: "Attach a file" }).waitFor();
    await choose(page, "better.png", "image/png", picture());
    await page.getByRole("button", { name: "Replace the file" }).waitFor();
    await save(page);
    await page.getByRole("button", { name: "Remove it" }).click();
    await page.getByText("Not saved yet").waitFor();
    await save(page);
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /On second thoughts/ }).waitFor();
    assert.equal(await page.getByText("better.png").count(), 0);
  }),
);

/** Waits until a picture from such an address is not only there but drawn. */
async function shown(page: Page, alt: string, from: string): Promise<void> {
  const image = page.locator(`img[alt="${alt}"][src^="${from}"]`);
  await image.waitFor();
  await image.evaluate((element: HTMLImageElement) => element.decode());
}
