//! The messages of dead-letter queues, and how each is processed again.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::billing; // part: billing

/// How a message is processed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Invoke the function of the queue with this event.
    Invoke(Value),
    // part: billing {
    /// Send this event to the webhook, as Stripe does.
    Deliver(String),
    /// Invoke billing-reconcile, which announces each purchase whose revision is not announced. The message contains
    /// only positions in the stream, and the stream keeps its records for a day. The table keeps the notices until they
    /// are announced.
    Reconcile,
    // part: billing }
}

impl Action {
    /// Returns how a message of the dead-letter queue of `function` is processed again.
    ///
    /// # Errors
    /// Fails if the message has none of the formats that the queue can have.
    pub(super) fn of(function: &str, body: &str) -> Result<Self> {
        let message: Value = serde_json::from_str(body).context("the message is not JSON")?;
        // part: billing {
        if let Some(action) = billing::action(function, body, &message) {
            return Ok(action);
        }
        // part: billing }
        // https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        if let Some(payload) = message.get("requestPayload") {
            return Ok(Self::Invoke(payload.clone()));
        }
        // SNS sends what it could not deliver to a function:
        // https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
        if message.get("Type").and_then(Value::as_str) == Some("Notification") {
            return Ok(Self::Invoke(sns_event(message)));
        }
        bail!("the message of {function} has an unknown format")
    }

    /// Says what the action does.
    pub(super) fn describe(&self, function: &str) -> String {
        match self {
            Self::Invoke(_) => format!("invoke {function} with the event"),
            // part: billing {
            Self::Deliver(_) => "send the Stripe event to the webhook".into(),
            Self::Reconcile => "invoke billing-reconcile, which announces purchases".into(),
            // part: billing }
        }
    }
}

/// Returns the event with which SNS invokes a function: <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html>
fn sns_event(mut notification: Value) -> Value {
    if let Some(fields) = notification.as_object_mut() {
        // The event has other names for these fields than the notification.
        for (from, to) in [
            ("SigningCertURL", "SigningCertUrl"),
            ("UnsubscribeURL", "UnsubscribeUrl"),
        ] {
            if let Some(value) = fields.remove(from) {
                fields.insert(to.into(), value);
            }
        }
    }
    json!({"Records": [{
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": notification.get("TopicArn"),
        "Sns": notification,
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: &str = "notes-attachment-uploaded";

    fn action(function: &str, message: &Value) -> Result<Action> {
        Action::of(function, &message.to_string())
    }

    #[test]
    fn a_failed_asynchronous_invocation_is_repeated_with_its_event() {
        let event = json!({"detail": {"object": {"key": "a"}}});
        let message = json!({
            "version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event,
            "responsePayload": {"errorType": "Error"},
        });
        let expected = Action::Invoke(event);
        assert_eq!(action(FUNCTION, &message).unwrap(), expected);
    }

    #[test]
    fn a_message_that_sns_could_not_deliver_becomes_an_event_of_sns() {
        let topic = "arn:aws:sns:us-east-1:111111111111:scratchpad-dev-Topic";
        let message = json!({
            "Type": "Notification", "MessageId": "1", "TopicArn": topic, "Message": "{}", "Timestamp": "2026-01-01T00:00:00.000Z",
            "SignatureVersion": "1", "Signature": "s", "SigningCertURL": "https://cert", "UnsubscribeURL": "https://unsubscribe",
        });
        let event = sns_event(message.clone());
        let expected = Action::Invoke(event.clone());
        assert_eq!(action(FUNCTION, &message).unwrap(), expected);
        let record = &event["Records"][0];
        assert_eq!(record["EventSource"], "aws:sns");
        assert_eq!(record["Sns"]["Message"], "{}");
        assert_eq!(record["Sns"]["SigningCertUrl"], "https://cert");
        assert_eq!(record["Sns"]["UnsubscribeUrl"], "https://unsubscribe");
    }

    #[test]
    fn a_message_with_an_unknown_format_is_not_processed() {
        for body in [
            "hello",
            "{\"object\": \"event\"}",
            "{\"dynamodb\": {}}",
            "[]",
        ] {
            assert!(Action::of(FUNCTION, body).is_err(), "{body}");
        }
    }
}
