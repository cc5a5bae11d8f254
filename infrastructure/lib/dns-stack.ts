import { type App, Fn } from "aws-cdk-lib";
import { NsRecord, PublicHostedZone } from "aws-cdk-lib/aws-route53";
import { EmailIdentity, Identity } from "aws-cdk-lib/aws-ses";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/**
 * The hosted zone of the stage's domain, the delegation of its subdomains to other stages, and the sender of e-mail.
 *
 * The zone has a stack of its own, because its name servers must be known, and the parent domain must delegate to them, before
 * a certificate of the domain can be validated.
 */
export class DnsStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "dns", stage);

    const zone = new PublicHostedZone(this, "Zone", { zoneName: stage.domain! });
    for (const { domain: recordName, nameServers } of stage.delegations)
      new NsRecord(this, `Delegation ${recordName}`, { zone, recordName: `${recordName}.`, values: nameServers });
    // SES verifies the domain by DKIM records in the zone, once the parent domain delegates to it. The local cloud does not
    // return these records.
    const identity = this.local ? Identity.domain(stage.domain!) : Identity.publicHostedZone(zone);
    const sender = new EmailIdentity(this, "Sender", { identity });

    this.exportOutput("HostedZoneId", zone.hostedZoneId);
    this.exportOutput("NameServers", Fn.join(",", zone.hostedZoneNameServers!)); // for the stage of the parent domain
    this.exportOutput("EmailIdentityArn", sender.emailIdentityArn);
  }
}
