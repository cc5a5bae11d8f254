/** A grant that roles have although no known call needs it. */
export interface Surplus {
  /** Patterns of actions, separated by spaces. */
  actions: string;
  /** Only on this resource of a statement. */
  resource?: string;
  reason: string;
}

export const surplus: Surplus[] = [
  {
    actions: "s3:GetBucketLocation",
    reason: "Returns only the region of the bucket. S3 clients ask for it when they send a request to another region.",
  },
  {
    actions: "iam:CreateServiceLinkedRole",
    resource: "arn:aws:iam::*:role/aws-service-role/ops.apigateway.amazonaws.com/*",
    reason:
      "API Gateway creates the role for the first API that is traced, with the permissions of its caller: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-enabling-xray.html",
  },
  {
    actions: "apigateway:GET",
    resource: "arn:aws:apigateway:*::/restapis",
    reason: "Lists the APIs. The response contains names and settings, which the role may also read API by API.",
  },
  {
    actions: "logs:DeleteLogGroup",
    resource: "arn:aws:logs:*:log-group:API-Gateway-Execution-Logs_*:?",
    reason:
      "The other form of the ARN of a log group: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html",
  },
];
