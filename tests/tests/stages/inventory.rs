//! Lists all resources in an account, so that a test can compare the account before and after a command.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::http::Method;

use crate::account::Account;

/// A list operation of an AWS service with a JSON protocol.
struct JsonList {
    service: &'static str,
    target: &'static str,
    input: Value,
    /// The JSON pointer to the list of resources in the response.
    list: &'static str,
    /// The JSON pointer to the name of a resource in an entry of the list.
    name: &'static str,
}

fn json_lists() -> [JsonList; 8] {
    let list = |service, target, list, name| JsonList {
        service,
        target,
        input: json!({}),
        list,
        name,
    };
    [
        list(
            "dynamodb",
            "DynamoDB_20120810.ListTables",
            "/TableNames",
            "",
        ),
        list(
            "logs",
            "Logs_20140328.DescribeLogGroups",
            "/logGroups",
            "/logGroupName",
        ),
        list(
            "logs",
            "Logs_20140328.DescribeQueryDefinitions",
            "/queryDefinitions",
            "/name",
        ),
        list(
            "ssm",
            "AmazonSSM.DescribeParameters",
            "/Parameters",
            "/Name",
        ),
        list("events", "AWSEvents.ListRules", "/Rules", "/Name"),
        list("sqs", "AmazonSQS.ListQueues", "/QueueUrls", ""),
        JsonList {
            input: json!({"MaxResults": 60}),
            ..list(
                "cognito-idp",
                "AWSCognitoIdentityProviderService.ListUserPools",
                "/UserPools",
                "/Id",
            )
        },
        JsonList {
            input: json!({"MaxResults": 60}),
            ..list(
                "cognito-identity",
                "AWSCognitoIdentityService.ListIdentityPools",
                "/IdentityPools",
                "/IdentityPoolId",
            )
        },
    ]
}

/// List operations of AWS services with the query protocol. Each element has the service, its API version, the action,
/// and the XML element that contains a resource's name.
const QUERY_LISTS: [(&str, &str, &str, &str); 7] = [
    ("iam", "2010-05-08", "ListRoles", "RoleName"),
    ("iam", "2010-05-08", "ListPolicies", "PolicyName"),
    ("sns", "2010-03-31", "ListTopics", "TopicArn"),
    ("sns", "2010-03-31", "ListSubscriptions", "SubscriptionArn"),
    ("monitoring", "2010-08-01", "DescribeAlarms", "AlarmName"),
    (
        "monitoring",
        "2010-08-01",
        "DescribeAlarms&AlarmTypes.member.1=CompositeAlarm",
        "AlarmName",
    ),
    (
        "monitoring",
        "2010-08-01",
        "ListDashboards",
        "DashboardName",
    ),
];

/// List operations of AWS services with the REST XML protocol. Each element has the service, the path, and the XML
/// element that contains a resource's name.
const REST_LISTS: &[(&str, &str, &str)] = &[
    // part: web {
    ("cloudfront", "/2020-05-31/distribution", "Id"),
    ("cloudfront", "/2020-05-31/origin-access-control", "Id"),
    ("cloudfront", "/2020-05-31/function", "Name"),
    (
        "cloudfront",
        "/2020-05-31/response-headers-policy?Type=custom",
        "Id",
    ),
    // part: web }
    ("route53", "/2013-04-01/hostedzone", "Id"),
];

impl Account {
    /// Returns a line of text for each resource in the account.
    pub(crate) async fn inventory(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        all.extend(self.stack_lines().await);
        all.extend(self.bucket_lines().await);
        all.extend(self.function_lines().await);
        for list in json_lists() {
            all.extend(self.json_lines(list).await);
        }
        all.extend(self.query_lines().await);
        all.extend(self.rest_lines().await);
        all
    }

    /// Returns one line for each stack and one for each CloudFormation export. The lines contain the status of the
    /// stack and the value of the export.
    async fn stack_lines(&self) -> Vec<String> {
        let stacks = self.stacks().await.into_iter();
        let stacks =
            stacks.map(|(name, stack)| format!("stack {name} {:?}", stack.stack_status.unwrap()));
        let exports = self.exports().await.into_iter();
        let exports = exports.map(|(name, value)| format!("export {name} {value}"));
        stacks.chain(exports).collect()
    }

    /// Returns one line for each bucket and one for each object. The line of an object contains the object's ETag.
    async fn bucket_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for bucket in self.s3.list_buckets().send().await.unwrap().buckets() {
            let bucket = bucket.name().unwrap();
            lines.push(format!("bucket {bucket}"));
            let mut pages = self
                .s3
                .list_objects_v2()
                .bucket(bucket)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.unwrap();
                let objects = page.contents().iter();
                lines.extend(objects.map(|object| {
                    format!(
                        "object {bucket}/{} {}",
                        object.key().unwrap(),
                        object.e_tag().unwrap()
                    )
                }));
            }
        }
        lines
    }

    /// Returns one line for each Lambda function and one for each event source mapping. The line of a function contains
    /// the hash of the function's code.
    async fn function_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut functions = self.lambda.list_functions().into_paginator().items().send();
        while let Some(function) = functions.next().await {
            let function = function.unwrap();
            lines.push(format!(
                "function {} {}",
                function.function_name().unwrap(),
                function.code_sha256().unwrap()
            ));
        }
        let mappings = self.lambda.list_event_source_mappings().send().await;
        for mapping in mappings.unwrap().event_source_mappings() {
            lines.push(format!("event source {}", mapping.uuid().unwrap()));
        }
        lines
    }

    /// Calls a list operation with a JSON protocol until all pages are read. Returns a line for each resource.
    async fn json_lines(&self, list: JsonList) -> Vec<String> {
        let JsonList {
            service,
            target,
            mut input,
            list,
            name,
        } = list;
        let token = if service == "logs" {
            "nextToken"
        } else {
            "NextToken"
        };
        let mut lines = Vec::new();
        loop {
            let response = self.call(service, target, &input).await;
            let entries = response
                .pointer(list)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            lines.extend(
                entries
                    .iter()
                    .map(|entry| format!("{service} {}", entry.pointer(name).unwrap())),
            );
            match response.get(token) {
                Some(next) if !next.is_null() => input[token] = next.clone(),
                _ => return lines,
            }
        }
    }

    async fn query_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (service, version, action, element) in QUERY_LISTS {
            let form = format!("Action={action}&Version={version}&MaxItems=1000&MaxRecords=100");
            let request = self
                .request(Method::POST, "/")
                .header("content-type", "application/x-www-form-urlencoded");
            let response = request
                .body(form)
                .signed_by(&self.signer(service))
                .send()
                .await;
            assert_eq!(response.status, 200, "{action}: {}", response.text());
            lines.extend(
                elements(&response.text(), element)
                    .map(|name| format!("{service} {action} {name}")),
            );
        }
        lines
    }

    async fn rest_lines(&self) -> Vec<String> {
        let request = self
            .request(Method::GET, "/restapis?limit=500")
            .signed_by(&self.signer("apigateway"));
        let apis: Value = serde_json::from_slice(&request.send().await.body).unwrap();
        let apis = apis["item"].as_array().cloned().unwrap_or_default();
        let mut lines: Vec<_> = apis
            .iter()
            .map(|api| format!("API {}", api["id"]))
            .collect();
        for (service, path, element) in REST_LISTS {
            let response = self
                .request(Method::GET, path)
                .signed_by(&self.signer(service))
                .send()
                .await;
            assert_eq!(response.status, 200, "{path}: {}", response.text());
            lines.extend(
                elements(&response.text(), element).map(|name| format!("{service} {path} {name}")),
            );
        }
        lines
    }
}

/// Returns the text of each XML element with this name.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let close = format!("</{name}>");
    let open = format!("<{name}>");
    let texts: Vec<&str> = xml
        .split(&open)
        .skip(1)
        .map(|rest| rest.split(&close).next().unwrap())
        .collect();
    texts.into_iter()
}
