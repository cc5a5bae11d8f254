import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab } from "./support/browser.ts";
import { newMember } from "./support/people.ts";

/** What the focus is on, as a screen reader would name it. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const at = document.activeElement;
    return at?.getAttribute("aria-label") ?? at?.getAttribute("placeholder") ?? at?.textContent ?? "";
  });

/** Presses Tab until the focus is where it should be, as somebody without a mouse does. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 30; presses += 1) {
    await page.keyboard.press("Tab");
    if ((await focused(page)) === name) return;
  }
  assert.fail(`Tab does not come to ${name}`);
}

test(
  "a note is written, saved and deleted by the keyboard alone",
  inTab(async (page) => {
    await newMember(page);
    await tabTo(page, "Write your first note");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "New note" }).waitFor();
    assert.equal(await focused(page), "New note");
    await tabTo(page, "Write…");
    await page.keyboard.type("By hand");
    await page.keyboard.press("Control+s");
    await page.getByText("Saved.", { exact: true }).waitFor();
    await tabTo(page, "Delete");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Delete this note?" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "Delete");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Enter"); // the dialog's first button has the focus
    await page.getByText("Nothing written yet.").waitFor();
    assert.equal(await focused(page), "Notes");
  }),
);

test(
  "the first thing that Tab comes to skips what every page begins with",
  inTab(async (page) => {
    await page.goto("/");
    await page.getByRole("link", { name: "Begin" }).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to the content");
  }),
);
