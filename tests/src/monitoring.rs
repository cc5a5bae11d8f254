//! The monitoring of a stage in its local cloud: alarms, their emails, metrics, and faults that raise alarms.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::Client;
use serde_json::{Value, json};

use crate::http::{Method, Request};
use crate::stage::Stage;

/// The sender of the emails about alarms.
const SENDER: &str = "no-reply@sns.amazonaws.com";

/// An email about an alarm.
#[derive(Debug, Clone)]
pub struct AlarmMail {
    /// The name of the alarm, without the name of the stage.
    pub alarm: String,
    /// The state of the alarm: `ALARM` or `OK`.
    pub state: String,
    /// The text of the email. It contains the alarm's description.
    pub text: String,
}

/// A metric: its namespace, its name, and its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// The namespace, such as `AWS/Lambda`.
    pub namespace: String,
    /// The name, such as `Errors`.
    pub name: String,
    /// The values of the dimensions, by name.
    pub dimensions: BTreeMap<String, String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Metric {
    /// Reads a metric as the API of CloudWatch describes it.
    fn from_api(metric: &Value) -> Self {
        let dimensions = metric["Dimensions"].as_array().into_iter().flatten();
        Self {
            namespace: text(&metric["Namespace"]),
            name: text(&metric["MetricName"]),
            dimensions: dimensions
                .map(|dimension| (text(&dimension["Name"]), text(&dimension["Value"])))
                .collect(),
        }
    }

    /// Reads a metric of a dashboard: an array with the namespace, the name, and the dimensions. `None` if the array is an
    /// expression.
    fn from_dashboard(metric: &Value) -> Option<Self> {
        let parts = metric.as_array().unwrap().iter().map_while(Value::as_str);
        let parts: Vec<_> = parts.map(str::to_owned).collect();
        let [namespace, name, dimensions @ ..] = parts.as_slice() else {
            return None;
        };
        let dimensions = dimensions.chunks_exact(2);
        Some(Self {
            namespace: namespace.clone(),
            name: name.clone(),
            dimensions: dimensions
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
        })
    }
}

impl Stage {
    async fn monitoring(&self, operation: &str, input: &Value) -> Value {
        let target = format!("GraniteServiceVersion20100801.{operation}");
        self.call_as_owner("monitoring", &target, input).await
    }

    /// Returns all alarms of the stage as CloudWatch describes them, by name without the name of the stage.
    pub async fn alarms(&self) -> BTreeMap<String, Value> {
        let prefix = format!("scratchpad-{}-", self.name());
        let mut found = BTreeMap::new();
        let mut input = json!({
            "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "AlarmNamePrefix": prefix,
        });
        loop {
            let page = self.monitoring("DescribeAlarms", &input).await;
            let alarms = ["MetricAlarms", "CompositeAlarms"].map(|kind| page[kind].as_array());
            for alarm in alarms.into_iter().flatten().flatten() {
                let name = text(&alarm["AlarmName"]);
                found.insert(
                    name.strip_prefix(&prefix).unwrap().to_owned(),
                    alarm.clone(),
                );
            }
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => return found,
            }
        }
    }

    /// Returns the emails about alarms that the stage has sent, oldest first.
    pub async fn alarm_mails(&self) -> Vec<AlarmMail> {
        let url = self.endpoint("/_ministack/ses/messages");
        let response = Request::new(&Client::new(), Method::GET, url).send().await;
        let mails: Value = serde_json::from_slice(&response.body).unwrap();
        let mails = mails["messages"].as_object().unwrap().values();
        let mails = mails.flat_map(|mails| mails.as_array().unwrap());
        let prefix = format!("\"scratchpad-{}-", self.name());
        mails
            .filter(|mail| mail["Source"] == SENDER)
            .map(|mail| {
                let subject = text(&mail["Subject"]);
                let (state, rest) = subject.split_once(": ").unwrap();
                let (alarm, _) = rest.strip_prefix(&prefix).unwrap().split_once('"').unwrap();
                AlarmMail {
                    alarm: alarm.to_owned(),
                    state: state.to_owned(),
                    text: text(&mail["BodyText"]),
                }
            })
            .collect()
    }

    /// Causes faults in the local cloud, and ends all others. local/cloud/faults.py describes the faults.
    pub fn set_faults(&self, faults: &Value) {
        let file = self.folder().join("data/state/faults.json");
        // The local cloud reads the file at each request, so it must never be incomplete.
        let temporary = file.with_extension("tmp");
        fs::write(&temporary, faults.to_string()).unwrap();
        fs::rename(temporary, file).unwrap();
    }

    /// Returns the metrics that have values.
    pub async fn observed_metrics(&self) -> BTreeSet<Metric> {
        let found = self.monitoring("ListMetrics", &json!({})).await;
        let metrics = found["Metrics"].as_array().unwrap();
        metrics.iter().map(Metric::from_api).collect()
    }

    /// Returns the metrics that the stage's alarms and its dashboard read.
    pub async fn read_metrics(&self) -> BTreeSet<Metric> {
        let mut read = BTreeSet::new();
        for alarm in self.alarms().await.values() {
            if alarm["MetricName"].is_string() {
                read.insert(Metric::from_api(alarm));
            }
            let queries = alarm["Metrics"].as_array().into_iter().flatten();
            let metrics = queries.filter_map(|query| query["MetricStat"].get("Metric"));
            read.extend(metrics.map(Metric::from_api));
        }
        let dashboard = format!("scratchpad-{}", self.name());
        let dashboard = json!({"DashboardName": dashboard});
        let dashboard = self.monitoring("GetDashboard", &dashboard).await;
        let body: Value = serde_json::from_str(&text(&dashboard["DashboardBody"])).unwrap();
        for widget in body["widgets"].as_array().unwrap() {
            let metrics = widget["properties"]["metrics"].as_array();
            let metrics = metrics.into_iter().flatten();
            read.extend(metrics.filter_map(Metric::from_dashboard));
        }
        read
    }

    /// Deletes the messages in a function's dead-letter queue.
    pub async fn purge_dead_letters_of(&self, function: &str) {
        let queue = self.dead_letter_queue_of(function);
        self.call_as_owner("sqs", "AmazonSQS.PurgeQueue", &json!({"QueueUrl": queue}))
            .await;
    }
}
