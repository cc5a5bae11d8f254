import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { after, test } from "node:test";
import type { BrowserContextOptions, Page } from "playwright-core";
import { inTab } from "./support/browser.ts";
import { ADAS, beAda, PUBLIC, type Sight } from "./support/pages.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const SCREENSHOTS = resolve(import.meta.dirname, "../screenshots");

const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true };

const LOOKS: Record<string, BrowserContextOptions> = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  "phone-light": { colorScheme: "light", ...PHONE },
  "phone-dark": { colorScheme: "dark", ...PHONE },
};

let looked = 0;
let wrong = 0;
after(() => console.log(`axe: ${wrong} violations on ${looked} pages`));

for (const [look, options] of Object.entries(LOOKS)) {
  test(
    `no page has anything that axe finds, runs what the policy refuses, or is wider than the window: ${look}`,
    inTab(
      async (page) => {
        const refused = await refusals(page);
        for (const sight of PUBLIC) await inspect(page, sight, look);
        await beAda(page);
        for (const sight of ADAS) await inspect(page, sight, look);
        assert.deepEqual(refused, []);
      },
      { reducedMotion: "reduce", ...options },
    ),
  );
}

async function inspect(page: Page, { name, open }: Sight, look: string): Promise<void> {
  await open(page);
  // Not by a script element, which the policy refuses as it should.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: typeof import("axe-core") }).axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
  looked += 1;
  wrong += found.length;
  assert.deepEqual(found, [], `${name}, ${look}`);
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(excess <= 0, `${name} is wider than the window: ${look}`);
  await takePicture(page, name, look);
}

/** What the content security policy refuses in this tab from now on. */
async function refusals(page: Page): Promise<string[]> {
  const refused: string[] = [];
  await page.exposeFunction("refused", (what: string) => refused.push(what));
  await page.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      (window as unknown as { refused(what: string): void }).refused(`${violatedDirective} ${blockedURI}`),
    ),
  );
  return refused;
}

/** For README.md: one of each page on a desk, and of some on a phone. Taken again when UPDATE_SCREENSHOTS is set. */
async function takePicture(page: Page, name: string, look: string): Promise<void> {
  const shown = look === "light" || (["landing", "notes", "note"].includes(name) && look === "phone-dark");
  const file = resolve(SCREENSHOTS, `${name}${look === "light" ? "" : `-${look}`}.png`);
  if (!shown || (existsSync(file) && !process.env.UPDATE_SCREENSHOTS)) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  writeFileSync(file, await page.screenshot({ fullPage: true, animations: "disabled", caret: "hide" }));
}
