import { type App, Duration } from "aws-cdk-lib";
import { BlockPublicAccess, Bucket, BucketEncryption, type CfnBucket, HttpMethods } from "aws-cdk-lib/aws-s3";
import type { Stage } from "./stage.ts";
import { StageStack } from "./stage-stack.ts";

/** The bucket of the attachments. */
export class S3Stack extends StageStack {
  constructor(app: App, stage: Stage) {
    super(app, "s3", stage);

    const attachments = new Bucket(this, "Attachments", {
      bucketName: `${this.nameOf("attachments")}-${this.account}`, // bucket names are unique across all AWS accounts
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local, // the local cloud supports only HTTP
      versioned: stage.protected,
      cors: [
        {
          allowedMethods: [HttpMethods.GET, HttpMethods.HEAD, HttpMethods.PUT],
          allowedOrigins: [
            stage.allowedOrigin,
            // part: web {
            // The CloudFront domains of stages that link to this bucket are not known here. Any of them is allowed, because a
            // request needs a presigned URL anyway.
            ...(stage.shared ? ["https://*.cloudfront.net"] : []),
            // part: web }
          ],
          allowedHeaders: ["*"],
          exposedHeaders: ["ETag"],
          maxAge: 600,
        },
      ],
      lifecycleRules: [
        {
          abortIncompleteMultipartUploadAfter: Duration.days(1),
          ...(stage.protected && {
            noncurrentVersionExpiration: Duration.days(30),
            expiredObjectDeleteMarker: true, // the marker contains the file's name, and stays after its last version
          }),
        },
      ],
      removalPolicy: this.removalPolicy,
    });
    // CDK's `eventBridgeEnabled` would add a custom resource and a Lambda function.
    (attachments.node.defaultChild as CfnBucket).notificationConfiguration = {
      eventBridgeConfiguration: { eventBridgeEnabled: true },
    };

    this.exportOutput("AttachmentsBucketName", attachments.bucketName);
    this.exportOutput("AttachmentsBucketArn", attachments.bucketArn);
  }
}
