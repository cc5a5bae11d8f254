//! The dead-letter queue of billing-purchase-paid.

use std::{fmt, str::FromStr};

use aws::{Client, SdkError};
use aws_sdk_sqs::operation::send_message::{
    SendMessage, SendMessageError, SendMessageInput, SendMessageOutput,
};
use function::StartError;
use http::Uri;

use super::{Error, stream::MalformedRecord};

/// A client of the SQS queue for stream records that cannot be parsed. The queue keeps the records,
/// so that a developer can inspect them.
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

    /// Sends the stream record `record` to the dead-letter queue. Logs `why`, the reason why the
    /// record cannot be parsed.
    ///
    /// # Errors
    /// Fails if SQS does not accept the message.
    pub async fn send(&self, record: String, why: &MalformedRecord) -> Result<(), Error> {
        let error = function::chain(why);
        tracing::error!(error, "stream record sent to the dead-letter queue");
        let send = SendMessageInput::builder().queue_url(&self.url);
        let send = send.message_body(record).build();
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
