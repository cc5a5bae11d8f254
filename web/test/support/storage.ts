import type { Page } from "playwright-core";

export const text = (page: Page) => page.getByLabel("Note text");
export const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true });

/** Opens the list of notes, and waits until it shows this text about the storage. */
export async function listShows(page: Page, text: string): Promise<void> {
  await page.goto("/notes");
  await page.getByText(text).waitFor();
}
