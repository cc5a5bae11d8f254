//! An emulated AWS account: its stacks, functions and releases, read through the AWS APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aws_credential_types::Credentials;
use aws_sdk_cloudformation::types::{Stack, StackEvent};
use reqwest::{Client, Url};
use serde_json::{Value, json};
use test_support::http::{Method, Request, Response, Signer};
use test_support::stage::wait_for;

/// The environment variable that contains the path of the AWS configuration file. The file has a profile for each
/// emulated account.
const CONFIGURATION_VARIABLE: &str = "AWS_CONFIG_FILE";

/// An emulated AWS account, with clients that use the credentials of the AWS account's owner, or of a role.
#[derive(Debug)]
pub(crate) struct Account {
    /// The AWS account ID.
    pub(crate) id: String,
    /// The endpoint of all AWS services of the account, without a trailing slash.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) cloudformation: aws_sdk_cloudformation::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    credentials: Credentials,
}

impl Account {
    /// Returns the account that contains the stages of pull requests, whose names begin with `pr-`.
    pub(crate) fn previews() -> Self {
        Self::of("scratchpad-previews")
    }

    /// Returns the account that contains the stage dev and the ephemeral stages.
    pub(crate) fn dev() -> Self {
        Self::of("scratchpad-dev")
    }

    /// Returns the account that contains the stage prod.
    pub(crate) fn prod() -> Self {
        Self::of("scratchpad-prod")
    }

    fn of(profile: &str) -> Self {
        Self::of_configuration(&configuration(), profile)
    }

    /// Returns the account of a profile in an AWS configuration file with the text `configuration`.
    pub(crate) fn of_configuration(configuration: &str, profile: &str) -> Self {
        let begin = format!("[profile {profile}]\n");
        let section = configuration.split(&begin).nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let fields = section.lines().filter_map(|line| line.split_once(" = "));
        let fields: BTreeMap<&str, &str> = fields.collect();
        let [id, endpoint, region] =
            ["aws_access_key_id", "endpoint_url", "region"].map(|name| fields[name].to_owned());
        let credentials = Credentials::new(&id, "local", None, None, "test");
        Self::new(id, endpoint, region, credentials)
    }

    /// Returns this account with clients that use other credentials.
    pub(crate) fn with_credentials(&self, credentials: Credentials) -> Self {
        let [id, endpoint, region] = [&self.id, &self.endpoint, &self.region].map(Clone::clone);
        Self::new(id, endpoint, region, credentials)
    }

    fn new(id: String, endpoint: String, region: String, credentials: Credentials) -> Self {
        let var = |name: &str| match name {
            "AWS_REGION" => Some(region.clone().into()),
            "AWS_ACCESS_KEY_ID" => Some(credentials.access_key_id().into()),
            "AWS_SECRET_ACCESS_KEY" => Some(credentials.secret_access_key().into()),
            "AWS_SESSION_TOKEN" => credentials.session_token().map(Into::into),
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
            credentials,
        }
    }

    /// Creates a stack with one resource, and waits until the creation ends. Returns the status of the stack.
    pub(crate) async fn create_stack(&self, name: &str, resource: &Value) -> String {
        let template = json!({"Resources": {"Resource": resource}}).to_string();
        let create = self.cloudformation.create_stack().stack_name(name);
        create.template_body(template).send().await.unwrap();
        self.ended(name).await
    }

    /// Waits until the creation or update of a stack ends. Returns the status of the stack.
    pub(crate) async fn ended(&self, stack: &str) -> String {
        let status = async || {
            let status = self.stacks().await.remove(stack)?.stack_status.unwrap();
            let status = status.as_str().to_owned();
            (!status.ends_with("_IN_PROGRESS")).then_some(status)
        };
        wait_for("the stack", status).await
    }

    /// Deletes a stack, and waits until it is deleted.
    pub(crate) async fn delete_stack(&self, name: &str) {
        let delete = self.cloudformation.delete_stack().stack_name(name);
        delete.send().await.unwrap();
        let gone = async || (!self.stacks().await.contains_key(name)).then_some(());
        wait_for("the deletion of the stack", gone).await;
    }

    /// Returns all stacks in the account, keyed by name.
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

    /// Returns the stacks of a stage, keyed by name.
    pub(crate) async fn stacks_of(&self, stage: &str) -> BTreeMap<String, Stack> {
        let mut stacks = self.stacks().await;
        stacks.retain(|name, _| name.ends_with(&format!("-{stage}")));
        stacks
    }

    /// Returns the fingerprints of a stage's stacks, keyed by stack name. A fingerprint is a hash of the template and
    /// of the sources of the functions.
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

    /// Returns the values of all CloudFormation exports, keyed by export name. This function reads the outputs of the
    /// stacks, because ListExports of the local cloud still lists an export that an update has removed.
    pub(crate) async fn exports(&self) -> BTreeMap<String, String> {
        let mut exports = BTreeMap::new();
        for stack in self.stacks().await.into_values() {
            for output in stack.outputs.unwrap_or_default() {
                exports.extend(output.export_name.zip(output.output_value));
            }
        }
        exports
    }

    /// Returns the names of the CloudFormation exports that a stack's template imports.
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

    /// Returns the CloudFormation events of a stack, newest first.
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

    /// Returns the event IDs, the update time and the status of each stack, keyed by stack name. If a command changes a
    /// stack, the entry of the stack changes.
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

    /// Returns the type and the physical ID of each resource in a stage's stacks.
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

    /// Returns the code hash that Lambda reports for each function of a stage, keyed by the name of the function's
    /// crate.
    pub(crate) async fn code_hashes(&self, stage: &str) -> BTreeMap<String, String> {
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

    /// Returns the name of the bucket that contains the releases.
    pub(crate) fn releases_bucket(&self) -> String {
        format!("scratchpad-releases-{}", self.id)
    }

    /// Returns the records of a stage's releases, oldest first.
    pub(crate) async fn releases(&self, stage: &str) -> Vec<Value> {
        let prefix = format!("{stage}/releases/");
        let list = self
            .s3
            .list_objects_v2()
            .bucket(self.releases_bucket())
            .prefix(prefix);
        let mut releases = Vec::new();
        for object in list.send().await.unwrap().contents() {
            releases.push(self.object(object.key().unwrap()).await.unwrap());
        }
        releases
    }

    /// Returns the JSON content of an object in the bucket that contains the releases. `None` if the object does not
    /// exist.
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

    /// Returns the content of an object in the bucket that contains the releases.
    pub(crate) async fn content(&self, key: &str) -> Vec<u8> {
        let get = self.s3.get_object().bucket(self.releases_bucket()).key(key);
        let object = get
            .send()
            .await
            .unwrap_or_else(|error| panic!("{key}: {error:?}"));
        object.body.collect().await.unwrap().to_vec()
    }

    /// Deletes an object of the bucket that contains the releases.
    pub(crate) async fn delete(&self, key: &str) {
        let delete = self.s3.delete_object().bucket(self.releases_bucket());
        delete.key(key).send().await.unwrap();
    }

    /// Changes the content of an object in the bucket that contains the releases, as someone can who may delete it.
    pub(crate) async fn replace(&self, key: &str, content: Vec<u8>) {
        self.delete(key).await;
        let put = self.s3.put_object().bucket(self.releases_bucket()).key(key);
        let put = put.if_none_match("*").body(content.into());
        put.send().await.unwrap();
    }

    /// Writes a JSON object to the bucket that contains the releases.
    pub(crate) async fn put_object(&self, key: &str, value: &Value) {
        let put = self.s3.put_object().bucket(self.releases_bucket()).key(key);
        let body = value.to_string().into_bytes();
        put.body(body.into()).send().await.unwrap();
    }

    /// Calls an operation of an AWS service with a JSON protocol. Returns the output.
    pub(crate) async fn call(&self, service: &'static str, target: &str, input: &Value) -> Value {
        let response = self.respond(service, target, input).await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap_or(Value::Null)
    }

    /// Calls an operation of an AWS service with a JSON protocol. Returns the response, which may be an error.
    pub(crate) async fn respond(
        &self,
        service: &'static str,
        target: &str,
        input: &Value,
    ) -> Response {
        let request = self
            .request(Method::POST, "/")
            .header("x-amz-target", target)
            .json(input);
        let kind = if service == "sqs" {
            "application/x-amz-json-1.0"
        } else {
            "application/x-amz-json-1.1"
        };
        request
            .header("content-type", kind)
            .signed_by(&self.signer(service))
            .send()
            .await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        let url = Url::parse(&format!("{}{path}", self.endpoint)).unwrap();
        Request::new(&Client::new(), method, url)
    }

    /// Returns a signer for requests to `service`.
    pub(crate) fn signer(&self, service: &'static str) -> Signer {
        Signer {
            credentials: self.credentials.clone(),
            region: self.region.clone(),
            service,
        }
    }
}

/// Returns the path of the AWS configuration file with the profiles of the accounts' owners.
pub(crate) fn configuration_file() -> PathBuf {
    let file = std::env::var_os(CONFIGURATION_VARIABLE).unwrap_or_else(|| {
        panic!(
            "{CONFIGURATION_VARIABLE} is not set: run these tests with cargo xtask test --stages"
        )
    });
    file.into()
}

/// Returns the content of the AWS configuration file with the profiles of the accounts' owners.
pub(crate) fn configuration() -> String {
    std::fs::read_to_string(configuration_file()).unwrap()
}
