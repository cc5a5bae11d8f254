import type { App } from "aws-cdk-lib";
import { CfnAccount } from "aws-cdk-lib/aws-apigateway";
import { ManagedPolicy, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/**
 * The role with which API Gateway writes the access logs of REST APIs. It is a setting of the account in a region, so all APIs use
 * it, also those of other applications: https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
 */
export class ApiLogsStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "api-logs", account);

    const role = new Role(this, "Writer", {
      roleName: "scratchpad-api-logs",
      description: "API Gateway writes the logs of APIs",
      assumedBy: new ServicePrincipal("apigateway.amazonaws.com"),
      managedPolicies: [ManagedPolicy.fromAwsManagedPolicyName("service-role/AmazonAPIGatewayPushToCloudWatchLogs")],
    });
    new CfnAccount(this, "Account", { cloudWatchRoleArn: role.roleArn });
  }
}
