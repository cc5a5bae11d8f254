import { type App, CfnOutput, Duration } from "aws-cdk-lib";
import {
  type IOidcProvider,
  ManagedPolicy,
  OidcProviderNative,
  OpenIdConnectPrincipal,
  PolicyDocument,
  Role,
} from "aws-cdk-lib/aws-iam";
import { type Account, subjects } from "../account.ts";
import { type StageTable, stageTable } from "../stage.ts";
import { AccountStack } from "./account-stack.ts";
import { grants } from "./github-grants.ts";

const issuer = "token.actions.githubusercontent.com";

/** The roles of the repository's GitHub workflows. A workflow assumes one with a token from GitHub's OIDC provider. */
export class GithubStack extends AccountStack {
  constructor(app: App, account: Account, table: StageTable = stageTable()) {
    super(app, "github", account);

    const provider = this.provider(account);
    for (const [name, access] of Object.entries(account.github ?? {})) {
      const role = new Role(this, name, {
        roleName: `scratchpad-github-${name}`,
        description: `GitHub workflows: ${access.may} ${access.stages}`,
        maxSessionDuration: Duration.hours(1),
        assumedBy: new OpenIdConnectPrincipal(provider, {
          StringEquals: {
            [`${issuer}:aud`]: "sts.amazonaws.com",
            [`${issuer}:sub`]: access.from.flatMap(subjects),
          },
        }),
      });
      for (const [part, statements] of Object.entries(grants(access, this, account, table)))
        new ManagedPolicy(this, `${name} ${part}`, {
          managedPolicyName: `scratchpad-github-${name}-${part}`,
          roles: [role],
          document: new PolicyDocument({ minimize: true, statements }),
        });
      new CfnOutput(this, `${name} role`, {
        key: `${name[0]!.toUpperCase()}${name.slice(1)}Role`,
        value: role.roleArn,
      });
    }
  }

  /** GitHub's OIDC provider. An account has at most one, so another application may have created it. */
  private provider(account: Account): IOidcProvider {
    // The local cloud has no providers: it accepts every token whose claims a trust policy allows.
    if (account.oidcProvider === "existing" || this.local)
      return OidcProviderNative.fromOidcProviderArn(
        this,
        "GitHub",
        this.formatArn({ service: "iam", region: "", resource: "oidc-provider", resourceName: issuer }),
      );
    return new OidcProviderNative(this, "GitHub", { url: `https://${issuer}`, clientIds: ["sts.amazonaws.com"] });
  }
}
