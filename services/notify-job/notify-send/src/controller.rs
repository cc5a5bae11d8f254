//! The business rule: the owner of the product gets one SMS per paid purchase.

use std::time::SystemTime;

use domain::events::NotePurchased;
use idempotency::{ClaimOutcome, Idempotency, Scope, store::Store};

use crate::service::{self, Sms};

/// Why the handling of a message failed. Lambda then retries the message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The message is not the JSON of a paid purchase. Retries fail too, and then Lambda sends the
    /// message to the dead-letter queue.
    #[error("the SNS message is not the JSON of a paid purchase")]
    MalformedMessage(#[source] serde_json::Error),
    /// Another delivery of the same message is in progress, and may still fail.
    #[error("another delivery of this message is in progress")]
    InProgress,
    /// The call to SNS that sends the SMS failed.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The call to the idempotency store failed before this delivery could send the SMS.
    #[error(transparent)]
    Idempotency(#[from] idempotency::Error),
}

/// Sends an SMS about a purchase to the owner of the product. If the SNS message is delivered again
/// after the SMS was recorded as sent, this function sends no second SMS.
///
/// The SMS is sent at least once. A retry sends a second SMS if the first attempt sent the SMS but
/// did not record this, because the function crashed or the idempotency store failed. A retry also
/// sends a second SMS if SNS accepted the first one but its response was lost.
///
/// # Errors
/// Fails if it is not certain that the SMS was sent. Lambda then retries the message.
#[tracing::instrument(skip_all)]
pub(crate) async fn notify(
    sms: &impl Sms,
    idempotency: &Idempotency<impl Store>,
    purchase: &NotePurchased,
    deadline: SystemTime,
) -> Result<(), Error> {
    let operation = Scope::shared("notify").operation(&purchase.purchase_id.into(), b"");
    let guard = match idempotency
        .claim::<(), ()>(&operation, deadline, ())
        .await?
    {
        ClaimOutcome::Start { guard, .. } => guard,
        ClaimOutcome::InProgress { .. } => return Err(Error::InProgress),
        // On a replay, the SMS was sent earlier. A mismatch cannot occur, because the payload is
        // always empty.
        ClaimOutcome::Replay(()) | ClaimOutcome::PayloadMismatch => return Ok(()),
    };
    let text = format!("Charged {} for {}", purchase.amount, purchase.description);
    let sent = sms.send(&text).await;
    let recorded = match &sent {
        Ok(()) => guard.complete(&()).await,
        Err(_) => guard.release().await,
    };
    // If the SMS was sent but its record cannot be updated, this function still succeeds, because a
    // retry would send a second SMS.
    if let Err(error) = recorded {
        let error = function::chain(&error);
        tracing::warn!(error, "idempotency record of a sent SMS not updated");
    }
    Ok(sent?)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Mutex,
        time::{Duration, SystemTime},
    };

    use idempotency::memory::{Failure, Memory};

    use super::*;

    /// An SMS service that records the texts, and fails while `unavailable` is true.
    #[derive(Default)]
    struct FakeSms {
        texts: Mutex<Vec<String>>,
        unavailable: Mutex<bool>,
    }

    impl Sms for FakeSms {
        async fn send(&self, text: &str) -> Result<(), service::Error> {
            if *self.unavailable.lock().unwrap() {
                return Err(service::Error::Unavailable("simulated failure".into()));
            }
            self.texts.lock().unwrap().push(text.to_owned());
            Ok(())
        }
    }

    const A: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
    const B: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

    fn purchase(id: &str) -> NotePurchased {
        let json = serde_json::json!({
            "purchaseId": id, "userId": "us-east-1:ada", "amount": 4000,
            "description": "storage for 10 notes",
        });
        serde_json::from_value(json).unwrap()
    }

    async fn deliver(
        sms: &FakeSms,
        idempotency: &Idempotency<Memory>,
        id: &str,
    ) -> Result<(), Error> {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        notify(sms, idempotency, &purchase(id), deadline).await
    }

    #[tokio::test]
    async fn repeated_deliveries_send_one_sms_per_purchase() {
        let (sms, (idempotency, _)) = (FakeSms::default(), Idempotency::in_memory());
        for id in [A, A, B, A] {
            deliver(&sms, &idempotency, id).await.unwrap();
        }
        let text = "Charged 4000 for storage for 10 notes";
        assert_eq!(*sms.texts.lock().unwrap(), [text, text]);
    }

    #[tokio::test]
    async fn the_next_delivery_retries_an_sms_that_failed() {
        let (sms, (idempotency, _)) = (FakeSms::default(), Idempotency::in_memory());
        *sms.unavailable.lock().unwrap() = true;
        let failed = deliver(&sms, &idempotency, A).await.unwrap_err();
        assert!(matches!(failed, Error::Service(_)), "{failed:?}");
        *sms.unavailable.lock().unwrap() = false;
        deliver(&sms, &idempotency, A).await.unwrap();
        assert_eq!(sms.texts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_delivery_that_sent_the_sms_succeeds_even_if_its_idempotency_record_is_not_updated() {
        let (sms, (idempotency, _)) = (FakeSms::default(), Idempotency::in_memory());
        idempotency.store().fail_after(1, Failure::Unsent);
        deliver(&sms, &idempotency, A).await.unwrap();
        assert_eq!(sms.texts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_delivery_fails_while_another_one_is_in_progress() {
        let (sms, (idempotency, clock)) = (FakeSms::default(), Idempotency::in_memory());
        let operation = Scope::shared("notify").operation(&purchase(A).purchase_id.into(), b"");
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let crashed = idempotency.claim::<(), ()>(&operation, deadline, ());
        drop(crashed.await.unwrap());
        let failed = deliver(&sms, &idempotency, A).await.unwrap_err();
        assert!(matches!(failed, Error::InProgress), "{failed:?}");
        clock.advance(Duration::from_secs(60));
        deliver(&sms, &idempotency, A).await.unwrap();
        assert_eq!(sms.texts.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_malformed_message_is_an_error() {
        for message in [
            "",
            "hello",
            "{}",
            r#"{"purchaseId":"","userId":"u","amount":1,"description":"x"}"#,
            r#"{"purchaseId":"a","userId":"u","amount":1,"description":"x"}"#,
            r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"u","amount":-1,"description":"x"}"#,
            r#"{"purchaseId":"019aa0b4-e100-7d21-a6e4-3c8f1b52d90a","userId":"u","amount":1}"#,
            r#"{"purchaseId":1,"userId":"u","amount":1,"description":"x"}"#,
        ] {
            let read = serde_json::from_str::<NotePurchased>(message);
            assert!(read.is_err(), "{message}");
        }
    }
}
