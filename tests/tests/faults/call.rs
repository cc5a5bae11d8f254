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
    /// Creates a call. `is_due` says whether work is due for a purchase in the shard with a given number.
    pub(crate) fn new(head: Parts, body: Bytes, is_due: impl Fn(&str) -> bool) -> Self {
        let (service, name) = name(&head, &body, is_due).unwrap_or_else(|| {
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

    /// Whether this call is a retry of the call `earlier`: name, URI and body are equal. The queries of the shards in
    /// which nothing is due count as one call, because they differ only in the number of the shard. The repetition of a
    /// transaction after a conflict has another token.
    pub(crate) fn is_retry_of(&self, earlier: &Self) -> bool {
        if (&self.name, &self.head.uri) != (&earlier.name, &earlier.head.uri) {
            return false;
        }
        let without_token = |call: &Self| {
            let mut input = call.input();
            input["ClientRequestToken"] = Value::Null;
            input
        };
        self.body == earlier.body
            || self.name.ends_with(OTHER_SHARD)
            || self.is_transaction() && without_token(self) == without_token(earlier)
    }

    /// Whether this call is a transaction of DynamoDB.
    pub(crate) fn is_transaction(&self) -> bool {
        self.name.starts_with("DynamoDB TransactWriteItems ")
    }

    /// Whether this call charges or refunds a card.
    pub(crate) fn creates_payment(&self) -> bool {
        [CHARGE, REFUND].contains(&&*self.name)
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

/// The end of the name of a query of a shard in which nothing is due.
const OTHER_SHARD: &str = " other shard";

/// The name of a call that charges a card.
pub(crate) const CHARGE: &str = "Stripe POST payment_intents";
/// The name of a call that refunds a charge.
pub(crate) const REFUND: &str = "Stripe POST refunds";
/// The name of a call that publishes a message to the SNS topic.
pub(crate) const TO_TOPIC: &str = "SNS Publish to the topic";
// part: notify {
/// The name of a call that sends an SMS to a phone number.
pub(crate) const BY_SMS: &str = "SNS Publish by SMS";
// part: notify }

/// Returns the service that a request calls, and the name of the call. `None` if the service is unknown.
fn name(head: &Parts, body: &[u8], is_due: impl Fn(&str) -> bool) -> Option<(Service, String)> {
    if let Some(target) = head.headers.get("x-amz-target") {
        let (service, operation) = target.to_str().ok()?.split_once('.')?;
        return match service {
            "AmazonSSM" => Some((Service::Ssm, format!("SSM {operation}"))),
            "AmazonSQS" => Some((Service::Sqs, format!("SQS {operation}"))),
            "DynamoDB_20120810" => {
                let input = serde_json::from_slice(body).ok()?;
                Some((Service::DynamoDb, dynamodb_name(operation, &input, is_due)?))
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
    // part: notify {
    if parameter(body, "PhoneNumber").is_some() {
        return Some((Service::Sns, BY_SMS.to_owned()));
    }
    // part: notify }
    Some((Service::Sns, TO_TOPIC.to_owned()))
}

/// Returns the name of a DynamoDB call: the operation, the table, and what the call reads or writes. The name of a
/// transaction contains the names of its actions.
fn dynamodb_name(operation: &str, input: &Value, is_due: impl Fn(&str) -> bool) -> Option<String> {
    if let Value::Array(actions) = &input["TransactItems"] {
        let names = actions.iter().map(|action| {
            let (kind, action) = action.as_object()?.iter().next()?;
            Some(format!("{kind} {}", target(action)?))
        });
        let names: Option<Vec<_>> = names.collect();
        return Some(format!("DynamoDB {operation} {}", names?.join(", ")));
    }
    let Some(shard) = input["ExpressionAttributeValues"][":shard"]["N"].as_str() else {
        return Some(format!("DynamoDB {operation} {}", target(input)?));
    };
    // The number of the purchase's shard differs between simulations.
    let shard = if is_due(shard) { " due" } else { OTHER_SHARD };
    Some(format!("DynamoDB {operation} {}{shard}", target(input)?))
}

/// Returns the table of a DynamoDB call or action, and what the call reads or writes: the status of the item, if the
/// call writes one, or else the kind of the item or of the change.
fn target(input: &Value) -> Option<String> {
    let table = input["TableName"].as_str()?;
    let values = &input["ExpressionAttributeValues"];
    let statuses = [
        &input["Item"]["status"],
        &values[":settled"],
        &values[":status"],
    ];
    let mut statuses = statuses.iter().filter_map(|status| status["S"].as_str());
    let entry = [&input["Item"]["entry"], &input["Key"]["entry"]];
    let mut entry = entry.iter().filter_map(|entry| entry["S"].as_str());
    let update = input["UpdateExpression"].as_str().unwrap_or_default();
    let detail = match (statuses.next(), entry.next()) {
        (Some(status), _) if values[":old"].is_object() => format!("revised {status}"),
        (Some(status), _) => status.to_owned(),
        (None, Some("total")) => "total".to_owned(),
        (None, Some(_)) => "credit".to_owned(),
        _ if update.contains("REMOVE outbox") => "announced".to_owned(),
        _ if values[":intent"].is_object() => "intent".to_owned(),
        _ if update.contains("dueAt") => "postponed".to_owned(),
        _ => return Some(table.to_owned()),
    };
    Some(format!("{table} {detail}"))
}

fn parameter(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(form);
    let (_, value) = pairs.find(|(found, _)| found == name)?;
    Some(value.into_owned())
}
