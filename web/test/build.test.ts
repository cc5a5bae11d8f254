import assert from "node:assert/strict";
import { test } from "node:test";
import { inTab } from "./support/browser.ts";
import { stage } from "./support/stage.ts";

test(
  "the build contains no stage configuration: all of it is in config.json",
  inTab(async (page) => {
    const scripts = new Set<string>();
    page.on("response", (response) => {
      if (response.url().includes("/assets/")) scripts.add(response.url());
    });
    await page.goto("/log-in");
    await page.getByRole("heading", { name: "Log in" }).waitFor();
    assert.ok(scripts.size > 1);
    const { apiUrl, cloudUrl, userPoolId, userPoolClientId, identityPoolId } = stage;
    const values = [
      apiUrl,
      cloudUrl,
      userPoolId,
      userPoolClientId,
      identityPoolId,
      stage.stripeUrl, // part: billing
    ];
    for (const script of scripts) {
      const text = await (await fetch(script)).text();
      for (const value of values) {
        assert.ok(!text.includes(value), `${script} contains ${value}`);
      }
    }
  }),
);
