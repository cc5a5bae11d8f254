import { test } from "node:test";
import { inTab } from "./support/browser.ts";
import { stranger } from "./support/people.ts";
import { picture } from "./support/picture.ts";
import { codeFor } from "./support/stage.ts";

test(
  "from the first page to a paid purchase",
  inTab(async (page) => {
    const { email, password } = stranger();
    await page.goto("/");
    await page.getByRole("link", { name: "Begin" }).click();
    await page.getByLabel("E-mail").fill(email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByLabel("Code").waitFor();
    await page.getByLabel("Code").fill(await codeFor(email));
    await page.getByRole("button", { name: "Confirm" }).click();

    await page.getByRole("link", { name: "Write your first note" }).click();
    await page.getByLabel("Text of the note").fill("Garden\nThe meadow behind the house.");
    const file = { name: "garden.png", mimeType: "image/png", buffer: picture() };
    await page.getByLabel("File", { exact: true }).setInputFiles(file);
    await page.getByAltText("Preview of garden.png").waitFor();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved.", { exact: true }).waitFor();

    await page.getByRole("link", { name: "All notes" }).click();
    await page.getByRole("link", { name: /meadow/ }).click();
    await page.getByLabel("Text of the note").fill("Garden\nThe meadow, mown.");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("Nothing written yet.").waitFor();

    await page.getByRole("link", { name: "Billing" }).click();
    const card = page.frameLocator('iframe[title="Secure card payment input frame"]');
    await card.locator("[name=cardnumber]").pressSequentially("4242424242424242");
    await card.locator("[name=exp-date]").pressSequentially("1234");
    await card.locator("[name=cvc]").pressSequentially("123");
    await page.getByRole("button", { name: "Pay $40.00" }).click();
    await page.getByRole("listitem").filter({ hasText: "Storage for 10 notes" }).getByText("Paid").waitFor();
  }),
);
