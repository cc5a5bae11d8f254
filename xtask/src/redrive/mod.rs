//! `cargo xtask redrive`: processes the messages of a dead-letter queue again, after the cause of their failure is fixed.

mod billing; // part: billing
mod message;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use console::style;
use serde_json::Value;

use self::message::Action;
use crate::{
    release::{StageContext, StageName, Target},
    ui,
    workspace::Workspace,
};

/// The visibility timeout of received messages. It is longer than the processing of a batch of messages.
const HIDDEN: Duration = Duration::from_secs(3600);

/// The maximum number of messages that one request receives:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
const BATCH: i32 = 10;

/// How long a request waits for messages. With this wait (long polling), SQS queries all of its servers, so an empty
/// response means that the queue has no visible messages:
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>
const WAIT: Duration = Duration::from_secs(2);

/// The time limit of an invocation. It is longer than the timeout of every function.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(300);

/// The maximum number of characters that are shown of a message.
const SHOWN: usize = 160;

/// Runs `cargo xtask redrive`: processes each message of the dead-letter queue `queue` once, and deletes those that
/// succeed. `queue` is the name of a function or of its dead-letter queue. With `dry_run`, only lists the messages.
///
/// # Errors
/// Fails if messages remain in the queue, if the stage has no such queue, or if a request to AWS fails.
pub(crate) async fn redrive(queue: &str, stage: &StageName, dry_run: bool) -> Result<()> {
    let workspace = Workspace::read()?;
    let context = StageContext::open_any(&workspace, stage).await?;
    let function = function_of(queue, stage).to_owned();
    workspace.function(&function)?;
    context.target.announce();
    let queue = Queue::find(&context.target, &function).await?;
    if dry_run {
        return list(&queue, &function).await;
    }
    let mut redrive = Redrive::new(&context, &function).await?;
    let summary = redrive.run(&queue).await?;
    ui::say(summary.to_string());
    if summary.remaining() > 0 {
        bail!(
            "{} left in the dead-letter queue of {function}: fix the cause, and run the same command again",
            ui::count(summary.remaining(), "message")
        );
    }
    Ok(())
}

/// Returns the name of a function. `queue` is this name, or the name of the function's dead-letter queue.
fn function_of<'a>(queue: &'a str, stage: &StageName) -> &'a str {
    let name = queue.strip_suffix("-dead-letters").unwrap_or(queue);
    name.strip_prefix(&format!("scratchpad-{stage}-"))
        .unwrap_or(name)
}

/// Lists the messages of a queue, and makes them visible to other consumers again.
async fn list(queue: &Queue, function: &str) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    loop {
        let messages = queue.receive().await?;
        let is_empty = messages.is_empty();
        for message in &messages {
            if !seen.insert(message.message_id().unwrap_or_default().to_owned()) {
                continue;
            }
            count += 1;
            let body = message.body().unwrap_or_default();
            let action = match Action::of(function, body) {
                Ok(action) => action.describe(function),
                Err(error) => style(format!("{error:#}")).red().to_string(),
            };
            ui::print(format!(
                "{} {}{}\n  {action}",
                style(message.message_id().unwrap_or_default()).bold(),
                shown(body),
                reason(message),
            ));
        }
        if is_empty {
            break;
        }
    }
    queue.show_received().await;
    ui::success(format!(
        "{} in the dead-letter queue of {function}; nothing was changed",
        ui::count(count, "message")
    ));
    Ok(())
}

/// Returns the beginning of a message.
fn shown(body: &str) -> String {
    let mut shown: String = body.chars().take(SHOWN).collect();
    if shown.len() < body.len() {
        shown.push('…');
    }
    shown
}

/// Returns the reason that the function gave when it sent a message to the queue.
fn reason(message: &Message) -> String {
    let attributes = message.message_attributes();
    let reason = attributes.and_then(|attributes| attributes.get("Reason")?.string_value());
    reason.map_or_else(String::new, |reason| format!("\n  reason: {reason}"))
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Summary {
    /// The messages that were processed and deleted.
    done: usize,
    /// The messages whose processing failed.
    failed: usize,
    /// The messages that arrived during the run, or that are equal to a processed one. The run does not process them,
    /// because a function sends an event that it cannot process back to the queue.
    returned: usize,
}

impl Summary {
    fn remaining(&self) -> usize {
        self.failed + self.returned
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            done,
            failed,
            returned,
        } = self;
        write!(
            f,
            "{done} processed, {failed} failed, {returned} sent back by the function"
        )
    }
}

/// A run that processes the messages of one function's queue.
struct Redrive<'a> {
    function: &'a str,
    lambda: aws_sdk_lambda::Client,
    stage: String,
    billing: billing::Redrive, // part: billing
}

impl<'a> Redrive<'a> {
    async fn new(context: &StageContext, function: &'a str) -> Result<Self> {
        Ok(Self {
            function,
            lambda: lambda(&context.target),
            stage: context.target.stage.to_string(),
            billing: billing::Redrive::new(context, function).await?, // part: billing
        })
    }

    /// Processes each message that is in the queue at the start of the run.
    async fn run(&mut self, queue: &Queue) -> Result<Summary> {
        let started = UNIX_EPOCH.elapsed()?.as_millis() as u64;
        let mut summary = Summary::default();
        let mut seen = BTreeSet::new();
        let mut processed = BTreeSet::new();
        loop {
            let messages = queue.receive().await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                // SQS can deliver a message more than once.
                if !seen.insert(message.message_id().unwrap_or_default().to_owned()) {
                    continue;
                }
                let body = message.body().unwrap_or_default().to_owned();
                // A function sends an event that it cannot process back to the queue. Without this check, the run would
                // not end.
                if sent_at(&message) > started || processed.contains(&body) {
                    summary.returned += 1;
                    continue;
                }
                let result = self.process(&body).await;
                processed.insert(body.clone());
                match result {
                    Ok(()) => {
                        queue.delete(&message).await?;
                        summary.done += 1;
                    }
                    Err(error) => {
                        summary.failed += 1;
                        let id = message.message_id().unwrap_or_default();
                        let mark = style("✗").red();
                        ui::say(format!("{mark} {id}: {error:#}\n  {}", shown(&body)));
                    }
                }
            }
        }
        // The alarm counts only visible messages, and the next run receives only these.
        queue.show_received().await;
        Ok(summary)
    }

    async fn process(&mut self, body: &str) -> Result<()> {
        match Action::of(self.function, body)? {
            Action::Invoke(event) => self.invoke(self.function, &event).await,
            // part: billing {
            Action::Deliver(event) => self.billing.webhook.deliver(event).await,
            Action::Reconcile => self.reconcile().await,
            // part: billing }
        }
    }

    /// Invokes a function, and waits for its result.
    async fn invoke(&self, function: &str, event: &Value) -> Result<()> {
        let invoked = self
            .lambda
            .invoke()
            .function_name(format!("scratchpad-{}-{function}", self.stage))
            .payload(serde_json::to_vec(event)?.into())
            .send()
            .await;
        let invoked = invoked
            .map_err(aws_sdk_lambda::Error::from)
            .with_context(|| format!("cannot invoke {function}"))?;
        let payload = invoked.payload.map(aws_smithy_types::Blob::into_inner);
        let payload = payload.unwrap_or_default();
        let text = String::from_utf8_lossy(&payload);
        if let Some(error) = invoked.function_error {
            bail!("{function} failed ({error}): {text}");
        }
        let response: Value = serde_json::from_slice(&payload).unwrap_or_default();
        let failures = response.get("batchItemFailures").and_then(Value::as_array);
        if failures.is_some_and(|failures| !failures.is_empty()) {
            bail!("{function} could not process the record; its log says why");
        }
        Ok(())
    }
}

/// Returns a client that sends each invocation once, and waits up to [`INVOCATION_TIMEOUT`] for its result.
fn lambda(target: &Target) -> aws_sdk_lambda::Client {
    let config = target.account.config();
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(INVOCATION_TIMEOUT)
        .build();
    let config = aws_sdk_lambda::config::Builder::from(config)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        .build();
    aws_sdk_lambda::Client::from_conf(config)
}

/// Returns when a message was sent to the queue, in milliseconds since the Unix epoch. 0 if it is not known.
fn sent_at(message: &Message) -> u64 {
    let attributes = message.attributes();
    let sent = attributes
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp));
    sent.and_then(|sent| sent.parse().ok()).unwrap_or_default()
}

/// A dead-letter queue.
struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
    /// The receipt handles of the messages that were received and not deleted, by the IDs of the messages.
    received: std::sync::Mutex<BTreeMap<String, String>>,
}

impl Queue {
    /// Finds the dead-letter queue of a function.
    async fn find(target: &Target, function: &str) -> Result<Self> {
        let sqs = aws_sdk_sqs::Client::new(target.account.config());
        let name = format!("scratchpad-{}-{function}-dead-letters", target.stage);
        let found = sqs.get_queue_url().queue_name(&name).send().await;
        let found = match found {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_queue_does_not_exist()) =>
            {
                bail!(
                    "{} has no queue {name}: the stage is not deployed, or {function} has no dead-letter queue",
                    target.stage
                )
            }
            found => found
                .map_err(aws_sdk_sqs::Error::from)
                .with_context(|| format!("cannot find the queue {name}"))?,
        };
        Ok(Self {
            sqs,
            url: found.queue_url.unwrap_or_default(),
            received: Default::default(),
        })
    }

    /// Receives messages, and hides them from other consumers. Empty if the queue has no visible messages.
    async fn receive(&self) -> Result<Vec<Message>> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH)
            .visibility_timeout(HIDDEN.as_secs().try_into()?)
            .wait_time_seconds(WAIT.as_secs().try_into()?)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names("Reason")
            .send()
            .await;
        let received = received
            .map_err(aws_sdk_sqs::Error::from)
            .context("cannot receive messages from the queue")?;
        let messages = received.messages.unwrap_or_default();
        for message in &messages {
            self.receipts().insert(
                message.message_id().unwrap_or_default().to_owned(),
                message.receipt_handle().unwrap_or_default().to_owned(),
            );
        }
        Ok(messages)
    }

    /// Deletes a message.
    async fn delete(&self, message: &Message) -> Result<()> {
        let deleted = self
            .sqs
            .delete_message()
            .queue_url(&self.url)
            .receipt_handle(message.receipt_handle().unwrap_or_default())
            .send()
            .await;
        deleted
            .map_err(aws_sdk_sqs::Error::from)
            .context("a message was processed, but cannot be deleted")?;
        self.receipts()
            .remove(message.message_id().unwrap_or_default());
        Ok(())
    }

    /// Makes the received messages visible again. Ignores failures, because the visibility timeout has the same effect
    /// later.
    async fn show_received(&self) {
        let receipts = std::mem::take(&mut *self.receipts());
        for receipt in receipts.into_values() {
            let _ = self
                .sqs
                .change_message_visibility()
                .queue_url(&self.url)
                .receipt_handle(receipt)
                .visibility_timeout(0)
                .send()
                .await;
        }
    }

    fn receipts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.received
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws};

    mod billing; // part: billing

    /// A queue, and the functions that a run invokes.
    #[derive(Debug, Default)]
    struct Cloud {
        /// The ID, the body and the time of each message, and whether it is visible.
        messages: Vec<(String, String, u64, bool)>,
        /// The function and the event of each invocation.
        invocations: Vec<(String, Value)>,
    }

    impl Cloud {
        fn put(&mut self, body: &Value, sent_at: u64) {
            let id = format!("message-{}", self.messages.len());
            self.messages.push((id, body.to_string(), sent_at, true));
        }

        fn answer(&mut self, target: &str, uri: &str, body: &str) -> Answer {
            let input: Value = serde_json::from_str(body).unwrap();
            let receipt = input["ReceiptHandle"].as_str().unwrap_or_default();
            let output = match target.strip_prefix("AmazonSQS.") {
                Some("GetQueueUrl") => {
                    assert_eq!(
                        input["QueueName"],
                        "scratchpad-dev-notes-attachment-uploaded-dead-letters"
                    );
                    json!({"QueueUrl": "http://127.0.0.1:1/queue"})
                }
                Some("ReceiveMessage") => {
                    let visible = self.messages.iter_mut().filter(|message| message.3);
                    let received = visible.take(3).map(|(id, body, sent_at, is_visible)| {
                        *is_visible = false;
                        json!({
                            "MessageId": id, "ReceiptHandle": id, "Body": body,
                            "Attributes": {"SentTimestamp": sent_at.to_string()},
                        })
                    });
                    json!({"Messages": received.collect::<Vec<_>>()})
                }
                Some("DeleteMessage") => {
                    self.messages.retain(|message| message.0 != receipt);
                    json!({})
                }
                Some("ChangeMessageVisibility") => {
                    assert_eq!(input["VisibilityTimeout"], 0);
                    let message = self
                        .messages
                        .iter_mut()
                        .find(|message| message.0 == receipt);
                    message.unwrap().3 = true;
                    json!({})
                }
                _ => return self.invoke(uri, input),
            };
            Answer::new(200, output.to_string())
        }

        /// Invokes a function. It fails if the event has the field `fails`, and sends its event back to the queue if it
        /// has the field `returns`.
        fn invoke(&mut self, uri: &str, event: Value) -> Answer {
            let function = uri.split('/').rev().nth(1).unwrap().to_owned();
            self.invocations.push((function, event.clone()));
            if event["fails"] == true {
                let body = json!({"errorMessage": "no"}).to_string();
                return Answer::WithHeader(200, body, "x-amz-function-error", "Unhandled");
            }
            if event["returns"] == true {
                self.put(&json!({"requestPayload": event}), u64::MAX);
            }
            let failures = if event["partly"] == true {
                json!([{"itemIdentifier": "1"}])
            } else {
                json!([])
            };
            Answer::new(200, json!({"batchItemFailures": failures}).to_string())
        }
    }

    struct Test {
        cloud: Arc<Mutex<Cloud>>,
        context: StageContext,
        queue: Queue,
    }

    impl Test {
        async fn with(events: &[Value]) -> Self {
            let cloud = Arc::<Mutex<Cloud>>::default();
            for event in events {
                cloud.lock().unwrap().put(event, 1);
            }
            let shared = cloud.clone();
            let aws = FakeAws::new(move |request| {
                if request.body.contains("ListExports") {
                    return Answer::xml("ListExports", "");
                }
                let mut cloud = shared.lock().unwrap();
                cloud.answer(&request.target, &request.uri, &request.body)
            });
            let context = aws.stage().await;
            let queue = Queue::find(&context.target, "notes-attachment-uploaded")
                .await
                .unwrap();
            Self {
                cloud,
                context,
                queue,
            }
        }

        async fn run(&self, function: &str) -> Summary {
            let mut redrive = Redrive::new(&self.context, function).await.unwrap();
            redrive.run(&self.queue).await.unwrap()
        }

        /// The messages that are left, and whether each is visible.
        fn left(&self) -> Vec<(String, bool)> {
            let cloud = self.cloud.lock().unwrap();
            let messages = cloud.messages.iter();
            messages
                .map(|message| (message.1.clone(), message.3))
                .collect()
        }
    }

    fn event(field: &str) -> Value {
        json!({"requestPayload": {field: true}})
    }

    #[tokio::test]
    async fn a_message_is_deleted_only_if_its_event_is_processed() {
        let events = ["a", "fails", "b", "partly", "c"].map(event);
        let test = Test::with(&events).await;
        let summary = test.run("notes-attachment-uploaded").await;
        let expected = Summary {
            done: 3,
            failed: 2,
            returned: 0,
        };
        assert_eq!(summary, expected);
        let left = [&events[1], &events[3]].map(|event| (event.to_string(), true));
        assert_eq!(test.left(), left);
        let cloud = test.cloud.lock().unwrap();
        assert_eq!(cloud.invocations.len(), events.len());
        let first = (
            "scratchpad-dev-notes-attachment-uploaded".to_owned(),
            json!({"a": true}),
        );
        assert_eq!(cloud.invocations[0], first);
    }

    #[tokio::test]
    async fn an_event_that_the_function_sends_back_is_processed_once_per_run() {
        let test = Test::with(&[event("returns")]).await;
        let summary = test.run("notes-attachment-uploaded").await;
        assert_eq!((summary.done, summary.returned), (1, 1));
        assert_eq!(test.left(), [(event("returns").to_string(), true)]);
        assert_eq!(test.cloud.lock().unwrap().invocations.len(), 1);
    }

    #[tokio::test]
    async fn a_dry_run_changes_nothing() {
        let events = [event("a"), json!("unknown")];
        let test = Test::with(&events).await;
        list(&test.queue, "notes-attachment-uploaded")
            .await
            .unwrap();
        assert_eq!(test.left(), events.map(|event| (event.to_string(), true)));
        assert!(test.cloud.lock().unwrap().invocations.is_empty());
    }

    #[test]
    fn a_queue_is_named_by_its_function_or_by_itself() {
        let stage = "dev".parse().unwrap();
        for name in [
            "notes-attachment-uploaded",
            "notes-attachment-uploaded-dead-letters",
            "scratchpad-dev-notes-attachment-uploaded-dead-letters",
        ] {
            assert_eq!(function_of(name, &stage), "notes-attachment-uploaded");
        }
    }
}
