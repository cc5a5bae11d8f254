import { type App, Duration, RemovalPolicy } from "aws-cdk-lib";
import { BlockPublicAccess, Bucket, BucketEncryption } from "aws-cdk-lib/aws-s3";
import type { Account } from "../account.ts";
import { AccountStack } from "./account-stack.ts";

/** The bucket of the releases and artifacts of the account's stages. Artifacts are named by the hash of their content. */
export class ReleasesStack extends AccountStack {
  constructor(app: App, account: Account) {
    super(app, "releases", account);

    new Bucket(this, "Releases", {
      bucketName: `scratchpad-releases-${this.account}`,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      encryption: BucketEncryption.S3_MANAGED,
      enforceSSL: !this.local, // the local cloud supports only HTTP
      lifecycleRules: [{ abortIncompleteMultipartUploadAfter: Duration.days(1) }],
      removalPolicy: RemovalPolicy.DESTROY, // S3 refuses to delete a bucket that is not empty
    });
  }
}
