//! Access to the AWS resources of a stage with the credentials of the AWS account's owner, not through the product's
//! API: functions, secrets, logs, queues and tables.

use std::path::Path;

use reqwest::Client;
use serde_json::{Value, json};

use crate::http::{Method, Request, Response};
use crate::stage::{ACCOUNT, Stage, stage_file};

impl Stage {
    /// Returns the folder that contains the stage's `stage.json` and other files of the stage.
    pub fn folder(&self) -> &'static Path {
        stage_file().parent().unwrap()
    }

    /// Calls an operation of an AWS service with a JSON protocol, with the credentials of the AWS account's owner.
    /// Returns the output.
    pub async fn call_as_owner(&self, service: &'static str, target: &str, input: &Value) -> Value {
        let response = self.send_as_owner(service, target, input).await;
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    async fn send_as_owner(&self, service: &'static str, target: &str, input: &Value) -> Response {
        let request = Request::new(&Client::new(), Method::POST, self.endpoint("/"))
            .header("x-amz-target", target)
            .json(input)
            .header("content-type", "application/x-amz-json-1.1");
        request.signed_by(&self.owner_signer(service)).send().await
    }

    /// Reads a table, and returns whether DynamoDB throttles the request.
    pub async fn throttles(&self, table: &str) -> bool {
        let input = json!({"TableName": table, "Limit": 1});
        let target = "DynamoDB_20120810.Scan";
        let response = self.send_as_owner("dynamodb", target, &input).await;
        response.status == 400 && response.text().contains("ProvisionedThroughputExceeded")
    }

    /// Returns the name of a deployed function, and the URL of this function in the Lambda API. The URL ends with
    /// `part`, such as `configuration`.
    fn function_url(&self, function: &str, part: &str) -> (String, reqwest::Url) {
        let name = format!("scratchpad-{}-{function}", self.name());
        let url = self.endpoint(&format!("/2015-03-31/functions/{name}/{part}"));
        (name, url)
    }

    /// Returns the Lambda configuration of a function. `function` is the name of the function's crate.
    pub async fn configuration(&self, function: &str) -> Value {
        let (name, url) = self.function_url(function, "configuration");
        let request = Request::new(&Client::new(), Method::GET, url);
        let response = request.signed_by(&self.owner_signer("lambda")).send().await;
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Makes the next invocation of a function a cold start: updates the function's configuration without changing a
    /// value.
    pub async fn restart(&self, function: &str) {
        let timeout = &self.configuration(function).await["Timeout"];
        let (name, url) = self.function_url(function, "configuration");
        let request = Request::new(&Client::new(), Method::PUT, url);
        let request = request.json(&json!({"Timeout": timeout}));
        let response = request.signed_by(&self.owner_signer("lambda")).send().await;
        assert_eq!(response.status, 200, "{name}: {}", response.text());
    }

    /// Invokes a function with `event` and returns the function's response.
    ///
    /// # Errors
    /// Returns Lambda's error object if the function fails.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, Value> {
        let (name, url) = self.function_url(function, "invocations");
        let request = Request::new(&Client::new(), Method::POST, url).json(event);
        let response = request.signed_by(&self.owner_signer("lambda")).send().await;
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        let payload = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        match response.header("x-amz-function-error") {
            None => Ok(payload),
            Some(_) => Err(payload),
        }
    }

    /// Returns the full name of a secret's parameter in SSM.
    fn secret_name(&self, name: &str) -> String {
        format!("/scratchpad/{}/{name}", self.name())
    }

    /// Reads a secret from SSM Parameter Store with the credentials of the AWS account's owner. Returns the secret's
    /// value.
    pub async fn secret(&self, name: &str) -> String {
        let input = json!({"Name": self.secret_name(name), "WithDecryption": true});
        let found = self
            .call_as_owner("ssm", "AmazonSSM.GetParameter", &input)
            .await;
        found["Parameter"]["Value"].as_str().unwrap().to_owned()
    }

    /// Writes a secret to SSM Parameter Store with the credentials of the AWS account's owner. Replaces the existing
    /// value.
    pub async fn put_secret(&self, name: &str, value: &str) {
        let input = json!({
            "Name": self.secret_name(name), "Value": value,
            "Type": "SecureString", "Overwrite": true,
        });
        self.call_as_owner("ssm", "AmazonSSM.PutParameter", &input)
            .await;
    }

    /// Returns the URL of a function's dead-letter queue.
    pub(crate) fn dead_letter_queue_of(&self, function: &str) -> String {
        let stage = self.name();
        format!(
            "{}/{ACCOUNT}/scratchpad-{stage}-{function}-dead-letters",
            self.cloud_url
        )
    }

    /// Returns the bodies of the messages in a function's dead-letter queue.
    pub async fn dead_letters_of(&self, function: &str) -> Vec<String> {
        let mut url = self.endpoint("/_ministack/sqs/messages");
        let queue = self.dead_letter_queue_of(function);
        url.query_pairs_mut().append_pair("QueueUrl", &queue);
        let response = Request::new(&Client::new(), Method::GET, url).send().await;
        let waiting: Value = serde_json::from_slice(&response.body).unwrap();
        let waiting = waiting["messages"][ACCOUNT][&self.region][&queue].as_array();
        let waiting = waiting.unwrap_or_else(|| panic!("the queue {queue} does not exist"));
        let bodies = waiting.iter().map(|message| message["Body"].as_str());
        bodies.map(|body| body.unwrap().to_owned()).collect()
    }

    /// Returns all lines of a function's log. Empty if the function has not logged anything.
    pub async fn log(&self, function: &str) -> String {
        const PAGE: usize = 10_000;
        let group = format!("/aws/lambda/scratchpad-{}-{function}", self.name());
        let groups = json!({"logGroupNamePrefix": group});
        let groups = self.call_as_owner("logs", "Logs_20140328.DescribeLogGroups", &groups);
        let groups = groups.await["logGroups"].take();
        if !groups.to_string().contains(&format!("\"{group}\"")) {
            return String::new();
        }
        let (mut log, mut from) = (String::new(), 0);
        loop {
            let input = json!({"logGroupName": group, "startTime": from, "limit": PAGE});
            let target = "Logs_20140328.FilterLogEvents";
            let page = self.call_as_owner("logs", target, &input).await["events"].take();
            let events = page.as_array().unwrap();
            for event in events {
                log += event["message"].as_str().unwrap();
                log.push('\n');
            }
            match events.last() {
                // The next page begins at the last timestamp, so its events may be in the log twice.
                Some(last) if events.len() == PAGE => from = last["timestamp"].as_u64().unwrap(),
                _ => return log,
            }
        }
    }

    /// Returns all items of a DynamoDB table.
    pub async fn items(&self, table: &str) -> Vec<Value> {
        let (mut items, mut start) = (Vec::new(), Value::Null);
        loop {
            let mut input = json!({"TableName": table, "ConsistentRead": true});
            if !start.is_null() {
                input["ExclusiveStartKey"] = start;
            }
            let mut page = self
                .call_as_owner("dynamodb", "DynamoDB_20120810.Scan", &input)
                .await;
            match page["Items"].take() {
                Value::Array(page) => items.extend(page),
                other => panic!("{table}: {other}"),
            }
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return items;
            }
        }
    }

    /// Returns the items of a user in a DynamoDB table. `user` is the ID of the user's identity.
    pub async fn items_of(&self, table: &str, user: &str) -> Vec<Value> {
        let input = json!({
            "TableName": table,
            "ConsistentRead": true,
            "KeyConditionExpression": "userId = :user",
            "ExpressionAttributeValues": {":user": {"S": user}},
        });
        let mut found = self
            .call_as_owner("dynamodb", "DynamoDB_20120810.Query", &input)
            .await;
        match found["Items"].take() {
            Value::Array(items) => items,
            other => panic!("{table}: {other}"),
        }
    }

    /// Returns the name of the stage's table Attachments.
    pub async fn attachments_table(&self) -> String {
        self.table_of_notes_create("ATTACHMENTS_TABLE").await
    }

    /// Returns the name of the stage's table Storage.
    pub async fn storage_table(&self) -> String {
        self.table_of_notes_create("STORAGE_TABLE").await
    }

    async fn table_of_notes_create(&self, variable: &str) -> String {
        let create = self.configuration("notes-create").await;
        let table = &create["Environment"]["Variables"][variable];
        table.as_str().unwrap().to_owned()
    }
}
