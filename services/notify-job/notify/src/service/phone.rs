//! The service that sends SMS: SNS.

use std::{fmt, future::Future};

use aws::{Client, SdkError};
use aws_sdk_sns::{
    operation::publish::{Publish, PublishError, PublishInput, PublishOutput},
    types::MessageAttributeValue,
};
use function::{StartError, setting};
use secrets::{Secret, Secrets};

use super::Error;

/// Sends SMS messages to the owner of the product. Tests use an implementation in memory.
pub trait Sms: Sync {
    /// Sends one SMS with this text. Makes one attempt: SNS has no idempotency key for SMS, so each
    /// attempt can send an SMS.
    fn send(&self, text: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The name of the secret that contains the phone number of the product's owner.
const PHONE_NUMBER_SECRET: &str = "admin-phone-number";

/// The phone of the product's owner. SNS sends the SMS messages to it
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-mobile-phone-number-as-subscriber.html>). A
/// successful call means that SNS accepted the SMS, not that it was delivered: the carrier can
/// reject it later, or the account's monthly spend limit can be reached.
pub struct Phone {
    client: Client,
    secrets: Secrets<1>,
}

impl Phone {
    /// Reads the phone number from the secret `admin-phone-number`. The environment variable
    /// `SECRETS_PREFIX` is the path in SSM Parameter Store that contains the secret.
    ///
    /// # Errors
    /// Fails if the variable or the secret is missing or malformed. The error names the variable or
    /// the secret.
    pub async fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let prefix = setting("SECRETS_PREFIX")?;
        let secrets = Secrets::load(aws, &prefix, [PHONE_NUMBER_SECRET]).await?;
        let [number] = secrets.current();
        is_e164(&number).ok_or(MalformedNumber)?;
        Ok(Self {
            client: aws.client("sns").without_retries(),
            secrets,
        })
    }
}

/// The error if the secret does not contain a phone number in the format E.164.
#[derive(Debug, thiserror::Error)]
#[error(
    "the secret {PHONE_NUMBER_SECRET} is malformed: it must be a phone number such as +12065550100"
)]
struct MalformedNumber;

/// Returns `Some(())` if `number` has the format E.164 (<https://www.itu.int/rec/T-REC-E.164>), and
/// None otherwise. SNS requires this format.
fn is_e164(number: &Secret) -> Option<()> {
    let digits = number.expose().strip_prefix('+')?;
    let valid = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then_some(())
}

impl Sms for Phone {
    async fn send(&self, text: &str) -> Result<(), Error> {
        let [number] = self.secrets.current();
        // Transactional messages are optimized for reliable delivery, promotional ones for cost.
        let kind = MessageAttributeValue::builder();
        let kind = kind.data_type("String").string_value("Transactional");
        let kind = kind.build().map_err(|error| Error::Failed(error.into()))?;
        let publish = PublishInput::builder().phone_number(number.expose());
        let publish = publish.message_attributes("AWS.SNS.SMS.SMSType", kind);
        let publish = publish.message(text).build();
        let publish = publish.map_err(|error| Error::Failed(error.into()))?;
        let call = self.client.call(Publish::new(), publish);
        let sent: Result<PublishOutput, SdkError<PublishError>> = call.await;
        sent.map(|_| ()).map_err(aws::service_error)
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phone").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_has_a_plus_and_7_to_15_digits() {
        let valid = |number: &str| is_e164(&number.to_owned().into()).is_some();
        for number in ["+12065550100", "+4930123456", "+123456789012345"] {
            assert!(valid(number), "{number}");
        }
        for number in [
            "",
            "+",
            "12065550100",
            "+123",
            "+1234567890123456",
            "+1 206 555",
        ] {
            assert!(!valid(number), "{number}");
        }
    }
}
