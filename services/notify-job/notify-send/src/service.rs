//! What is outside: the owner's phone.

use std::{fmt, future::Future};

use aws::{Client, SdkError};
use aws_sdk_sns::{
    operation::publish::{Publish, PublishError, PublishInput, PublishOutput},
    types::MessageAttributeValue,
};
pub(crate) use domain::ServiceError as Error;
use function::{StartError, setting};
use secrets::{Secret, Secrets};

/// Sends text messages to the owner.
pub(crate) trait Sms: Sync {
    /// Sends one.
    fn send(&self, text: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The secret that says where the owner's phone is.
const PHONE_NUMBER: &str = "admin-phone-number";

/// The owner's phone, by SNS: <https://docs.aws.amazon.com/sns/latest/dg/sms_sending-overview.html>.
pub(crate) struct Phone {
    client: Client,
    secrets: Secrets<1>,
}

impl Phone {
    /// By the setting `SECRETS_PREFIX`, with the secret `admin-phone-number`.
    ///
    /// # Errors
    /// Names the setting, or the secret, that is missing or malformed.
    pub(crate) async fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let prefix = setting("SECRETS_PREFIX")?;
        let secrets = Secrets::load(aws, &prefix, [PHONE_NUMBER]).await?;
        let [number] = secrets.current();
        is_e164(&number).ok_or(Malformed)?;
        Ok(Self {
            client: aws.client("sns"),
            secrets,
        })
    }
}

/// The number is none.
#[derive(Debug, thiserror::Error)]
#[error("the secret {PHONE_NUMBER} is malformed: it must be a number such as +12065550100")]
struct Malformed;

/// Whether it is a phone number as SNS takes it: <https://www.itu.int/rec/T-REC-E.164>.
fn is_e164(number: &Secret) -> Option<()> {
    let digits = number.expose().strip_prefix('+')?;
    let good = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    good.then_some(())
}

impl Sms for Phone {
    async fn send(&self, text: &str) -> Result<(), Error> {
        let [number] = self.secrets.current();
        // Delivered at once, rather than when it is cheap.
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
        let good = |number: &str| is_e164(&number.to_owned().into()).is_some();
        for number in ["+12065550100", "+4930123456", "+123456789012345"] {
            assert!(good(number), "{number}");
        }
        for number in [
            "",
            "+",
            "12065550100",
            "+123",
            "+1234567890123456",
            "+1 206 555",
        ] {
            assert!(!good(number), "{number}");
        }
    }
}
