import type { App } from "aws-cdk-lib";
import {
  AccountRecovery,
  CfnIdentityPool,
  CfnIdentityPoolRoleAttachment,
  type CfnUserPool,
  UserPool,
} from "aws-cdk-lib/aws-cognito";
import { FederatedPrincipal, ManagedPolicy, PolicyStatement, Role } from "aws-cdk-lib/aws-iam";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** The user pool, and the identity pool whose role lets users call the API. */
export class CognitoStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "cognito", stage);

    const users = new UserPool(this, "Users", {
      userPoolName: this.nameOf("users"),
      selfSignUpEnabled: true,
      signInAliases: { email: true },
      autoVerify: { email: true }, // sends a code
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
    if (stage.delegated)
      (users.node.defaultChild as CfnUserPool).emailConfiguration = {
        emailSendingAccount: "DEVELOPER", // SES
        from: `Scratchpad <no-reply@${stage.domain}>`,
        sourceArn: this.importOutput("EmailIdentityArn"),
      };

    const client = users.addClient("BrowserApp", {
      userPoolClientName: this.nameOf("browser-app"),
      authFlows: {
        userSrp: true,
        adminUserPassword: true, // for the end-to-end tests; needs AWS credentials
        userPassword: !stage.protected, // sends the password itself, which is convenient for development only
      },
      disableOAuth: true,
      generateSecret: false, // an app in a browser cannot keep a secret
      preventUserExistenceErrors: true,
    });

    const identities = new CfnIdentityPool(this, "Identities", {
      identityPoolName: this.nameOf("identities"),
      allowUnauthenticatedIdentities: false,
      cognitoIdentityProviders: [
        { clientId: client.userPoolClientId, providerName: users.userPoolProviderName, serverSideTokenCheck: true },
      ],
    });

    // The ID of an identity is the key of all data of a user, and another pool gives all users other identities.
    identities.applyRemovalPolicy(this.removalPolicy);

    const signedIn = new Role(this, "SignedIn", {
      roleName: this.nameOf("signed-in"),
      description: "Permissions of users who are logged in",
      permissionsBoundary: ManagedPolicy.fromManagedPolicyName(this, "Boundary", stage.boundary),
      assumedBy: new FederatedPrincipal(
        "cognito-identity.amazonaws.com",
        {
          StringEquals: { "cognito-identity.amazonaws.com:aud": identities.ref },
          "ForAnyValue:StringLike": { "cognito-identity.amazonaws.com:amr": "authenticated" },
        },
        "sts:AssumeRoleWithWebIdentity",
      ),
    });
    // By stage, not by API ID: the API is deployed after its infrastructure.
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

    this.exportOutput("UserPoolId", users.userPoolId);
    this.exportOutput("UserPoolClientId", client.userPoolClientId);
    this.exportOutput("IdentityPoolId", identities.ref);
    // The key of the hashes that stand for users in logs. The ID of the stack contains a random UUID, and stays the same as long
    // as the users exist.
    this.exportOutput("UserHashKey", this.stackId);
  }
}
