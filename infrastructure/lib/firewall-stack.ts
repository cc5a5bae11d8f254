import type { App } from "aws-cdk-lib";
import { CfnWebACL, CfnWebACLAssociation } from "aws-cdk-lib/aws-wafv2";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/**
 * The web ACL of the stage's API: it blocks an IP address that sends too many requests. Blocked requests get the gateway response
 * WAF_FILTERED. The stack imports the ID of the API, so xtask deploys it after notes-api.
 */
export class FirewallStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "firewall", stage);

    const observed = (metricName: string) => ({
      cloudWatchMetricsEnabled: true,
      metricName,
      sampledRequestsEnabled: false, // the samples would contain headers of users
    });
    const acl = new CfnWebACL(this, "WebAcl", {
      name: this.nameOf("api"),
      scope: "REGIONAL",
      defaultAction: { allow: {} },
      visibilityConfig: observed("api"),
      rules: [
        {
          name: "requests-per-address",
          priority: 0,
          action: { block: {} },
          statement: {
            rateBasedStatement: {
              aggregateKeyType: "IP",
              evaluationWindowSec: 300,
              limit: stage.webAcl!.requestsPer5Minutes,
            },
          },
          visibilityConfig: observed("requests-per-address"),
        },
      ],
    });
    new CfnWebACLAssociation(this, "Association", {
      webAclArn: acl.attrArn,
      resourceArn: this.formatArn({
        service: "apigateway",
        account: "",
        resource: "/restapis",
        resourceName: `${this.importOutput("RestApiId")}/stages/${stage.name}`,
      }),
    });
  }
}
