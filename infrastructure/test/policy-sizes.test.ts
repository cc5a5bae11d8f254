import assert from "node:assert/strict";
import { test } from "node:test";
import { BoundaryStack } from "../lib/account/boundary-stack.ts";
import { GithubStack } from "../lib/account/github-stack.ts";
import { accountNamed, repository } from "../lib/account.ts";
import { cdkTemplates, newApp, Resolver, type Resource } from "./stack-resources.ts";

// No region has a longer name, and no partition that GitHub can sign in to has a longer one than AWS GovCloud.
const place = { account: "111111111111", region: "us-isof-south-1" };
const longPartition = (text: string) => text.replaceAll("arn:aws:", "arn:aws-us-gov:");

/** The longest names and ids of a repository and its owner on GitHub. */
const longRepository = (text: string) => {
  const [owner, name] = repository.split("/") as [string, string];
  return text.replaceAll(new RegExp(`${owner}(@\\d+)?/${name}(@\\d+)?`, "g"), (_, ownerId, id) =>
    [`${"o".repeat(39)}${ownerId && `@${"1".repeat(12)}`}`, `${"r".repeat(100)}${id && `@${"2".repeat(12)}`}`].join(
      "/",
    ),
  );
};

const stacks = ["dev", "previews", "prod"].map(accountNamed).map((account) => {
  const all = [new GithubStack(newApp(), account), new BoundaryStack(newApp(), account)];
  return all.flatMap((stack) => new Resolver(cdkTemplates([stack]), place).resources(stack.stackName));
});
const size = (policy: unknown) => longRepository(longPartition(JSON.stringify(policy))).length;
const ofType = (resources: Resource[], type: string) => resources.filter((resource) => resource.type === type);

test("a role for workflows has at most the ten managed policies and 10,240 inline characters that IAM accepts", () => {
  for (const resources of stacks)
    for (const role of ofType(resources, "AWS::IAM::Role")) {
      const attached = (type: string) =>
        ofType(resources, type).filter(({ properties: { Roles = [] } }) => Roles.includes(role.name));
      const managed = role.properties.ManagedPolicyArns ?? [];
      assert.ok(attached("AWS::IAM::ManagedPolicy").length + managed.length <= 10, role.name);
      const inline = [
        ...attached("AWS::IAM::Policy").map(({ properties }) => properties),
        ...(role.properties.Policies ?? []),
      ];
      const sizes = inline.map(({ PolicyDocument }) => size(PolicyDocument));
      assert.ok(sizes.reduce((sum, own) => sum + own, 0) <= 10_240, role.name);
    }
});

test("a managed policy has at most the 6,144 characters that IAM accepts", () => {
  const policies = stacks.flatMap((resources) => ofType(resources, "AWS::IAM::ManagedPolicy"));
  assert.notEqual(policies.length, 0);
  for (const { name, properties } of policies) assert.ok(size(properties.PolicyDocument) <= 6144, name);
});

test("a trust policy has at most the 2,048 characters that IAM accepts", () => {
  for (const resources of stacks)
    for (const { name, properties } of ofType(resources, "AWS::IAM::Role"))
      assert.ok(size(properties.AssumeRolePolicyDocument) <= 2048, name);
});
