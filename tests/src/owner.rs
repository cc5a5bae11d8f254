//! What the account's owner sees and does on a stage, past the API: functions, secrets, logs, text
//! messages, queues and tables.

use std::path::Path;

use reqwest::Client;
use serde_json::{Value, json};

use crate::http::{Method, Request};
use crate::stage::{ACCOUNT, Stage, file};

impl Stage {
    /// The folder that the stage's own files are in.
    pub fn folder(&self) -> &'static Path {
        file().parent().unwrap()
    }

    /// Calls a service that speaks JSON.
    async fn ask(&self, service: &'static str, target: &str, input: &Value) -> Value {
        let request = Request::new(&Client::new(), Method::POST, self.cloud("/"))
            .header("x-amz-target", target)
            .json(input)
            .header("content-type", "application/x-amz-json-1.1");
        let answer = request.signed_by(&self.owner(service)).send().await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn function(&self, function: &str, part: &str) -> (String, reqwest::Url) {
        let name = format!("scratchpad-{}-{function}", self.name());
        let url = self.cloud(&format!("/2015-03-31/functions/{name}/{part}"));
        (name, url)
    }

    /// How a function is set up, by the name of its crate.
    pub async fn configuration(&self, function: &str) -> Value {
        let (name, url) = self.function(function, "configuration");
        let request = Request::new(&Client::new(), Method::GET, url);
        let answer = request.signed_by(&self.owner("lambda")).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Has a function start anew: it is set up as it is.
    pub async fn restart(&self, function: &str) {
        let timeout = &self.configuration(function).await["Timeout"];
        let (name, url) = self.function(function, "configuration");
        let request = Request::new(&Client::new(), Method::PUT, url);
        let request = request.json(&json!({"Timeout": timeout}));
        let answer = request.signed_by(&self.owner("lambda")).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }

    /// Invokes a function and waits for it.
    ///
    /// # Errors
    /// What the function says when it fails.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Value, Value> {
        let (name, url) = self.function(function, "invocations");
        let request = Request::new(&Client::new(), Method::POST, url).json(event);
        let answer = request.signed_by(&self.owner("lambda")).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let said = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        match answer.header("x-amz-function-error") {
            None => Ok(said),
            Some(_) => Err(said),
        }
    }

    /// Where a secret is.
    async fn secret_name(&self, name: &str) -> String {
        let webhook = self.configuration("billing-webhook").await;
        let prefix = &webhook["Environment"]["Variables"]["SECRETS_PREFIX"];
        format!("{}/{name}", prefix.as_str().unwrap())
    }

    /// A secret of the stage.
    pub async fn secret(&self, name: &str) -> String {
        let input = json!({"Name": self.secret_name(name).await, "WithDecryption": true});
        let found = self.ask("ssm", "AmazonSSM.GetParameter", &input).await;
        found["Parameter"]["Value"].as_str().unwrap().to_owned()
    }

    /// Changes a secret of the stage.
    pub async fn put_secret(&self, name: &str, value: &str) {
        let input = json!({
            "Name": self.secret_name(name).await, "Value": value,
            "Type": "SecureString", "Overwrite": true,
        });
        self.ask("ssm", "AmazonSSM.PutParameter", &input).await;
    }

    /// How often the stage's owner was sent this text.
    pub async fn told(&self, text: &str) -> usize {
        let number = self.secret("admin-phone-number").await;
        let mut url = self.cloud("/_ministack/sns/sms-messages");
        url.query_pairs_mut().append_pair("phoneNumber", &number);
        let answer = Request::new(&Client::new(), Method::GET, url).send().await;
        let sent: Value = serde_json::from_slice(&answer.body).unwrap();
        let sent = sent["sms_messages"][number].as_array().unwrap();
        sent.iter().filter(|sms| sms["Message"] == text).count()
    }

    /// Publishes to the topic of purchases.
    pub async fn publish(&self, message: &str) {
        let publisher = self.configuration("billing-purchase-paid").await;
        let topic = &publisher["Environment"]["Variables"]["NOTE_PURCHASED_TOPIC"];
        let mut url = self.cloud("/");
        url.query_pairs_mut()
            .append_pair("Action", "Publish")
            .append_pair("Version", "2010-03-31")
            .append_pair("TopicArn", topic.as_str().unwrap())
            .append_pair("Message", message);
        let request = Request::new(&Client::new(), Method::POST, self.cloud("/"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(url.query().unwrap());
        let answer = request.signed_by(&self.owner("sns")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The messages that wait in the queue of a function's failures.
    pub async fn dead_letters_of(&self, function: &str) -> Vec<String> {
        let mut url = self.cloud("/_ministack/sqs/messages");
        let queue = format!(
            "{}/{ACCOUNT}/scratchpad-{}-{function}-dead-letters",
            self.cloud_url,
            self.name()
        );
        url.query_pairs_mut().append_pair("QueueUrl", &queue);
        let answer = Request::new(&Client::new(), Method::GET, url).send().await;
        let waiting: Value = serde_json::from_slice(&answer.body).unwrap();
        let waiting = waiting["messages"][ACCOUNT][&self.region][&queue].as_array();
        let waiting = waiting.unwrap_or_else(|| panic!("no queue {queue}"));
        let bodies = waiting.iter().map(|message| message["Body"].as_str());
        bodies.map(|body| body.unwrap().to_owned()).collect()
    }

    /// All that a function logged, and nothing when it never did.
    pub async fn log_of(&self, function: &str) -> String {
        const PAGE: usize = 10_000;
        let group = format!("/aws/lambda/scratchpad-{}-{function}", self.name());
        let groups = json!({"logGroupNamePrefix": group});
        let groups = self.ask("logs", "Logs_20140328.DescribeLogGroups", &groups);
        let groups = groups.await["logGroups"].take();
        if !groups.to_string().contains(&format!("\"{group}\"")) {
            return String::new();
        }
        let (mut log, mut from) = (String::new(), 0);
        loop {
            let input = json!({"logGroupName": group, "startTime": from, "limit": PAGE});
            let target = "Logs_20140328.FilterLogEvents";
            let page = self.ask("logs", target, &input).await["events"].take();
            let events = page.as_array().unwrap();
            for event in events {
                log += event["message"].as_str().unwrap();
                log.push('\n');
            }
            match events.last() {
                // What is of the same millisecond comes twice.
                Some(last) if events.len() == PAGE => from = last["timestamp"].as_u64().unwrap(),
                _ => return log,
            }
        }
    }

    /// Writes an item into the table of purchases.
    pub async fn put_purchase(&self, item: &Value) {
        let input = json!({"TableName": self.purchases_table, "Item": item});
        self.ask("dynamodb", "DynamoDB_20120810.PutItem", &input)
            .await;
    }

    /// Writes over a moment (`dueAt` or `createdAt`) of a person's purchase, in milliseconds since
    /// the epoch.
    pub async fn set_moment(&self, person: &str, purchase: &str, moment: &str, millis: u64) {
        let input = json!({
            "TableName": self.purchases_table,
            "Key": {"userId": {"S": person}, "purchaseId": {"S": purchase}},
            "UpdateExpression": "SET #moment = :moment",
            "ExpressionAttributeNames": {"#moment": moment},
            "ExpressionAttributeValues": {":moment": {"N": millis.to_string()}},
        });
        self.ask("dynamodb", "DynamoDB_20120810.UpdateItem", &input)
            .await;
    }
}
