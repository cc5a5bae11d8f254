//! The rule: one SMS a purchase.

use std::time::SystemTime;

use domain::events::NotePurchased;
use idempotency::{ClaimOutcome, Idempotency, Scope, store::Store};

use crate::service::{self, Sms};

/// Why the owner is not told, or not by this delivery. Lambda delivers the message again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is no news of a purchase. To read it again will not help: it ends in the queue of failures.
    #[error("a message is no purchase")]
    Unreadable(#[source] serde_json::Error),
    /// Another delivery is being worked on, and may yet fail.
    #[error("another delivery of this message is being worked on")]
    InProgress,
    /// The SMS was not taken.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The purchase cannot be claimed.
    #[error(transparent)]
    ClaimOutcome(#[from] idempotency::Error),
}

/// Tells the owner of a purchase by SMS, once however often it is called.
///
/// A crash between the sending and its record sends it once more: rather twice than never.
///
/// # Errors
/// When the SMS is not known to be sent.
#[tracing::instrument(skip_all)]
pub(crate) async fn notify(
    sms: &impl Sms,
    idempotency: &Idempotency<impl Store>,
    news: &NotePurchased,
    deadline: SystemTime,
) -> Result<(), Error> {
    let operation = Scope::shared("notify").operation(&news.purchase_id.into(), b"");
    let held = match idempotency
        .claim::<(), ()>(&operation, deadline, ())
        .await?
    {
        ClaimOutcome::Start { held, .. } => held,
        ClaimOutcome::InProgress { .. } => return Err(Error::InProgress),
        // It is done; and there is no body that could differ.
        ClaimOutcome::Replay(()) | ClaimOutcome::Mismatch => return Ok(()),
    };
    let text = format!("Charged {} for {}", news.amount, news.description);
    let sent = sms.send(&text).await;
    let recorded = match &sent {
        Ok(()) => held.complete(&()).await,
        Err(_) => held.release().await,
    };
    // What is sent is sent: to be asked again would only send it twice.
    if let Err(error) = recorded {
        let error = function::chain(&error);
        tracing::warn!(error, "what became of a message is not recorded");
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

    /// A phone that takes messages, or does not.
    #[derive(Default)]
    struct Phone {
        texts: Mutex<Vec<String>>,
        dead: Mutex<bool>,
    }

    impl Sms for Phone {
        async fn send(&self, text: &str) -> Result<(), service::Error> {
            if *self.dead.lock().unwrap() {
                return Err(service::Error::Unavailable("no network".into()));
            }
            self.texts.lock().unwrap().push(text.to_owned());
            Ok(())
        }
    }

    const A: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
    const B: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

    fn news(id: &str) -> NotePurchased {
        let json = serde_json::json!({
            "purchaseId": id, "userId": "us-east-1:ada", "amount": 4000,
            "description": "storage for 10 notes",
        });
        serde_json::from_value(json).unwrap()
    }

    async fn tell(phone: &Phone, idempotency: &Idempotency<Memory>, id: &str) -> Result<(), Error> {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        notify(phone, idempotency, &news(id), deadline).await
    }

    #[tokio::test]
    async fn the_owner_is_told_once_of_each_purchase_however_often_it_is_heard_of() {
        let (phone, (idempotency, _)) = (Phone::default(), Idempotency::in_memory());
        for id in [A, A, B, A] {
            tell(&phone, &idempotency, id).await.unwrap();
        }
        let text = "Charged 4000 for storage for 10 notes";
        assert_eq!(*phone.texts.lock().unwrap(), [text, text]);
    }

    #[tokio::test]
    async fn an_sms_that_was_not_taken_is_sent_by_the_next_delivery() {
        let (phone, (idempotency, _)) = (Phone::default(), Idempotency::in_memory());
        *phone.dead.lock().unwrap() = true;
        let failed = tell(&phone, &idempotency, A).await.unwrap_err();
        assert!(matches!(failed, Error::Service(_)), "{failed:?}");
        *phone.dead.lock().unwrap() = false;
        tell(&phone, &idempotency, A).await.unwrap();
        assert_eq!(phone.texts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_sms_whose_record_is_lost_is_sent_and_not_asked_for_again() {
        let (phone, (idempotency, _)) = (Phone::default(), Idempotency::in_memory());
        idempotency.store().fail_after(1, Failure::Unsent);
        tell(&phone, &idempotency, A).await.unwrap();
        assert_eq!(phone.texts.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn while_another_delivery_is_worked_on_this_one_is_to_come_back() {
        let (phone, (idempotency, clock)) = (Phone::default(), Idempotency::in_memory());
        let operation = Scope::shared("notify").operation(&news(A).purchase_id.into(), b"");
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let crashed = idempotency.claim::<(), ()>(&operation, deadline, ());
        drop(crashed.await.unwrap());
        let failed = tell(&phone, &idempotency, A).await.unwrap_err();
        assert!(matches!(failed, Error::InProgress), "{failed:?}");
        clock.advance(Duration::from_secs(60));
        tell(&phone, &idempotency, A).await.unwrap();
        assert_eq!(phone.texts.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_message_that_is_no_purchase_is_an_error() {
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
