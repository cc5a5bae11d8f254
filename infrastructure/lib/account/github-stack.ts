import { type App, CfnOutput, Duration } from "aws-cdk-lib";
import { OidcProviderNative, OpenIdConnectPrincipal, Policy, Role } from "aws-cdk-lib/aws-iam";
import { type Account, repository } from "../account.ts";
import { AccountStack } from "./account-stack.ts";
import { grants } from "./github-grants.ts";

const github = "token.actions.githubusercontent.com";

/** What a workflow of the repository may do here, without a key that lasts: it shows GitHub's word of what it runs for. */
export class GithubStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "github", account);

    const provider = new OidcProviderNative(this, "GitHub", {
      url: `https://${github}`,
      clientIds: ["sts.amazonaws.com"],
    });
    for (const [name, access] of Object.entries(account.github ?? {})) {
      const role = new Role(this, name, {
        roleName: `scratchpad-github-${name}`,
        description: `To ${access.may} ${access.stages ?? "releases"}, from GitHub`,
        maxSessionDuration: Duration.hours(1),
        assumedBy: new OpenIdConnectPrincipal(provider, {
          StringEquals: {
            [`${github}:aud`]: "sts.amazonaws.com",
            [`${github}:sub`]: access.from.map((subject) => `repo:${repository}:${subject}`),
          },
        }),
      });
      new Policy(this, `${name} may`, {
        policyName: `scratchpad-github-${name}`,
        roles: [role],
        statements: grants(access, this),
      });
      new CfnOutput(this, `${name} role`, {
        key: `${name[0]!.toUpperCase()}${name.slice(1)}Role`,
        value: role.roleArn,
      });
    }
  }
}
