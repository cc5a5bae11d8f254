import { type App, Duration, Fn } from "aws-cdk-lib";
import { Certificate, CertificateValidation } from "aws-cdk-lib/aws-certificatemanager";
import {
  CachePolicy,
  Function as CloudFrontFunction,
  Distribution,
  FunctionCode,
  FunctionEventType,
  FunctionRuntime,
  HeadersFrameOption,
  HeadersReferrerPolicy,
  HttpVersion,
  ResponseHeadersPolicy,
  SecurityPolicyProtocol,
  ViewerProtocolPolicy,
} from "aws-cdk-lib/aws-cloudfront";
import { S3BucketOrigin } from "aws-cdk-lib/aws-cloudfront-origins";
import { AaaaRecord, ARecord, NsRecord, PublicHostedZone, RecordTarget } from "aws-cdk-lib/aws-route53";
import { CloudFrontTarget } from "aws-cdk-lib/aws-route53-targets";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import { securityHeaders } from "../../web/security-headers.ts";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** Serves index.html for paths without a dot in the last segment: these are pages of the app. */
const singlePage = `function handler({ request }) {
  if (!request.uri.split("/").pop().includes(".")) request.uri = "/index.html";
  return request;
}`;

/** Serves the browser app: a private bucket behind CloudFront. The files are uploaded separately, not by the stack. */
export class WebStack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "web", stage);

    const bucket = new Bucket(this, "App", {
      bucketName: `${this.nameOf("web")}-${this.account}`,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local,
      versioned: stage.protected,
      removalPolicy: this.removalPolicy,
    });

    const security = this.security();
    const headers = (name: string, cacheControl: string) =>
      new ResponseHeadersPolicy(this, name, {
        responseHeadersPolicyName: this.nameOf(name),
        // CloudFront does not accept these as custom headers.
        securityHeadersBehavior: {
          contentSecurityPolicy: { contentSecurityPolicy: security["Content-Security-Policy"], override: true },
          contentTypeOptions: { override: true },
          frameOptions: { frameOption: HeadersFrameOption.DENY, override: true },
          referrerPolicy: { referrerPolicy: HeadersReferrerPolicy.NO_REFERRER, override: true },
          strictTransportSecurity: { accessControlMaxAge: Duration.days(730), includeSubdomains: true, override: true },
        },
        customHeadersBehavior: {
          customHeaders: Object.entries({
            "Cache-Control": cacheControl,
            "Permissions-Policy": security["Permissions-Policy"],
          }).map(([header, value]) => ({ header, value, override: true })),
        },
      });
    const behavior = {
      origin: S3BucketOrigin.withOriginAccessControl(bucket),
      viewerProtocolPolicy: ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
      compress: true,
    };
    const site = stage.domain === undefined ? undefined : this.site(stage.domain);
    const distribution = new Distribution(this, "Distribution", {
      comment: this.nameOf("web"),
      defaultRootObject: "index.html",
      httpVersion: HttpVersion.HTTP2_AND_3,
      minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
      ...(site && { domainNames: [site.domain], certificate: site.certificate }),
      defaultBehavior: {
        ...behavior,
        cachePolicy: CachePolicy.CACHING_DISABLED,
        responseHeadersPolicy: headers("pages", "no-cache"),
        functionAssociations: [
          {
            eventType: FunctionEventType.VIEWER_REQUEST,
            function: new CloudFrontFunction(this, "SinglePage", {
              functionName: this.nameOf("single-page"),
              code: FunctionCode.fromInline(singlePage),
              runtime: FunctionRuntime.JS_2_0,
            }),
          },
        ],
      },
      additionalBehaviors: {
        // File names contain a hash of the content.
        "assets/*": {
          ...behavior,
          cachePolicy: CachePolicy.CACHING_OPTIMIZED,
          responseHeadersPolicy: headers("assets", "public, max-age=31536000, immutable"),
        },
      },
    });
    if (site) {
      const target = RecordTarget.fromAlias(new CloudFrontTarget(distribution));
      new ARecord(this, "Address", { zone: site.zone, target });
      new AaaaRecord(this, "AddressV6", { zone: site.zone, target });
    }

    this.exportOutput("WebBucketName", bucket.bucketName);
    this.exportOutput("WebDistributionId", distribution.distributionId);
    this.exportOutput("WebUrl", `https://${site?.domain ?? distribution.distributionDomainName}`);
  }

  private security() {
    const { region, urlSuffix } = this;
    return securityHeaders({
      // The API is deployed after its infrastructure, so its hostname is not known yet.
      api: ["*.execute-api", "cognito-idp", "cognito-identity"].map(
        (service) => `https://${service}.${region}.${urlSuffix}`,
      ),
      files: `https://scratchpad-${this.stage.linked}-attachments-${this.account}.s3.${region}.${urlSuffix}`,
      stripe: [
        "https://js.stripe.com",
        "https://*.js.stripe.com",
        "https://api.stripe.com",
        "https://hooks.stripe.com",
      ],
    });
  }

  /** The hosted zone and certificate of the stage's domain, and the delegation of its subdomains to other stages. */
  private site(domain: string) {
    const zone = new PublicHostedZone(this, "Zone", { zoneName: domain });
    for (const { domain: recordName, nameServers } of this.stage.delegations)
      new NsRecord(this, `Delegation ${recordName}`, { zone, recordName: `${recordName}.`, values: nameServers });
    this.exportOutput("NameServers", Fn.join(",", zone.hostedZoneNameServers!)); // for the stage of the parent domain
    const certificate = new Certificate(this, "Certificate", {
      domainName: domain,
      validation: CertificateValidation.fromDns(zone),
    });
    return { domain, zone, certificate };
  }
}
