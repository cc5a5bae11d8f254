//! The queue of what could not be handled.

use std::{fmt, str::FromStr};

use aws::{Client, SdkError};
use aws_sdk_sqs::operation::send_message::{
    SendMessage, SendMessageError, SendMessageInput, SendMessageOutput,
};
use function::StartError;
use http::Uri;

use super::{Error, stream::Unreadable};

/// Keeps what can never be handled, for somebody to look at.
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    /// The queue that the setting `DEAD_LETTER_QUEUE` gives the URL of.
    ///
    /// # Errors
    /// Names the setting when it is missing or malformed.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let QueueUrl(url) = function::setting("DEAD_LETTER_QUEUE")?;
        Ok(Self {
            client: aws.client("sqs"),
            url,
        })
    }

    /// Keeps a message, with why it could not be handled in the log. It is not worth another try.
    ///
    /// # Errors
    /// When it is not kept.
    pub async fn keep(&self, message: String, why: &Unreadable) -> Result<(), Error> {
        let error = function::chain(why);
        tracing::error!(error, "a message is put aside");
        let send = SendMessageInput::builder().queue_url(&self.url);
        let send = send.message_body(message).build();
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
        let known = parsed.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
        known
            .map(|_| Self(url.into()))
            .ok_or("it must be the URL of a queue")
    }
}
