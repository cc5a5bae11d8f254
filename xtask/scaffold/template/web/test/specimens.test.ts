import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import type { SpecimenFields } from "../src/api/specimens.ts";
import { labelOf } from "../src/fields.ts";
import { inTab } from "./support/browser.ts";
import { eventually } from "./support/eventually.ts";
import { createAndLogIn } from "./support/users.ts";

const { createItem, deleteItem, firstPage, getItem, listItems } = await import("../src/api/resource.ts");
const { specimens } = await import("../src/api/specimens.ts");

const values: SpecimenFields = {
  // each field {
  epithet: "An epithet",
  // each optional field:
  provenance: "A provenance",
  // the others:
  accession: "An accession",
  quantity: 7,
  weight: 2.5,
  onDisplay: true,
  foundOn: "2026-01-31",
  examinedAt: 1763632800000,
  website: "https://example.com/a",
  curator: "ada@example.com",
  // }
};

const changed: SpecimenFields = {
  // each field {
  epithet: "Another epithet",
  // each optional field:
  provenance: "Another provenance",
  // the others:
  accession: "Another accession",
  quantity: 8,
  weight: 3.5,
  onDisplay: false,
  foundOn: "2026-02-01",
  examinedAt: 1763632801000,
  website: "https://example.com/b",
  curator: "bob@example.com",
  // }
};

/** Writes these values into the form. */
async function fill(page: Page, fields: SpecimenFields): Promise<void> {
  for (const [name, { kind }] of Object.entries<{ kind: string }>(specimens.fields)) {
    const value: unknown = fields[name as keyof SpecimenFields];
    const input = page.locator("form").getByLabel(labelOf(name), { exact: true });
    if (kind === "checkbox") await input.setChecked(value === true);
    // The browser of the tests is in the time zone UTC. An input has the shortest form of a time.
    else if (kind === "time") await input.fill(new Date(Number(value)).toISOString().replace(/(:00)?\.000Z$|Z$/, ""));
    else await input.fill(String(value ?? ""));
  }
}

const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true }).click();
const waitForSaved = (page: Page) => page.getByText("Saved.", { exact: true }).waitFor();

/** The only specimen of the user, with its ETag. */
async function stored() {
  const { items } = await listItems<typeof specimens.fields>(firstPage(specimens));
  assert.equal(items.length, 1);
  return getItem(specimens, String((items[0] as unknown as Record<string, unknown>)[specimens.id]));
}

/** Waits for the version of the specimen that follows the one with this ETag. */
const changedFrom = (etag: string) => eventually(stored, (now) => now.etag !== etag);

/** Creates a specimen outside the browser. Returns its ID. */
async function create(fields: SpecimenFields): Promise<string> {
  const item = await createItem(specimens, fields, crypto.randomUUID());
  return String((item as unknown as Record<string, unknown>)[specimens.id]);
}

/** Asserts that a specimen has these fields. */
function assertFields(item: SpecimenFields, expected: SpecimenFields): void {
  for (const name of Object.keys(specimens.fields) as (keyof SpecimenFields)[])
    assert.deepEqual(item[name], expected[name], name);
}

test(
  "a specimen is created, found in the list, changed and deleted",
  inTab(async (page) => {
    await createAndLogIn(page);
    await page
      .getByRole("navigation")
      .getByRole("link", { name: labelOf(specimens.many), exact: true })
      .click();
    await page.getByText(`You have no ${specimens.many} yet.`).waitFor();
    await page.getByRole("link", { name: `New ${specimens.one}` }).click();
    await fill(page, values);
    await save(page);
    await waitForSaved(page);
    const created = await stored();
    assertFields(created.item, values);
    await page.locator("main a.note").click();
    await fill(page, changed);
    await save(page);
    assertFields((await changedFrom(created.etag)).item, changed);
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: `Delete ${specimens.one}` }).click();
    await page.getByText(`You have no ${specimens.many} yet.`).waitFor();
  }),
);

test(
  "a specimen changed elsewhere shows both versions, and the user can keep either",
  inTab(async (page) => {
    await createAndLogIn(page);
    const id = await create(values);
    const other = await page.context().newPage();
    for (const tab of [page, other]) {
      await tab.goto(`${specimens.path}/${id}`);
      await tab.getByRole("button", { name: "Save", exact: true }).waitFor();
    }
    await fill(other, changed);
    await save(other);
    await waitForSaved(other);
    await save(page);
    await page.getByRole("heading", { name: `This ${specimens.one} was changed elsewhere` }).waitFor();
    await page.getByRole("button", { name: "Keep my version" }).click();
    await waitForSaved(page);
    const kept = await stored();
    assertFields(kept.item, values);
    await save(other);
    await other.getByRole("button", { name: "Use other version" }).click();
    await save(other);
    assertFields((await changedFrom(kept.etag)).item, values);
  }),
);

test(
  "a specimen that was deleted elsewhere is not found",
  inTab(async (page) => {
    await createAndLogIn(page);
    const id = await create(values);
    await deleteItem(specimens, id);
    await page.goto(`${specimens.path}/${id}`);
    await page.getByText(`This ${specimens.one} does not exist.`).waitFor();
  }),
);
