import assert from "node:assert/strict";
import { test } from "node:test";
import { GithubStack } from "../lib/account/github-stack.ts";
import { accountNamed } from "../lib/account.ts";
import { allTables } from "../lib/data.ts";
import { readServices } from "../lib/manifests.ts";
import { type StageTable, stageNamed, stageTable, tables } from "../lib/stage.ts";
import { exceptions } from "./permission-exceptions.ts";
import {
  decide,
  expand,
  matches,
  matchesAction,
  type Need,
  needsOf,
  type Role,
  recordedCalls,
  rolesOf,
} from "./permissions.ts";
import { newApp, Resolver, stageTemplates } from "./stack-resources.ts";
import { surplus } from "./surplus.ts";

const region: string = tables().region;
const placeOf = (account: string) => ({ account: accountNamed(account).id, region });

const workflowRoles = (name: string, table: StageTable = stageTable(), account = accountNamed(name)) =>
  rolesOf(new GithubStack(newApp(), account, table), placeOf(name));
const roles = new Map(
  ["dev", "previews", "prod"].flatMap((name) => workflowRoles(name)).map((role) => [role.name, role]),
);

// The stages that workflows deploy. A stage with a domain has all its resources only when the domain is delegated.
const deployments = [
  { role: "dev", stage: { ...stageNamed("dev"), delegated: true } },
  { role: "preview", stage: stageNamed("pr-1") },
  { role: "prod", stage: { ...stageNamed("prod"), delegated: true } },
];

const usedExceptions = new Set<(typeof exceptions)[number]>();
/** What each role must be allowed to call: the calls of CloudFormation's handlers, and those of xtask. */
const needs = new Map<string, Need[]>([...roles.keys()].map((role) => [role, []]));
const add = (role: string, need: Need) => {
  const known = needs.get(role) ?? assert.fail(`calls.json has the role ${role}, which no account has`);
  known.push(need);
};
/** The units of the stacks of each stage. */
const units = new Map<string, string[]>();
for (const { role, stage } of deployments) {
  const place = roles.get(role)!.place;
  const templates = await stageTemplates(stage);
  const unitOf = (stack: string) => stack.slice("scratchpad-".length, -`-${stage.name}`.length);
  units.set(stage.name, [...templates.keys()].map(unitOf));
  const resolver = new Resolver(templates, place);
  const resources = [...templates.keys()].flatMap((stack) => resolver.resources(stack));
  for (const resource of resources)
    for (const need of await needsOf(resource, { name: stage.name, place, resources }, exceptions, usedExceptions))
      add(role, need);
}
const named = (stage: string) => ({
  UNIT: units.get(stage) ?? assert.fail(`calls.json has the stage ${stage}, which no role deploys`),
  TABLE: allTables.map(([name]) => name),
  FUNCTION: readServices().flatMap(({ functions }) => functions.map(({ name }) => name)),
});
for (const { command, role, calls } of recordedCalls(named))
  for (const call of calls) add(role, { ...call, why: `xtask ${command}` });
for (const [role, all] of needs) {
  const unique = new Map(all.map((need) => [JSON.stringify([need.action, need.resource, need.context]), need]));
  needs.set(role, [...unique.values()]);
}

const decided = new Map<string, { need: Need; allowed: boolean; by: string[] }[]>();
for (const [role, all] of needs)
  decided.set(role, await Promise.all(all.map(async (need) => ({ need, ...(await decide(roles.get(role)!, need)) }))));

const describe = ({ action, resource, context, why }: Need) =>
  `${action} on ${resource}, for ${why}, with ${JSON.stringify(context)}`;

const missing = (ofXtask: boolean) =>
  [...decided].flatMap(([role, all]) =>
    all
      .filter(({ need, allowed }) => !allowed && need.why.startsWith("xtask ") === ofXtask)
      .map(({ need }) => `${role} lacks ${describe(need)}`),
  );

test("a role that deploys a stage may make each call of CloudFormation's handlers, on the ARNs that the stage will have", () => {
  assert.deepEqual(missing(false), []);
});

test("a role may make each AWS call of the xtask commands that its workflows run", () => {
  assert.deepEqual(missing(true), []);
});

test("each exception applies to a permission of a handler", () => {
  assert.deepEqual(
    exceptions.filter((exception) => !usedExceptions.has(exception)),
    [],
  );
});

/** The actions of a role's statements that allow something, each with its statement. */
const grantsOf = ({ statements }: Role) =>
  statements
    .filter(({ Effect }) => Effect === "Allow")
    .flatMap((statement) => statement.Action.map((pattern) => ({ statement, pattern })));

const usedSurplus = new Set<(typeof surplus)[number]>();
const isSurplus = (action: string, resource: string) => {
  const found = surplus.find(
    ({ actions, resource: only }) =>
      actions.split(" ").some((pattern) => matchesAction(pattern, action)) &&
      (only === undefined || matches(only, resource)),
  );
  if (found) usedSurplus.add(found);
  return found !== undefined;
};

test("a role is granted only the actions and resources that it needs, and others only for a reason", async () => {
  const unneeded: string[] = [];
  for (const [name, role] of roles)
    for (const { Sid, Effect, Action, Resource = [] } of role.statements) {
      if (Effect === "Deny") continue;
      const used = decided.get(name)!.flatMap(({ need, by }) => (by.includes(Sid) ? [need] : []));
      const usedActions = new Set(used.map(({ action }) => action.toLowerCase()));
      for (const pattern of Action)
        for (const action of await expand(pattern, Resource, role.place))
          if (!usedActions.has(action.toLowerCase()) && !Resource.every((resource) => isSurplus(action, resource)))
            unneeded.push(`${name}: ${action} (${pattern}) on ${Resource}`);
      for (const pattern of Resource)
        if (
          !used.some(({ resource }) => matches(pattern, resource)) &&
          !Action.every((action) => isSurplus(action, pattern))
        )
          unneeded.push(`${name}: ${Action} on ${pattern}`);
    }
  assert.deepEqual(unneeded, []);
  assert.deepEqual(
    surplus.filter((one) => !usedSurplus.has(one)),
    [],
  );
});

test("each grant that is removed from a role is reported", async () => {
  const unreported: string[] = [];
  for (const [name, role] of roles)
    for (const { statement, pattern } of grantsOf(role)) {
      const affected = decided
        .get(name)!
        .filter(({ need, by }) => by.includes(statement.Sid) && matchesAction(pattern, need.action));
      if (affected.length === 0) continue; // reported by the test of surplus grants
      const remaining = statement.Action.filter((action) => action !== pattern);
      const statements = role.statements.flatMap((one) =>
        one !== statement ? [one] : remaining.length > 0 ? [{ ...one, Action: remaining }] : [],
      );
      let reported = false;
      for (const { need } of affected) {
        reported = !(await decide({ ...role, statements }, need)).allowed;
        if (reported) break;
      }
      if (!reported) unreported.push(`${name}: ${pattern} on ${statement.Resource}`);
    }
  assert.deepEqual(unreported, []);
});
