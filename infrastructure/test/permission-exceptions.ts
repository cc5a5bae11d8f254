import type { Exception } from "./permissions.ts";

/** Where a reason names no other source, it follows from the type's properties in the CloudFormation template reference. */
export const exceptions: Exception[] = [
  {
    type: "*",
    actions: "kms:*",
    without: ["KMSMasterKeyID", "KmsMasterKeyId", "KmsKeyId", "KmsKeyArn", "KMSKeyArn", "CustomSenderConfig"],
    reason: "Nothing is encrypted with a key of our own. Services use the keys of AWS with their own permissions.",
  },
  {
    type: "*",
    actions: "iam:CreateServiceLinkedRole",
    without: ["EmailConfiguration", "Replicas", "AnalyticsConfiguration"],
    reason: "Only for a user pool that sends through SES, for replicas of a table, and for analytics.",
  },
  {
    type: "AWS::ApiGateway::Method",
    actions: "iam:PassRole",
    without: ["Credentials"],
    reason: "Only for an integration with a role. Functions are invoked with their resource policies.",
  },
  {
    type: "AWS::ApiGateway::RestApi",
    actions: "iam:PassRole s3:GetObject",
    without: ["Body", "BodyS3Location"],
    reason: "Only for an API that is imported from an OpenAPI definition.",
  },
  {
    type: "AWS::CertificateManager::Certificate",
    actions: "acm-pca:*",
    without: ["CertificateAuthorityArn"],
    reason: "Only for a certificate of a private certificate authority.",
  },
  {
    type: "AWS::CloudFront::Distribution",
    actions: "cloudfront:CreateDistributionWithTags cloudfront:UpdateDistributionWithStagingConfig",
    without: ["ContinuousDeploymentPolicyId", "Staging"],
    reason:
      "The service authorization reference does not have these actions: CloudFront authorizes CreateDistributionWithTags as CreateDistribution and TagResource.",
  },
  {
    type: "AWS::CloudFront::Distribution",
    actions: "cloudfront:*ConnectionGroup cloudfront:GetVpcOrigin",
    without: ["ConnectionMode", "TenantConfig", "VpcOriginConfig"],
    reason: "Only for a distribution with tenants, or with an origin in a VPC.",
  },
  {
    type: "AWS::CodeDeploy::DeploymentGroup",
    actions: "codedeploy:RegisterOnPremisesInstance",
    without: ["OnPremisesInstanceTagFilters", "OnPremisesTagSet"],
    reason: "Only for deployments to servers.",
  },
  {
    type: "AWS::CodeDeploy::DeploymentGroup",
    actions: "codedeploy:CreateDeployment codedeploy:StopDeployment",
    without: ["Deployment"],
    reason:
      "Only for a group that deploys a revision itself. The update of a function's alias creates the deployments.",
  },
  {
    type: "AWS::Cognito::IdentityPool",
    actions: "cognito-sync:* iam:PassRole",
    without: ["CognitoEvents", "CognitoStreams", "PushSync"],
    reason: "Only for Cognito Sync.",
  },
  {
    type: "AWS::Cognito::UserPool",
    actions: "iam:PassRole",
    without: ["SmsConfiguration"],
    reason: "Only for a user pool that sends SMS.",
  },
  {
    type: "AWS::Cognito::UserPool",
    actions: "cognito-idp:AddCustomAttributes",
    without: ["Schema"],
    reason: "Only for attributes of our own.",
  },
  {
    type: "AWS::Cognito::UserPoolClient",
    actions: "iam:*",
    without: ["AnalyticsConfiguration"],
    reason: "Only for analytics with Pinpoint.",
  },
  {
    type: "AWS::DynamoDB::Table",
    actions:
      "dynamodb:*TableReplica dynamodb:BatchWriteItem dynamodb:DeleteItem dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:Scan dynamodb:UpdateItem",
    without: ["Replicas"],
    reason: "Only to create replicas in other regions, which copies the items.",
  },
  {
    type: "AWS::DynamoDB::Table",
    actions: "dynamodb:*ableKinesisStreamingDestination dynamodb:UpdateKinesisStreamingDestination kinesis:*",
    without: ["KinesisStreamSpecification"],
    reason: "Only for a stream to Kinesis.",
  },
  {
    type: "AWS::DynamoDB::Table",
    actions: "dynamodb:DescribeImport dynamodb:ImportTable logs:* s3:*",
    without: ["ImportSourceSpecification"],
    reason: "Only for a table that is imported from S3.",
  },
  {
    type: "AWS::DynamoDB::Table",
    actions: "dynamodb:*eResourcePolicy dynamodb:PutResourcePolicy",
    without: ["ResourcePolicy"],
    reason: "Only for a table with a resource policy.",
  },
  {
    type: "AWS::DynamoDB::Table",
    actions: "dynamodb:UpdateContributorInsights",
    without: ["ContributorInsightsSpecification"],
    reason: "Only for Contributor Insights.",
  },
  {
    type: "AWS::Events::Rule",
    actions: "iam:PassRole",
    without: ["RoleArn"],
    reason: "Only for a rule or a target with a role. Functions are invoked with their resource policies.",
  },
  {
    type: "AWS::IAM::Policy",
    actions: "iam:*GroupPolicy iam:*UserPolicy",
    without: ["Groups", "Users"],
    reason: "The policies belong to roles.",
  },
  {
    type: "AWS::IAM::Role",
    actions: "iam:DeleteRolePermissionsBoundary",
    reason: "Only for an update that removes the permissions boundary, which must fail.",
  },
  {
    type: "AWS::Lambda::Alias",
    actions: "lambda:PutProvisionedConcurrencyConfig lambda:DeleteProvisionedConcurrencyConfig",
    without: ["ProvisionedConcurrencyConfig"],
    reason: "Only for provisioned concurrency.",
  },
  {
    type: "AWS::Lambda::Function",
    actions: "ec2:* elasticfilesystem:* s3files:*",
    without: ["VpcConfig", "FileSystemConfigs"],
    reason: "Only for a function in a VPC, or with a file system.",
  },
  {
    type: "AWS::Lambda::Function",
    actions: "lambda:GetCodeSigningConfig lambda:PutFunctionCodeSigningConfig lambda:DeleteFunctionCodeSigningConfig",
    without: ["CodeSigningConfigArn"],
    reason: "Only for a function whose code is signed.",
  },
  {
    type: "AWS::Lambda::Function",
    actions:
      "lambda:GetLayerVersion lambda:PassCapacityProvider lambda:PutFunctionRecursionConfig lambda:PutFunctionScalingConfig lambda:PutRuntimeManagementConfig",
    without: ["Layers", "CapacityProviderConfig", "RecursiveLoop", "FunctionScalingConfig", "RuntimeManagementConfig"],
    reason: "Only for a function with the property of that name.",
  },
  {
    type: "AWS::Lambda::Function",
    actions: "lambda:PublishVersion",
    operations: ["update"],
    without: ["SnapStart", "PublishToLatestPublished"],
    reason: "Only for a function whose update publishes a version.",
  },
  {
    type: "AWS::Lambda::Function",
    actions: "s3:GetObjectVersion",
    without: ["S3ObjectVersion"],
    reason: "Only for code that names a version of an object.",
  },
  {
    type: "AWS::Lambda::Version",
    actions: "lambda:Put*",
    without: ["ProvisionedConcurrencyConfig", "RuntimePolicy", "FunctionScalingConfig"],
    reason: "Only for a version with the property of that name.",
  },
  {
    type: "AWS::Logs::LogGroup",
    actions: "firehose:* logs:CreateLogDelivery logs:*ResourcePolicy s3:*",
    without: ["ResourcePolicyDocument"],
    reason: "Only for a log group with a resource policy or with deliveries.",
  },
  {
    type: "AWS::Logs::LogGroup",
    actions:
      "logs:DeleteDataProtectionPolicy logs:PutDataProtectionPolicy logs:PutIndexPolicy logs:DeleteIndexPolicy logs:PutBearerTokenAuthentication logs:PutLogGroupDeletionProtection",
    without: [
      "DataProtectionPolicy",
      "FieldIndexPolicies",
      "BearerTokenAuthenticationEnabled",
      "DeletionProtectionEnabled",
    ],
    reason: "Only for a log group with the property of that name.",
  },
  {
    type: "AWS::Logs::LogGroup",
    actions: "logs:AssociateKmsKey logs:DisassociateKmsKey",
    without: ["KmsKeyId"],
    reason: "Only for a log group that is encrypted with a key of our own.",
  },
  {
    type: "AWS::Route53::HostedZone",
    actions: "ec2:* route53:*VPC*",
    without: ["VPCs"],
    reason: "Only for a private zone.",
  },
  {
    type: "AWS::Route53::HostedZone",
    actions: "route53:CreateQueryLoggingConfig route53:DeleteQueryLoggingConfig",
    without: ["QueryLoggingConfig"],
    reason: "Only for a zone whose queries are logged.",
  },
  {
    type: "AWS::Route53::HostedZone",
    actions: "route53:UpdateHostedZoneFeatures",
    without: ["HostedZoneFeatures"],
    reason: "Only for a zone with features such as accelerated recovery.",
  },
  {
    type: "AWS::S3::Bucket",
    actions: "iam:PassRole s3:PutBucketReplication s3:PutReplicationConfiguration s3:DeleteBucketReplication",
    without: ["ReplicationConfiguration"],
    reason: "Only for a bucket that is replicated.",
  },
  {
    type: "AWS::S3::Bucket",
    actions: "s3tables:* s3:*MetadataTableConfiguration s3:UpdateBucketMetadata*",
    without: ["MetadataTableConfiguration", "MetadataConfiguration"],
    reason: "Only for a bucket with metadata tables.",
  },
  {
    type: "AWS::S3::Bucket",
    actions: "s3:DeleteObject s3:PutObjectAcl",
    reason: "Only for the objects of a bucket, which the handler neither deletes nor shares.",
  },
  {
    type: "AWS::S3::Bucket",
    actions:
      "s3:DeleteBucketAnalyticsConfiguration s3:DeleteBucketCors s3:DeleteBucketEncryption s3:DeleteBucketLifecycle s3:DeleteBucketMetricsConfiguration s3:DeleteBucketTagging",
    reason:
      "The service authorization reference does not have these actions: S3 authorizes them as the actions that begin with Put.",
  },
  {
    type: "AWS::S3::Bucket",
    actions: "s3:PutBucketObjectLockConfiguration s3:PutObjectLockConfiguration",
    without: ["ObjectLockConfiguration", "ObjectLockEnabled"],
    reason: "Only for a bucket with Object Lock.",
  },
  {
    type: "AWS::S3::Bucket",
    actions: "s3:DeleteBucketWebsite",
    without: ["WebsiteConfiguration"],
    reason: "Only to remove a website.",
  },
  {
    type: "AWS::SNS::*",
    actions: "iam:GetRole iam:PassRole",
    without: ["SubscriptionRoleArn", "DeliveryStatusLogging"],
    reason: "Only for a subscription of Firehose, or a topic that logs deliveries.",
  },
  {
    type: "AWS::SNS::Topic",
    actions: "sns:PutDataProtectionPolicy",
    without: ["DataProtectionPolicy"],
    reason: "Only for a topic with a data protection policy.",
  },
];
