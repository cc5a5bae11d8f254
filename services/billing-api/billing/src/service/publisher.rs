//! The SNS topic Purchases. It gets a message about each revision of a settled purchase.

use std::{fmt, future::Future, str::FromStr};

use aws::{Client, SdkError};
use aws_sdk_sns::operation::publish::{Publish, PublishError, PublishInput, PublishOutput};
pub use domain::events::NotePurchased;
use function::StartError;

use super::Error;
use crate::purchase::Purchase;

/// Publishes messages about purchases to the SNS topic Purchases. The unit tests use an
/// implementation in memory.
pub trait Publisher: Sync {
    /// Publishes a message about a purchase. A retry publishes the message again. Therefore
    /// subscribers must detect duplicates by the id of the purchase and its revision.
    fn publish(&self, message: &NotePurchased) -> impl Future<Output = Result<(), Error>> + Send;
}

impl From<&Purchase> for NotePurchased {
    fn from(purchase: &Purchase) -> Self {
        Self {
            purchase_id: purchase.key.purchase_id,
            user_id: purchase.key.user_id.clone(),
            amount: purchase.amount.get(),
            currency: purchase.currency.into(),
            description: purchase.description.clone(),
            granted: purchase.granted(),
            revision: purchase.revision,
            notices: purchase.outbox.clone().unwrap_or_default(),
        }
    }
}

/// A client of the SNS topic Purchases.
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    /// Creates a client of the topic whose ARN is in the environment variable
    /// `NOTE_PURCHASED_TOPIC`.
    ///
    /// # Errors
    /// Fails if the variable is missing or malformed. The error names the variable.
    pub fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let TopicArn(arn) = function::setting("NOTE_PURCHASED_TOPIC")?;
        Ok(Self {
            client: aws.client("sns"),
            arn,
        })
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.arn).finish()
    }
}

impl Publisher for Topic {
    async fn publish(&self, message: &NotePurchased) -> Result<(), Error> {
        let message =
            serde_json::to_string(message).map_err(|error| Error::Failed(error.into()))?;
        let publish = PublishInput::builder().topic_arn(&self.arn);
        let publish = publish.message(message).build();
        let publish = publish.map_err(|error| Error::Failed(error.into()))?;
        let call = self.client.call(Publish::new(), publish);
        let published: Result<PublishOutput, SdkError<PublishError>> = call.await;
        published.map(|_| ()).map_err(aws::service_error)
    }
}

struct TopicArn(String);

impl FromStr for TopicArn {
    type Err = &'static str;

    fn from_str(arn: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = arn.split(':').collect();
        match parts[..] {
            ["arn", _, "sns", _, _, name] if !name.is_empty() => Ok(Self(arn.into())),
            _ => Err("it must be the ARN of a topic"),
        }
    }
}
