import { type App, CfnOutput, Duration } from "aws-cdk-lib";
import { OidcProviderNative, OpenIdConnectPrincipal, Policy, Role } from "aws-cdk-lib/aws-iam";
import { type Account, repository } from "../account.ts";
import { AccountStack } from "./account-stack.ts";
import { grants } from "./github-grants.ts";

const issuer = "token.actions.githubusercontent.com";

/** The roles of the repository's GitHub workflows. A workflow assumes one with a token from GitHub's OIDC provider. */
export class GithubStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "github", account);

    const provider = new OidcProviderNative(this, "GitHub", {
      url: `https://${issuer}`,
      clientIds: ["sts.amazonaws.com"],
    });
    for (const [name, access] of Object.entries(account.github ?? {})) {
      const role = new Role(this, name, {
        roleName: `scratchpad-github-${name}`,
        description: `GitHub workflows: ${access.may} ${access.stages ?? "releases"}`,
        maxSessionDuration: Duration.hours(1),
        assumedBy: new OpenIdConnectPrincipal(provider, {
          StringEquals: {
            [`${issuer}:aud`]: "sts.amazonaws.com",
            [`${issuer}:sub`]: access.from.map((subject) => `repo:${repository}:${subject}`),
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
