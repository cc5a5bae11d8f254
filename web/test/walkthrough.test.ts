import { test } from "node:test";
import { formatMoney, price } from "../src/prices.ts"; // part: billing
import { inTab } from "./support/browser.ts";
import { picture } from "./support/picture.ts";
import { codeFor } from "./support/stage.ts";
import { newCredentials } from "./support/users.ts";

test(
  "a new user signs up, writes a note, changes it and deletes it",
  inTab(async (page) => {
    const { email, password } = newCredentials();
    await page.goto("/");
    await page.getByRole("link", { name: "Get started" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByLabel("Code").waitFor();
    await page.getByLabel("Code").fill(await codeFor(email));
    await page.getByRole("button", { name: "Confirm" }).click();

    await page.getByRole("link", { name: "Write your first note" }).click();
    await page.getByLabel("Note text").fill("Garden\nThe meadow behind the house.");
    const file = { name: "garden.png", mimeType: "image/png", buffer: picture() };
    await page.getByLabel("File", { exact: true }).setInputFiles(file);
    await page.getByAltText("Preview of garden.png").waitFor();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();

    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /meadow/ }).click();
    await page.getByLabel("Note text").fill("Garden\nThe meadow, mown.");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete note" }).click();
    await page.getByText("You have no notes yet.").waitFor();

    // part: billing {
    await page.getByRole("link", { name: "Billing" }).click();
    const card = page.frameLocator('iframe[title="Secure card payment input frame"]');
    await card.locator("[name=cardnumber]").pressSequentially("4242424242424242");
    await card.locator("[name=exp-date]").pressSequentially("1234");
    await card.locator("[name=cvc]").pressSequentially("123");
    await page.getByRole("button", { name: `Pay ${formatMoney(price(10))}` }).click();
    await page.getByRole("listitem").filter({ hasText: "Storage for 10 notes" }).getByText("Paid").waitFor();
    // part: billing }
  }),
);
