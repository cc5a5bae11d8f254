import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import { inTab } from "./support/browser.ts";
import { order, REQUIRES_ACTION } from "./support/purchases.ts"; // part: billing
import { createAndLogIn } from "./support/users.ts";

/** The accessible name of the focused element. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute("aria-label") ?? element?.getAttribute("placeholder") ?? element?.textContent ?? "";
  });

/** Presses Tab until the element with this name has the focus. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 30; presses += 1) {
    await page.keyboard.press("Tab");
    if ((await focused(page)) === name) return;
  }
  assert.fail(`Tab does not reach ${name}`);
}

test(
  "a note is written, saved and deleted with the keyboard only",
  inTab(async (page) => {
    await createAndLogIn(page);
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
    await page.getByText("You have no notes yet.").waitFor();
    assert.equal(await focused(page), "Notes");
  }),
);

// part: billing {
test(
  "an open order is canceled with the keyboard only",
  inTab(async (page) => {
    await createAndLogIn(page);
    await assert.rejects(order(10, REQUIRES_ACTION), { status: 402 });
    await page.goto("/billing");
    await page.getByRole("button", { name: "Continue" }).waitFor();
    await tabTo(page, "Cancel order");
    await page.keyboard.press("Enter");
    await page.getByText("Order canceled.").waitFor();
  }),
);
// part: billing }

test(
  "the first Tab stop is the skip link",
  inTab(async (page) => {
    await page.goto("/");
    await page.getByRole("link", { name: "Get started" }).waitFor();
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), "Skip to content");
  }),
);
