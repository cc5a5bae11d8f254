import { type App, Duration, RemovalPolicy } from "aws-cdk-lib";
import { AnyPrincipal, Effect, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/**
 * The bucket of the releases and artifacts of the account's stages. Everything of a stage is below the stage's name:
 * `STAGE/releases/`, `STAGE/artifacts/` and `STAGE/lock.json`. Artifacts are named by the hash of their content.
 */
export class ReleasesStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "releases", account);

    const bucket = new Bucket(this, "Releases", {
      bucketName: `scratchpad-releases-${this.account}`,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local, // the local cloud supports only HTTP
      versioned: !this.local, // keeps what an object contained before it was overwritten or deleted
      lifecycleRules: [
        {
          abortIncompleteMultipartUploadAfter: Duration.days(1),
          ...(!this.local && { noncurrentVersionExpiration: Duration.days(30), expiredObjectDeleteMarker: true }),
        },
      ],
      removalPolicy: RemovalPolicy.DESTROY, // S3 refuses to delete a bucket that is not empty
    });
    // With `If-None-Match: *`, S3 refuses to overwrite an object. Copies and multipart uploads cannot send the header:
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    bucket.addToResourcePolicy(
      new PolicyStatement({
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ["s3:PutObject"],
        resources: [bucket.arnForObjects("*/artifacts/*")],
        conditions: { Null: { "s3:if-none-match": "true" } },
      }),
    );
  }
}
