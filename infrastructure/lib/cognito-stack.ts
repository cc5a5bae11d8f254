import type { App } from "aws-cdk-lib";
import { AccountRecovery, CfnIdentityPool, CfnIdentityPoolRoleAttachment, UserPool } from "aws-cdk-lib/aws-cognito";
import { FederatedPrincipal, ManagedPolicy, PolicyStatement, Role } from "aws-cdk-lib/aws-iam";
import { boundary } from "./account/boundary-stack.ts";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** Who may sign in, and what they may call once they have. */
export class CognitoStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "cognito", stage);

    const users = new UserPool(this, "Users", {
      userPoolName: this.nameOf("users"),
      selfSignUpEnabled: true,
      signInAliases: { email: true },
      autoVerify: { email: true }, // by a code
      accountRecovery: AccountRecovery.EMAIL_ONLY,
      passwordPolicy: {
        minLength: 8,
        requireLowercase: true,
        requireUppercase: true,
        requireDigits: true,
        requireSymbols: false,
      },
      deletionProtection: stage.protected,
      removalPolicy: this.removalPolicy,
    });

    const client = users.addClient("BrowserApp", {
      userPoolClientName: this.nameOf("browser-app"),
      authFlows: {
        userSrp: true,
        adminUserPassword: true, // for the end-to-end scenarios: takes AWS credentials as well
        userPassword: !stage.protected, // sends the password itself: convenient to try, not for real users
      },
      disableOAuth: true,
      generateSecret: false, // a browser cannot keep one
      preventUserExistenceErrors: true,
    });

    const identities = new CfnIdentityPool(this, "Identities", {
      identityPoolName: this.nameOf("identities"),
      allowUnauthenticatedIdentities: false,
      cognitoIdentityProviders: [
        { clientId: client.userPoolClientId, providerName: users.userPoolProviderName, serverSideTokenCheck: true },
      ],
    });

    const signedIn = new Role(this, "SignedIn", {
      roleName: this.nameOf("signed-in"),
      description: "What a user who has signed in may do",
      permissionsBoundary: ManagedPolicy.fromManagedPolicyName(this, "Boundary", boundary),
      assumedBy: new FederatedPrincipal(
        "cognito-identity.amazonaws.com",
        {
          StringEquals: { "cognito-identity.amazonaws.com:aud": identities.ref },
          "ForAnyValue:StringLike": { "cognito-identity.amazonaws.com:amr": "authenticated" },
        },
        "sts:AssumeRoleWithWebIdentity",
      ),
    });
    // By stage, not by API: the API comes after its infrastructure.
    const apis = this.formatArn({
      service: "execute-api",
      resource: "*",
      resourceName: `${stage.shared ? "*" : stage.name}/*`,
    });
    signedIn.addToPolicy(new PolicyStatement({ actions: ["execute-api:Invoke"], resources: [apis] }));

    new CfnIdentityPoolRoleAttachment(this, "IdentityRoles", {
      identityPoolId: identities.ref,
      roles: { authenticated: signedIn.roleArn },
    });

    this.share("UserPoolId", users.userPoolId);
    this.share("UserPoolClientId", client.userPoolClientId);
    this.share("IdentityPoolId", identities.ref);
  }
}
