import { type App, Duration } from "aws-cdk-lib";
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
import { AaaaRecord, ARecord, HostedZone, RecordTarget } from "aws-cdk-lib/aws-route53";
import { CloudFrontTarget } from "aws-cdk-lib/aws-route53-targets";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import { securityHeaders } from "../../web/security-headers.ts";
import { type Stage, tables } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** The region of CloudFront's certificates. The certificate is in the same region as all other resources of the stage. */
const certificateRegion = "us-east-1";

/**
 * Checks that CloudFront accepts the certificate of a stage's domain.
 *
 * @throws if the stage has a delegated domain and is in another region.
 */
export function checkCertificateRegion(stage: Stage, region: string = tables().region): void {
  if (stage.delegated && region !== certificateRegion)
    throw new Error(
      `The app of ${stage.name} cannot use the domain ${stage.domain} in ${region}: CloudFront accepts only certificates of ` +
        `${certificateRegion}. Set \`region\` to ${certificateRegion} in serverless.yml, or remove \`delegated\` from the row.`,
    );
}

/**
 * The CloudFront Function that serves index.html for paths without a dot in the last segment: these are pages of the app.
 *
 * CloudFront's engine is njs, which supports ECMAScript 5.1 and few later features:
 * https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/functions-javascript-runtime-20.html
 */
const singlePage = `function handler(event) {
  var request = event.request;
  if (request.uri.split("/").pop().indexOf(".") === -1) request.uri = "/index.html";
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
    // One policy for all files, because an account may have only 20. `Cache-Control` is metadata of the uploaded files.
    const headers = new ResponseHeadersPolicy(this, "Headers", {
      responseHeadersPolicyName: this.nameOf("headers"),
      // CloudFront does not accept these as custom headers.
      securityHeadersBehavior: {
        contentSecurityPolicy: { contentSecurityPolicy: security["Content-Security-Policy"], override: true },
        contentTypeOptions: { override: true },
        frameOptions: { frameOption: HeadersFrameOption.DENY, override: true },
        referrerPolicy: { referrerPolicy: HeadersReferrerPolicy.NO_REFERRER, override: true },
        strictTransportSecurity: { accessControlMaxAge: Duration.days(730), includeSubdomains: true, override: true },
      },
      customHeadersBehavior: {
        customHeaders: [{ header: "Permissions-Policy", value: security["Permissions-Policy"], override: true }],
      },
    });
    const behavior = {
      origin: S3BucketOrigin.withOriginAccessControl(bucket),
      viewerProtocolPolicy: ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
      compress: true,
      responseHeadersPolicy: headers,
    };
    const site = stage.domain !== undefined && stage.delegated ? this.site(stage.domain) : undefined;
    const distribution = new Distribution(this, "Distribution", {
      comment: this.nameOf("web"),
      defaultRootObject: "index.html",
      httpVersion: HttpVersion.HTTP2_AND_3,
      minimumProtocolVersion: SecurityPolicyProtocol.TLS_V1_2_2021,
      ...(site && { domainNames: [site.domain], certificate: site.certificate }),
      defaultBehavior: {
        ...behavior,
        cachePolicy: CachePolicy.CACHING_DISABLED,
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
        "assets/*": { ...behavior, cachePolicy: CachePolicy.CACHING_OPTIMIZED },
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
      others: [
        // part: billing {
        // https://docs.stripe.com/security/guide#content-security-policy
        "https://js.stripe.com",
        "https://*.js.stripe.com",
        "https://api.stripe.com",
        "https://hooks.stripe.com",
        // part: billing }
      ],
    });
  }

  /** The certificate of the stage's domain. The hosted zone is in the stack dns. */
  private site(domain: string) {
    const zone = HostedZone.fromHostedZoneAttributes(this, "Zone", {
      hostedZoneId: this.importOutput("HostedZoneId"),
      zoneName: domain,
    });
    const certificate = new Certificate(this, "Certificate", {
      domainName: domain,
      validation: CertificateValidation.fromDns(zone),
    });
    return { domain, zone, certificate };
  }
}
