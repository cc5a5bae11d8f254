import { type App, Duration, RemovalPolicy } from "aws-cdk-lib";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** What was deployed to the account's stages, and from what. Files are named by their content: no version is another. */
export class ReleasesStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "releases", account);

    new Bucket(this, "Releases", {
      bucketName: `scratchpad-releases-${this.account}`,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local, // the local cloud speaks plain HTTP
      lifecycleRules: [{ abortIncompleteMultipartUploadAfter: Duration.days(1) }],
      removalPolicy: RemovalPolicy.DESTROY, // which S3 refuses while there is a release in it
    });
  }
}
