use std::{mem, time::SystemTime};

use domain::events::{NotePurchased, Notice};
use idempotency::{ClaimOutcome, Idempotency, IdempotencyKey, Scope, store::Store};
use metrics::{SMS_SENT, Subject};

use crate::{
    service::{self, Sms},
    text::{StageName, text},
};

/// Why the handling of a message failed. Lambda then retries the message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id in a notice cannot be part of an idempotency key. Retries fail too, and then Lambda
    /// sends the message to the dead-letter queue.
    #[error("the id in a notice {0}")]
    MalformedNotice(&'static str),
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

/// Sends an SMS about each notice of a message to the owner of the product. Does not repeat an SMS that
/// was recorded as sent, whether the message is delivered again or a later message contains the same
/// notice.
///
/// An SMS is sent at least once. A retry sends a second SMS if the first attempt sent the SMS but
/// did not record this, because the function crashed or the idempotency store failed. A retry also
/// sends a second SMS if SNS accepted the first one but its response was lost.
///
/// # Errors
/// Fails if it is not certain that all SMS were sent. Lambda then retries the message. If the SMS about
/// one notice fails, this function still sends those about the other notices.
#[tracing::instrument(skip_all)]
pub async fn send(
    sms: &impl Sms,
    idempotency: &Idempotency<impl Store>,
    stage: &StageName,
    message: &NotePurchased,
    deadline: SystemTime,
) -> Result<(), Error> {
    Subject::Purchase.log(message.purchase_id);
    let mut result = Ok(());
    for notice in &message.notices {
        let announced = announce(sms, idempotency, stage, message, notice, deadline).await;
        if let Err(error) = announced
            && let Err(earlier) = mem::replace(&mut result, Err(error))
        {
            // The caller logs the last error.
            tracing::error!(error = function::chain(&earlier), "notice not announced");
        }
    }
    result
}

async fn announce(
    sms: &impl Sms,
    idempotency: &Idempotency<impl Store>,
    stage: &StageName,
    message: &NotePurchased,
    notice: &Notice,
    deadline: SystemTime,
) -> Result<(), Error> {
    let key = notice.idempotency_key(message.purchase_id);
    let key: IdempotencyKey = key.parse().map_err(Error::MalformedNotice)?;
    let operation = Scope::shared("notify").operation(&key, b"");
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
    let sent = sms.send(&text(stage, message, notice)).await;
    let recorded = match &sent {
        Ok(()) => {
            SMS_SENT.add(1);
            guard.complete(&()).await
        }
        Err(_) => guard.release().await,
    };
    // If the SMS was sent but its record cannot be updated, this function still succeeds, because a
    // retry would send a second SMS.
    if let Err(error) = recorded {
        let error = function::chain(&error);
        tracing::warn!(error, "idempotency record of an SMS not updated");
    }
    Ok(sent?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use idempotency::memory::{Failure, Memory};
    use serde_json::{Value, json};

    use super::*;
    use crate::service::memory::MemorySms;

    const A: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a";
    const B: &str = "019aa0b4-e100-7d21-a6e4-3c8f1b52d90b";

    fn paid() -> Value {
        json!({"type": "paid"})
    }

    fn disputed(id: &str) -> Value {
        json!({"type": "disputed", "disputeId": id, "amount": 4000, "reason": "fraudulent"})
    }

    fn surplus_refunded(intent: &str) -> Value {
        json!({"type": "surplusRefunded", "paymentIntentId": intent, "amount": 4000})
    }

    fn message(id: &str, notices: &[Value]) -> NotePurchased {
        let json = json!({
            "purchaseId": id, "userId": "us-east-1:ada", "amount": 4000, "currency": "usd",
            "description": "storage for 10 notes", "granted": 10, "revision": 1,
            "notices": notices,
        });
        serde_json::from_value(json).unwrap()
    }

    async fn deliver(
        sms: &MemorySms,
        idempotency: &Idempotency<Memory>,
        message: &NotePurchased,
    ) -> Result<(), Error> {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let stage = "prod".parse().unwrap();
        send(sms, idempotency, &stage, message, deadline).await
    }

    #[tokio::test]
    async fn repeated_deliveries_send_one_sms_per_purchase() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        for id in [A, A, B, A] {
            deliver(&sms, &idempotency, &message(id, &[paid()]))
                .await
                .unwrap();
        }
        let text = |id| format!("[prod] Paid: 40.00 USD for storage for 10 notes ({id})");
        assert_eq!(sms.texts(), [text(A), text(B)]);
    }

    #[tokio::test]
    async fn each_notice_of_a_purchase_is_announced_once() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        let all = [
            paid(),
            disputed("dp_1"),
            disputed("dp_2"),
            surplus_refunded("pi_1"),
            surplus_refunded("pi_2"),
        ];
        for notices in [&all[..1], &all[..2], &all, &all[3..], &all[..1], &[]] {
            deliver(&sms, &idempotency, &message(A, notices))
                .await
                .unwrap();
        }
        assert_eq!(sms.texts().len(), all.len(), "{:?}", sms.texts());
        deliver(&sms, &idempotency, &message(B, &all))
            .await
            .unwrap();
        assert_eq!(sms.texts().len(), 2 * all.len(), "{:?}", sms.texts());
    }

    /// With another key, the release that introduces the key would announce purchases again.
    #[test]
    fn the_key_of_a_paid_purchase_is_its_id() {
        let message = message(A, &[paid()]);
        let key = message.notices[0].idempotency_key(message.purchase_id);
        let key: IdempotencyKey = key.parse().unwrap();
        assert_eq!(key, message.purchase_id.into());
    }

    #[tokio::test]
    async fn a_notice_that_fails_does_not_stop_the_others_and_is_announced_by_the_next_delivery() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        let message = message(A, &[paid(), disputed("dp_1"), surplus_refunded("pi_1")]);
        sms.fail("Dispute", Failure::Unsent);
        let failed = deliver(&sms, &idempotency, &message).await.unwrap_err();
        assert!(matches!(failed, Error::Service(_)), "{failed:?}");
        assert_eq!(sms.texts().len(), 2);
        sms.recover();
        deliver(&sms, &idempotency, &message).await.unwrap();
        let texts = sms.texts();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[2].contains("Dispute"), "{texts:?}");
    }

    #[tokio::test]
    async fn the_next_delivery_sends_a_second_sms_if_the_response_to_the_first_was_lost() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        sms.fail("", Failure::ResponseLost);
        let message = message(A, &[paid()]);
        deliver(&sms, &idempotency, &message).await.unwrap_err();
        assert_eq!(sms.texts().len(), 1);
        sms.recover();
        deliver(&sms, &idempotency, &message).await.unwrap();
        assert_eq!(sms.texts().len(), 2);
    }

    #[tokio::test]
    async fn a_delivery_that_sent_the_sms_succeeds_even_if_its_idempotency_record_is_not_updated() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        idempotency.store().fail_after(1, Failure::Unsent);
        deliver(&sms, &idempotency, &message(A, &[paid()]))
            .await
            .unwrap();
        assert_eq!(sms.texts().len(), 1);
    }

    #[tokio::test]
    async fn a_delivery_fails_while_another_one_is_in_progress() {
        let (sms, (idempotency, clock)) = (MemorySms::default(), Idempotency::in_memory());
        let message = message(A, &[paid()]);
        let operation = Scope::shared("notify").operation(&message.purchase_id.into(), b"");
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let crashed = idempotency.claim::<(), ()>(&operation, deadline, ());
        drop(crashed.await.unwrap());
        let failed = deliver(&sms, &idempotency, &message).await.unwrap_err();
        assert!(matches!(failed, Error::InProgress), "{failed:?}");
        clock.advance(Duration::from_secs(60));
        deliver(&sms, &idempotency, &message).await.unwrap();
        assert_eq!(sms.texts().len(), 1);
    }

    #[tokio::test]
    async fn an_id_that_is_not_printable_ascii_is_an_error() {
        let (sms, (idempotency, _)) = (MemorySms::default(), Idempotency::in_memory());
        let message = message(A, &[disputed("dp_\u{e9}")]);
        let failed = deliver(&sms, &idempotency, &message).await.unwrap_err();
        assert!(matches!(failed, Error::MalformedNotice(_)), "{failed:?}");
    }
}
