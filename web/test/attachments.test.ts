import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab, requestsTo } from "./support/browser.ts";
import { picture } from "./support/picture.ts";
import { createAndLogIn } from "./support/users.ts";

const chooseFile = (page: Page, name: string, mimeType: string, buffer: Buffer) =>
  page.getByLabel("File", { exact: true }).setInputFiles({ name, mimeType, buffer });

async function startNote(page: Page, content: string): Promise<void> {
  await createAndLogIn(page);
  await page.goto("/notes/new");
  await page.getByLabel("Note text").fill(content);
}

async function save(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved.", { exact: true }).waitFor();
}

test(
  "an image is previewed before and after it is saved, and the list shows its name",
  inTab(async (page) => {
    await startNote(page, "The garden");
    await chooseFile(page, "garden.png", "image/png", picture());
    await imageShown(page, "Preview of garden.png", "blob:");
    await save(page);
    await imageShown(page, "Preview of garden.png", "http");
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByText("garden.png").waitFor();
  }),
);

test(
  "a file of 5,000,000 bytes is uploaded and its progress is shown",
  inTab(async (page) => {
    await startNote(page, "The whole recording");
    await chooseFile(page, "recording.bin", "application/octet-stream", Buffer.alloc(5_000_000));
    await page.getByRole("progressbar", { name: "Uploading recording.bin" }).waitFor();
    await page.getByRole("button", { name: "Replace file" }).waitFor();
    await save(page);
    await page.getByRole("link", { name: "recording.bin" }).waitFor();
    await page.getByText("5.0 MB").waitFor();
  }),
);

test(
  "a file of 5,000,001 bytes is rejected before it is uploaded",
  inTab(async (page) => {
    await startNote(page, "Too much");
    const requests = requestsTo(page, "POST", "/notes/attachments");
    await chooseFile(page, "film.bin", "application/octet-stream", Buffer.alloc(5_000_001));
    await page.getByRole("alert").getByText("film.bin has 5,000,001 bytes. The limit is 5,000,000 bytes.").waitFor();
    assert.equal(requests.length, 0);
  }),
);

test(
  "a failed upload shows an error, and the note can be saved without the file",
  inTab(async (page) => {
    await startNote(page, "Without a file");
    await page.route("**/private/**", (route) => route.abort());
    await chooseFile(page, "lost.png", "image/png", picture());
    await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
    await save(page);
  }),
);

test(
  "an upload can be cancelled, and an attached file can be removed",
  inTab(async (page) => {
    await startNote(page, "On second thoughts");
    await page.route("**/private/**", () => {}); // the request never gets a response
    const request = page.waitForRequest("**/private/**");
    await chooseFile(page, "doubtful.png", "image/png", picture());
    await request;
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.unroute("**/private/**");
    await page.getByRole("button", { name: "Attach file" }).waitFor();
    await chooseFile(page, "better.png", "image/png", picture());
    await page.getByRole("button", { name: "Replace file" }).waitFor();
    await save(page);
    await page.getByRole("button", { name: "Remove file" }).click();
    await page.getByText("Not saved yet").waitFor();
    await save(page);
    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /On second thoughts/ }).waitFor();
    assert.equal(await page.getByText("better.png").count(), 0);
  }),
);

/** Waits until the image whose URL starts with `from` is rendered. */
async function imageShown(page: Page, alt: string, from: string): Promise<void> {
  const image = page.locator(`img[alt="${alt}"][src^="${from}"]`);
  await image.waitFor();
  await image.evaluate((element: HTMLImageElement) => element.decode());
}
