import assert from "node:assert/strict";
import { test } from "node:test";
import { generatedName } from "./fair-split.ts";

test("a generated name has the whole stack name and logical ID if they fit", () => {
  assert.equal(generatedName("scratchpad-s3-dev", "Attachments", 63), "scratchpad-s3-dev-Attachments-1A2B3C4D5E6F");
});

test("a generated name that is too long has half of its space for each part, and more if the other part is shorter", () => {
  const names = [
    generatedName("scratchpad-catalog-api-dev", "RefresherEventsRuleSchedule1", 64),
    generatedName("scratchpad-catalog-api-dev", "Rule", 40),
    generatedName("web", "RefresherEventsRuleSchedule1", 40),
  ];
  assert.deepEqual(names, [
    "scratchpad-catalog-api-de-RefresherEventsRuleSchedu-1A2B3C4D5E6F",
    "scratchpad-catalog-api-Rule-1A2B3C4D5E6F".slice(0, 40),
    "web-RefresherEventsRuleSche-1A2B3C4D5E6F".slice(0, 40),
  ]);
  for (const [index, name] of names.entries()) assert.ok(name.length <= [64, 40, 40][index]!, name);
});
