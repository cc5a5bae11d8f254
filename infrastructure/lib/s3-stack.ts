import { type App, Duration } from "aws-cdk-lib";
import { BlockPublicAccess, Bucket, BucketEncryption, type CfnBucket, HttpMethods } from "aws-cdk-lib/aws-s3";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

export class S3Stack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "s3", stage);

    const attachments = new Bucket(this, "Attachments", {
      bucketName: `${this.nameOf("attachments")}-${this.account}`, // bucket names are shared by all of AWS
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local, // the local cloud speaks plain HTTP
      versioned: stage.protected,
      cors: [
        {
          allowedMethods: [HttpMethods.GET, HttpMethods.HEAD, HttpMethods.PUT],
          // What links to it is served at names that CloudFront chooses. A URL is signed in any case.
          allowedOrigins: [stage.allowedOrigin, ...(stage.shared ? ["https://*.cloudfront.net"] : [])],
          allowedHeaders: ["*"],
          exposedHeaders: ["ETag"],
          maxAge: 600,
        },
      ],
      lifecycleRules: [
        {
          abortIncompleteMultipartUploadAfter: Duration.days(1),
          ...(stage.protected && { noncurrentVersionExpiration: Duration.days(30) }),
        },
      ],
      removalPolicy: this.removalPolicy,
    });
    // CDK's own `eventBridgeEnabled` would bring a custom resource and a function to run it.
    (attachments.node.defaultChild as CfnBucket).notificationConfiguration = {
      eventBridgeConfiguration: { eventBridgeEnabled: true },
    };

    this.share("AttachmentsBucketName", attachments.bucketName);
    this.share("AttachmentsBucketArn", attachments.bucketArn);
  }
}
