import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { after, test } from "node:test";
import type { BrowserContextOptions, Page } from "playwright-core";
import { inTab } from "./support/browser.ts";
import { logInAsAda, PUBLIC_VIEWS, USER_VIEWS, type View } from "./support/views.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const SCREENSHOTS = resolve(import.meta.dirname, "../screenshots");

const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true };

const LOOKS: Record<string, BrowserContextOptions> = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  "phone-light": { colorScheme: "light", ...PHONE },
  "phone-dark": { colorScheme: "dark", ...PHONE },
};

let inspectedPages = 0;
let violationCount = 0;
after(() => console.log(`axe: ${violationCount} violations on ${inspectedPages} pages`));

for (const [look, options] of Object.entries(LOOKS)) {
  test(
    `every page passes axe, obeys the content security policy and fits the window: ${look}`,
    inTab(
      async (page) => {
        const blocked = await cspViolations(page);
        for (const view of PUBLIC_VIEWS) await inspect(page, view, look);
        await logInAsAda(page);
        for (const view of USER_VIEWS) await inspect(page, view, look);
        assert.deepEqual(blocked, []);
      },
      { reducedMotion: "reduce", ...options },
    ),
  );
}

async function inspect(page: Page, { name, open }: View, look: string): Promise<void> {
  await open(page);
  // By `evaluate`, because the policy blocks an added script element.
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const results = await (window as unknown as { axe: typeof import("axe-core") }).axe.run();
    return results.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
  inspectedPages += 1;
  violationCount += violations.length;
  assert.deepEqual(violations, [], `${name}, ${look}`);
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(excess <= 0, `${name} is wider than the window: ${look}`);
  await takeScreenshot(page, name, look);
}

/** Collects the violations of the content security policy in this tab. */
async function cspViolations(page: Page): Promise<string[]> {
  const violations: string[] = [];
  await page.exposeFunction("reportViolation", (text: string) => violations.push(text));
  await page.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      (window as unknown as { reportViolation(text: string): void }).reportViolation(
        `${violatedDirective} ${blockedURI}`,
      ),
    ),
  );
  return violations;
}

/** Takes the screenshots of README.md. Existing ones are replaced only if UPDATE_SCREENSHOTS is set. */
async function takeScreenshot(page: Page, name: string, look: string): Promise<void> {
  const wanted = look === "light" || (["landing", "notes", "note"].includes(name) && look === "phone-dark");
  const file = resolve(SCREENSHOTS, `${name}${look === "light" ? "" : `-${look}`}.png`);
  if (!wanted || (existsSync(file) && !process.env.UPDATE_SCREENSHOTS)) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  writeFileSync(file, await page.screenshot({ fullPage: true, animations: "disabled", caret: "hide" }));
}
