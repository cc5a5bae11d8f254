import { S3Client } from "@aws-sdk/client-s3";

// The local S3 has no host name per bucket.
export const s3 = new S3Client({ forcePathStyle: process.env.AWS_ENDPOINT_URL !== undefined });
export const Bucket = process.env.ATTACHMENTS_BUCKET!;
