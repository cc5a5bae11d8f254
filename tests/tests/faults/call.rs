//! A call of a function, as it is on the wire: which service it is for, and what it is called in
//! the table.

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use serde_json::Value;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    DynamoDb,
    Sns,
    Sqs,
    Ssm,
    Stripe,
    /// Nobody whom the functions should call.
    Unknown,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: Service,
    /// The same in every life: `DynamoDB PutItem Purchases PENDING`.
    pub(crate) name: String,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) async fn read(request: Request<Incoming>) -> Option<Self> {
        let (head, body) = request.into_parts();
        Some(Self::new(head, body.collect().await.ok()?.to_bytes()))
    }

    pub(crate) fn new(head: Parts, body: Bytes) -> Self {
        let (service, name) = name(&head, &body).unwrap_or_else(|| {
            let name = format!("{} {} of nobody", head.method, head.uri.path());
            (Service::Unknown, name)
        });
        Self {
            service,
            name,
            head,
            body,
        }
    }

    /// Whether it is that call, sent again.
    pub(crate) fn repeats(&self, earlier: &Self) -> bool {
        (&self.name, &self.head.uri, &self.body)
            == (&earlier.name, &earlier.head.uri, &earlier.body)
    }

    /// The parameters of a call in JSON.
    pub(crate) fn input(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A parameter of a call in a form.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.body, name)
    }
}

/// Where the message of a Publish goes.
pub(crate) const TO_TOPIC: &str = "SNS Publish to the topic";
pub(crate) const BY_SMS: &str = "SNS Publish by SMS";

fn name(head: &Parts, body: &[u8]) -> Option<(Service, String)> {
    if let Some(target) = head.headers.get("x-amz-target") {
        let (service, operation) = target.to_str().ok()?.split_once('.')?;
        return match service {
            "AmazonSSM" => Some((Service::Ssm, format!("SSM {operation}"))),
            "AmazonSQS" => Some((Service::Sqs, format!("SQS {operation}"))),
            "DynamoDB_20120810" => {
                let input = serde_json::from_slice(body).ok()?;
                Some((Service::DynamoDb, of_table(operation, &input)?))
            }
            _ => None,
        };
    }
    if let Some(path) = head.uri.path().strip_prefix("/v1/") {
        let parts = path.split('/').map(|part| match part {
            id if id.starts_with("pi_") => "{id}",
            part => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        return Some((Service::Stripe, format!("Stripe {} {path}", head.method)));
    }
    if parameter(body, "Action")? != "Publish" {
        return None;
    }
    let name = match parameter(body, "PhoneNumber") {
        Some(_) => BY_SMS,
        None => TO_TOPIC,
    };
    Some((Service::Sns, name.to_owned()))
}

/// Says of a read what it reads, and of a write the status that it leads to, if it says one.
fn of_table(operation: &str, input: &Value) -> Option<String> {
    let table = input["TableName"].as_str()?;
    let values = &input["ExpressionAttributeValues"];
    let status = &input["Item"]["status"];
    let status = status.as_object().or(values[":status"].as_object());
    let detail = match (status, &values[":shard"]["N"]) {
        (Some(status), _) => format!(" {}", status.get("S")?.as_str()?),
        (None, Value::String(shard)) => format!(" shard {shard}"),
        _ => String::new(),
    };
    Some(format!("DynamoDB {operation} {table}{detail}"))
}

fn parameter(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(form);
    let (_, value) = pairs.find(|(found, _)| found == name)?;
    Some(value.into_owned())
}
