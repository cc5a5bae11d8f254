import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import lighthouse from "lighthouse";
import { chromium } from "playwright-core";
import { CHROMIUM, inTab } from "./support/browser.ts";
import { stage } from "./support/stage.ts";

/** The maximum compressed size of the first page's scripts, in bytes. */
const SCRIPT_LIMIT = 120_000;

/** The minimum Lighthouse score, from 0 to 1. */
const MIN_SCORE = 0.95;

test(
  "the first page's scripts are below the size limit",
  inTab(async (page) => {
    const scripts: Promise<Buffer>[] = [];
    page.on("response", (response) => {
      if (response.request().resourceType() === "script") scripts.push(response.body());
    });
    await page.goto("/", { waitUntil: "networkidle" });
    const sizes = (await Promise.all(scripts)).map((script) => gzipSync(script, { level: 6 }).length);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    console.log(`initial JavaScript: ${(total / 1000).toFixed(1)} kB gzip in ${sizes.length} files`);
    assert.ok(total > 0 && total < SCRIPT_LIMIT, `${total} bytes`);
  }),
);

test("the first page reaches the minimum Lighthouse scores", async () => {
  const port = await freePort();
  const browser = await chromium.launch({ ...CHROMIUM, args: [...CHROMIUM.args, `--remote-debugging-port=${port}`] });
  try {
    const run = await lighthouse(stage.webUrl, {
      port,
      logLevel: "error",
      onlyCategories: ["performance", "accessibility", "best-practices"],
    });
    assert.ok(run);
    const scores = Object.entries(run.lhr.categories).map(([name, { score }]) => [name, score ?? 0] as const);
    console.log(`Lighthouse: ${scores.map(([name, score]) => `${name} ${Math.round(score * 100)}`).join(", ")}`);
    for (const [name, score] of scores) assert.ok(score >= MIN_SCORE, `${name}: ${score}`);
  } finally {
    await browser.close();
  }
});

/** A free TCP port. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
