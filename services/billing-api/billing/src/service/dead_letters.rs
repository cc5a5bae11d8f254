//! A dead-letter queue for records and events that a function cannot handle.

use std::{fmt, str::FromStr};

use aws::{Client, SdkError};
use aws_sdk_sqs::{
    operation::send_message::{SendMessage, SendMessageError, SendMessageInput, SendMessageOutput},
    types::MessageAttributeValue,
};
use function::StartError;
use http::Uri;

use super::Error;

/// A client of an SQS queue for stream records that cannot be parsed, or for events that contradict
/// the stored purchase or Stripe's data.
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    /// Creates a client of the queue whose URL is in the environment variable `DEAD_LETTER_QUEUE`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let QueueUrl(url) = function::setting("DEAD_LETTER_QUEUE")?;
        Ok(Self {
            client: aws.client("sqs"),
            url,
        })
    }

    /// Sends `body` to the queue, with the message attribute `Reason`. Logs the reason.
    ///
    /// # Errors
    /// Fails if SQS does not accept the message.
    pub async fn send(&self, body: String, reason: &str) -> Result<(), Error> {
        tracing::error!(reason, "message sent to the dead-letter queue");
        let attribute = MessageAttributeValue::builder().data_type("String");
        let attribute = attribute.string_value(reason).build();
        let attribute = attribute.map_err(|error| Error::Failed(error.into()))?;
        let send = SendMessageInput::builder().queue_url(&self.url);
        let send = send.message_attributes("Reason", attribute);
        let send = send.message_body(body).build();
        let send = send.map_err(|error| Error::Failed(error.into()))?;
        let call = self.client.call(SendMessage::new(), send);
        let sent: Result<SendMessageOutput, SdkError<SendMessageError>> = call.await;
        sent.map(|_| ()).map_err(aws::service_error)
    }
}

impl fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadLetterQueue").field(&self.url).finish()
    }
}

struct QueueUrl(String);

impl FromStr for QueueUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let parsed = url.parse::<Uri>().ok();
        let is_http = parsed.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
        is_http
            .map(|_| Self(url.into()))
            .ok_or("it must be the URL of a queue")
    }
}
