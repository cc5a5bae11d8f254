//! A call that a function makes to a service, and the name of the call in the sweep's report.

use hyper::body::Bytes;
use hyper::http::request::Parts;
use serde_json::Value;

/// The service that a function calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    DynamoDb,
    Sns,
    Sqs,
    Ssm,
    Stripe,
    /// A service that the payment functions must not call.
    Unknown,
}

/// A call of a function to a service: an HTTP request whose body has been received completely.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) service: Service,
    /// The name of the call, without IDs, so that it is the same in every simulation. Example: `DynamoDB PutItem
    /// Purchases PENDING`.
    pub(crate) name: String,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(head: Parts, body: Bytes) -> Self {
        let (service, name) = name(&head, &body).unwrap_or_else(|| {
            let name = format!("{} {}{UNKNOWN}", head.method, head.uri.path());
            (Service::Unknown, name)
        });
        Self {
            service,
            name,
            head,
            body,
        }
    }

    /// Whether this call is a retry of the call `earlier`: name, URI and body are equal.
    pub(crate) fn is_retry_of(&self, earlier: &Self) -> bool {
        (&self.name, &self.head.uri, &self.body)
            == (&earlier.name, &earlier.head.uri, &earlier.body)
    }

    /// Returns the JSON body of the call. Null if the body is not JSON.
    pub(crate) fn input(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns a parameter from the form body of the call. `None` if the body does not have the parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.body, name)
    }
}

/// The end of the name of each call to a service that the functions must not call.
pub(crate) const UNKNOWN: &str = " to an unknown service";

/// The name of a call that publishes a message to the SNS topic.
pub(crate) const TO_TOPIC: &str = "SNS Publish to the topic";
/// The name of a call that sends an SMS to a phone number.
pub(crate) const BY_SMS: &str = "SNS Publish by SMS";

/// Returns the service that a request calls, and the name of the call. `None` if the service is unknown.
fn name(head: &Parts, body: &[u8]) -> Option<(Service, String)> {
    if let Some(target) = head.headers.get("x-amz-target") {
        let (service, operation) = target.to_str().ok()?.split_once('.')?;
        return match service {
            "AmazonSSM" => Some((Service::Ssm, format!("SSM {operation}"))),
            "AmazonSQS" => Some((Service::Sqs, format!("SQS {operation}"))),
            "DynamoDB_20120810" => {
                let input = serde_json::from_slice(body).ok()?;
                Some((Service::DynamoDb, dynamodb_name(operation, &input)?))
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

/// Returns the name of a DynamoDB call: the operation, the table, and the status that the call writes or the shard that
/// it reads, if there is one.
fn dynamodb_name(operation: &str, input: &Value) -> Option<String> {
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
