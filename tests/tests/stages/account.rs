//! What is in an account, by AWS's APIs.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::types::{Stack, StackEvent};
use e2e::http::{Method, Request, Signer};
use reqwest::{Client, Url};
use serde_json::{Value, json};

/// The AWS configuration with the accounts that this machine plays.
const CONFIGURATION: &str = "AWS_CONFIG_FILE";

/// An account that this machine plays, and its owner.
#[derive(Debug)]
pub(crate) struct Account {
    /// Its number.
    pub(crate) id: String,
    /// Where its services are.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) s3: aws_sdk_s3::Client,
}

impl Account {
    /// The account of dev, and of stages without a row.
    pub(crate) fn dev() -> Self {
        Self::of("scratchpad-dev")
    }

    /// The account of prod.
    pub(crate) fn prod() -> Self {
        Self::of("scratchpad-prod")
    }

    fn of(profile: &str) -> Self {
        let configuration = configuration();
        let begin = format!("[profile {profile}]\n");
        let section = configuration.split(&begin).nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let settings = section.lines().filter_map(|line| line.split_once(" = "));
        let settings: BTreeMap<&str, &str> = settings.collect();
        let [id, endpoint, region] =
            ["aws_access_key_id", "endpoint_url", "region"].map(|name| settings[name].to_owned());
        let var = |name: &str| match name {
            "AWS_REGION" => Some(region.clone().into()),
            "AWS_ACCESS_KEY_ID" => Some(id.clone().into()),
            "AWS_SECRET_ACCESS_KEY" => Some("local".into()),
            "AWS_ENDPOINT_URL" => Some(endpoint.clone().into()),
            _ => None,
        };
        let mut config = aws::Stack::from_vars(var).unwrap().config().to_builder();
        config.set_timeout_config(None);
        let config = config.build();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
        Self {
            cloudformation: aws_sdk_cloudformation::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            id,
            endpoint,
            region,
        }
    }

    /// The stacks, by name.
    pub(crate) async fn stacks(&self) -> BTreeMap<String, Stack> {
        let mut pages = self
            .cloudformation
            .describe_stacks()
            .into_paginator()
            .items()
            .send();
        let mut stacks = BTreeMap::new();
        while let Some(stack) = pages.next().await {
            let stack = stack.unwrap();
            stacks.insert(stack.stack_name().unwrap().to_owned(), stack);
        }
        stacks
    }

    /// The stacks of a stage, by name.
    pub(crate) async fn stacks_of(&self, stage: &str) -> BTreeMap<String, Stack> {
        let mut stacks = self.stacks().await;
        stacks.retain(|name, _| name.ends_with(&format!("-{stage}")));
        stacks
    }

    /// What the stacks of a stage were made from, by their names.
    pub(crate) async fn fingerprints(&self, stage: &str) -> BTreeMap<String, String> {
        let stacks = self.stacks_of(stage).await.into_iter();
        let fingerprint = |stack: &Stack| {
            let outputs = stack.outputs().iter();
            let mut outputs =
                outputs.filter(|output| output.output_key().unwrap().contains("ingerprint"));
            outputs.next().unwrap().output_value().unwrap().to_owned()
        };
        stacks
            .map(|(name, stack)| (name, fingerprint(&stack)))
            .collect()
    }

    /// What the stacks export, by name. The stacks themselves say it: what an update drops, the local cloud goes on
    /// listing as an export.
    pub(crate) async fn exports(&self) -> BTreeMap<String, String> {
        let mut exports = BTreeMap::new();
        for stack in self.stacks().await.into_values() {
            for output in stack.outputs.unwrap_or_default() {
                exports.extend(output.export_name.zip(output.output_value));
            }
        }
        exports
    }

    /// The names of all that a stack's template imports.
    pub(crate) async fn imports(&self, stack: &str) -> BTreeSet<String> {
        fn find(value: &Value, names: &mut BTreeSet<String>) {
            if let Some(name) = value.get("Fn::ImportValue").and_then(Value::as_str) {
                names.insert(name.to_owned());
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|value| find(value, names)),
                Value::Array(values) => values.iter().for_each(|value| find(value, names)),
                _ => {}
            }
        }
        let template = self
            .cloudformation
            .get_template()
            .stack_name(stack)
            .send()
            .await
            .unwrap();
        let mut names = BTreeSet::new();
        find(
            &serde_json::from_str(template.template_body().unwrap()).unwrap(),
            &mut names,
        );
        names
    }

    /// All that has happened to a stack, the newest first.
    pub(crate) async fn events(&self, stack: &str) -> Vec<StackEvent> {
        let mut pages = self
            .cloudformation
            .describe_stack_events()
            .stack_name(stack)
            .into_paginator()
            .items()
            .send();
        let mut events = Vec::new();
        while let Some(event) = pages.next().await {
            events.push(event.unwrap());
        }
        events
    }

    /// All that has happened to all stacks, in one text that is another once anything more has.
    pub(crate) async fn history(&self) -> BTreeMap<String, Vec<String>> {
        let mut history = BTreeMap::new();
        for (name, stack) in self.stacks().await {
            let events = self.events(&name).await.into_iter();
            let mut lines: Vec<String> = events.map(|event| event.event_id.unwrap()).collect();
            lines.push(format!(
                "{:?} {:?}",
                stack.last_updated_time, stack.stack_status
            ));
            history.insert(name, lines);
        }
        history
    }

    /// The resources of the stacks of a stage: type, and name in the account.
    pub(crate) async fn resources(&self, stage: &str) -> BTreeSet<(String, String)> {
        let mut resources = BTreeSet::new();
        for name in self.stacks_of(stage).await.keys() {
            let mut pages = self
                .cloudformation
                .list_stack_resources()
                .stack_name(name)
                .into_paginator()
                .items()
                .send();
            while let Some(resource) = pages.next().await {
                let resource = resource.unwrap();
                resources.insert((
                    resource.resource_type.unwrap(),
                    resource.physical_resource_id.unwrap(),
                ));
            }
        }
        resources
    }

    /// The hashes of the functions' code, as Lambda counts them, by the functions' names without the stage's.
    pub(crate) async fn code(&self, stage: &str) -> BTreeMap<String, String> {
        let prefix = format!("scratchpad-{stage}-");
        let mut pages = self.lambda.list_functions().into_paginator().items().send();
        let mut code = BTreeMap::new();
        while let Some(function) = pages.next().await {
            let function = function.unwrap();
            if let Some(name) = function.function_name().unwrap().strip_prefix(&prefix) {
                code.insert(name.to_owned(), function.code_sha256().unwrap().to_owned());
            }
        }
        code
    }

    /// The bucket with releases.
    pub(crate) fn releases_bucket(&self) -> String {
        format!("scratchpad-releases-{}", self.id)
    }

    /// The records of a stage's releases, the oldest first.
    pub(crate) async fn releases(&self, stage: &str) -> Vec<Value> {
        let prefix = format!("releases/{stage}/");
        let list = self
            .s3
            .list_objects_v2()
            .bucket(self.releases_bucket())
            .prefix(prefix);
        let mut releases = Vec::new();
        for object in list.send().await.unwrap().contents() {
            let key = object.key().unwrap();
            if !key.ends_with("lock.json") {
                releases.push(self.object(key).await.unwrap());
            }
        }
        releases
    }

    /// An object of the bucket with releases.
    pub(crate) async fn object(&self, key: &str) -> Option<Value> {
        let object = self
            .s3
            .get_object()
            .bucket(self.releases_bucket())
            .key(key)
            .send()
            .await;
        let bytes = object.ok()?.body.collect().await.unwrap().to_vec();
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// Writes an object into the bucket with releases.
    pub(crate) async fn put_object(&self, key: &str, value: &Value) {
        let put = self.s3.put_object().bucket(self.releases_bucket()).key(key);
        let body = value.to_string().into_bytes();
        put.body(body.into()).send().await.unwrap();
    }

    /// Everything in the account, resource by resource.
    pub(crate) async fn inventory(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (name, stack) in self.stacks().await {
            all.insert(format!("stack {name} {:?}", stack.stack_status.unwrap()));
        }
        all.extend(
            self.exports()
                .await
                .into_iter()
                .map(|(name, value)| format!("export {name} {value}")),
        );
        for bucket in self.s3.list_buckets().send().await.unwrap().buckets() {
            let bucket = bucket.name().unwrap();
            all.insert(format!("bucket {bucket}"));
            let mut pages = self
                .s3
                .list_objects_v2()
                .bucket(bucket)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.unwrap();
                let objects = page.contents().iter();
                all.extend(objects.map(|object| {
                    format!(
                        "object {bucket}/{} {}",
                        object.key().unwrap(),
                        object.e_tag().unwrap()
                    )
                }));
            }
        }
        let mut functions = self.lambda.list_functions().into_paginator().items().send();
        while let Some(function) = functions.next().await {
            let function = function.unwrap();
            all.insert(format!(
                "function {} {}",
                function.function_name().unwrap(),
                function.code_sha256().unwrap()
            ));
        }
        for mapping in self
            .lambda
            .list_event_source_mappings()
            .send()
            .await
            .unwrap()
            .event_source_mappings()
        {
            all.insert(format!("event source {}", mapping.uuid().unwrap()));
        }
        // Each service that speaks JSON: the call, and where its answer has names.
        let asked = [
            (
                "dynamodb",
                "DynamoDB_20120810.ListTables",
                json!({}),
                "/TableNames",
                "",
            ),
            (
                "logs",
                "Logs_20140328.DescribeLogGroups",
                json!({}),
                "/logGroups",
                "/logGroupName",
            ),
            (
                "ssm",
                "AmazonSSM.DescribeParameters",
                json!({}),
                "/Parameters",
                "/Name",
            ),
            (
                "events",
                "AWSEvents.ListRules",
                json!({}),
                "/Rules",
                "/Name",
            ),
            ("sqs", "AmazonSQS.ListQueues", json!({}), "/QueueUrls", ""),
            (
                "cognito-idp",
                "AWSCognitoIdentityProviderService.ListUserPools",
                json!({"MaxResults": 60}),
                "/UserPools",
                "/Id",
            ),
            (
                "cognito-identity",
                "AWSCognitoIdentityService.ListIdentityPools",
                json!({"MaxResults": 60}),
                "/IdentityPools",
                "/IdentityPoolId",
            ),
        ];
        for (service, target, input, list, name) in asked {
            let token = if service == "logs" {
                "nextToken"
            } else {
                "NextToken"
            };
            let mut input = input;
            loop {
                let answer = self.ask(service, target, &input).await;
                let entries = answer
                    .pointer(list)
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                all.extend(
                    entries
                        .iter()
                        .map(|entry| format!("{service} {}", entry.pointer(name).unwrap())),
                );
                match answer.get(token) {
                    Some(next) if !next.is_null() => input[token] = next.clone(),
                    _ => break,
                }
            }
        }
        // Each that speaks forms and XML: the call, and the element with names.
        let asked = [
            ("iam", "2010-05-08", "ListRoles", "RoleName"),
            ("iam", "2010-05-08", "ListPolicies", "PolicyName"),
            ("sns", "2010-03-31", "ListTopics", "TopicArn"),
            ("sns", "2010-03-31", "ListSubscriptions", "SubscriptionArn"),
            ("monitoring", "2010-08-01", "DescribeAlarms", "AlarmName"),
        ];
        for (service, version, action, element) in asked {
            let form = format!("Action={action}&Version={version}&MaxItems=1000&MaxRecords=100");
            let request = self
                .request(Method::POST, "/")
                .header("content-type", "application/x-www-form-urlencoded");
            let answer = request
                .body(form)
                .signed_by(&self.signer(service))
                .send()
                .await;
            assert_eq!(answer.status, 200, "{action}: {}", answer.text());
            all.extend(
                elements(&answer.text(), element).map(|name| format!("{service} {action} {name}")),
            );
        }
        // Each that has addresses, and where its answer has names.
        let request = self
            .request(Method::GET, "/restapis?limit=500")
            .signed_by(&self.signer("apigateway"));
        let apis: Value = serde_json::from_slice(&request.send().await.body).unwrap();
        let apis = apis["item"].as_array().cloned().unwrap_or_default();
        all.extend(apis.iter().map(|api| format!("API {}", api["id"])));
        for (service, path, element) in [
            ("cloudfront", "/2020-05-31/distribution", "Id"),
            ("cloudfront", "/2020-05-31/origin-access-control", "Id"),
            ("cloudfront", "/2020-05-31/function", "Name"),
            (
                "cloudfront",
                "/2020-05-31/response-headers-policy?Type=custom",
                "Id",
            ),
            ("route53", "/2013-04-01/hostedzone", "Id"),
        ] {
            let answer = self
                .request(Method::GET, path)
                .signed_by(&self.signer(service))
                .send()
                .await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            all.extend(
                elements(&answer.text(), element).map(|name| format!("{service} {path} {name}")),
            );
        }
        all
    }

    /// Calls a service that speaks JSON.
    pub(crate) async fn ask(&self, service: &'static str, target: &str, input: &Value) -> Value {
        let request = self
            .request(Method::POST, "/")
            .header("x-amz-target", target)
            .json(input);
        let kind = if service == "sqs" {
            "application/x-amz-json-1.0"
        } else {
            "application/x-amz-json-1.1"
        };
        let answer = request
            .header("content-type", kind)
            .signed_by(&self.signer(service))
            .send()
            .await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let url = Url::parse(&format!("{}{path}", self.endpoint)).unwrap();
        Request::new(&Client::new(), method, url)
    }

    /// Its owner, for calls of a service.
    pub(crate) fn signer(&self, service: &'static str) -> Signer {
        Signer {
            credentials: aws_credential_types::Credentials::new(
                &self.id, "local", None, None, "test",
            ),
            region: self.region.clone(),
            service,
        }
    }
}

/// The AWS configuration, as text.
pub(crate) fn configuration() -> String {
    let file = std::env::var(CONFIGURATION);
    let file = file.unwrap_or_else(|_| {
        panic!("{CONFIGURATION} names no accounts: run these by cargo xtask test --stages")
    });
    std::fs::read_to_string(file).unwrap()
}

/// The texts of all elements of a name.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let close = format!("</{name}>");
    let open = format!("<{name}>");
    let texts: Vec<&str> = xml
        .split(&open)
        .skip(1)
        .map(|rest| rest.split(&close).next().unwrap())
        .collect();
    texts.into_iter()
}
