//! Stripe's webhook events and their signatures.
//!
//! The header `Stripe-Signature` contains the timestamp of the delivery (`t`) and one signature
//! (`v1`) per active signing secret. A signature is the HMAC-SHA256 of the timestamp, a dot, and
//! the bytes of the body, with the signing secret as the key
//! (<https://docs.stripe.com/webhooks#verify-manually>).

use std::{str::FromStr, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrets::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::{
    payment::IntentId,
    purchase::{Currency, Dispute, DisputeStatus, PurchaseKey, Timestamp},
    report::{DisputeReport, PaymentChange, PaymentReport, RefundReport, Report},
};

/// The maximum difference between the timestamp in the `Stripe-Signature` header and the current
/// time, in either direction. Stripe's libraries have the same default.
const TOLERANCE: Duration = Duration::from_secs(300);

/// A webhook event whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: String,
    created: Timestamp,
    is_live: bool,
    report: Report,
}

/// Why [`Event::verify`] rejects an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The `Stripe-Signature` header does not contain exactly one valid timestamp and at least one
    /// well-formed `v1` signature.
    #[error("the header must contain one timestamp (t) and at least one signature (v1)")]
    MalformedHeader,
    /// The timestamp in the `Stripe-Signature` header is more than 300 s before or after the
    /// current time.
    #[error("the timestamp differs from the current time by more than 300 s")]
    OutsideTolerance,
    /// The `Stripe-Signature` header contains no signature of this body and timestamp that was made
    /// with one of the signing secrets.
    #[error(
        "no signature in Stripe-Signature matches the timestamp and body with a known signing secret"
    )]
    SignatureMismatch,
    /// A signature is valid, but the body is not the JSON of a Stripe event.
    #[error("the signed body is not the JSON of a Stripe event")]
    MalformedBody,
}

impl Event {
    /// Verifies the signature of the event in `body`, and then parses `body`. `header` is the value
    /// of the `Stripe-Signature` header. It must contain a timestamp that differs from `now` by at
    /// most 300 s, and a signature of this timestamp and the bytes of `body` that was made with one
    /// of `secrets`.
    ///
    /// # Errors
    /// Returns the [`VerifyError`] of the first check that fails.
    pub fn verify(
        body: &[u8],
        header: &str,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<Self, VerifyError> {
        let SignatureHeader { time, signatures } = header.parse()?;
        let sent_at = Timestamp::from_millis(time.saturating_mul(1000));
        if now.since(sent_at).max(sent_at.since(now)) > TOLERANCE {
            return Err(VerifyError::OutsideTolerance);
        }
        let is_signed = secrets.iter().any(|secret| {
            Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).is_ok_and(|mac| {
                let mac = mac.chain_update(time.to_string()).chain_update(".");
                let mac = mac.chain_update(body);
                // `verify_slice` compares in constant time.
                let matches = |signature: &[u8; 32]| mac.clone().verify_slice(signature).is_ok();
                signatures.iter().any(matches)
            })
        });
        if is_signed {
            Self::parse(body).ok_or(VerifyError::MalformedBody)
        } else {
            Err(VerifyError::SignatureMismatch)
        }
    }

    /// Creates the event `id`, without a signature.
    pub fn new(id: String, created: Timestamp, is_live: bool, report: Report) -> Self {
        Self {
            id,
            created,
            is_live,
            report,
        }
    }

    /// The id of the event. All deliveries of one event have the same id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The time at which Stripe created the event. The event shows the state of its object at this
    /// time.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether the event was created in live mode, and not in a sandbox or in test mode.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// What the event reports. [`Report::Other`] for a type that purchases do not need, and for an object
    /// that does not belong to a purchase. [`Report::Unreadable`] if the object is malformed.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let body: EventBody<'_> = serde_json::from_slice(body).ok()?;
        let created = at_seconds(body.created);
        let report = report(&body.kind, body.data.object, created);
        let report = report.unwrap_or_else(|error| {
            let (event, kind) = (&*body.id, &*body.kind);
            tracing::error!(event, kind, %error, "unreadable object of a Stripe event");
            Report::Unreadable
        });
        Some(Self {
            id: body.id,
            created,
            is_live: body.livemode,
            report,
        })
    }
}

/// The parts of Stripe's event object that [`Event`] needs:
/// <https://docs.stripe.com/api/events/object>.
#[derive(Deserialize)]
struct EventBody<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: u64,
    livemode: bool,
    #[serde(borrow)]
    data: DataBody<'a>,
}

#[derive(Deserialize)]
struct DataBody<'a> {
    /// The type of the event determines the type of the object.
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The parts of a PaymentIntent: <https://docs.stripe.com/api/payment_intents/object>.
#[derive(Deserialize)]
struct IntentBody {
    id: IntentId,
    amount: u32,
    amount_received: u32,
    currency: String,
    /// None if the metadata contains no key of a purchase.
    #[serde(deserialize_with = "key_from_metadata")]
    metadata: Option<PurchaseKey>,
}

/// The parts of a charge: <https://docs.stripe.com/api/charges/object>.
#[derive(Deserialize)]
struct ChargeBody {
    payment_intent: Option<IntentId>,
    amount_refunded: u32,
    currency: String,
}

/// The parts of a refund: <https://docs.stripe.com/api/refunds/object>.
#[derive(Deserialize)]
struct RefundBody {
    payment_intent: Option<IntentId>,
    currency: String,
}

/// The parts of a dispute: <https://docs.stripe.com/api/disputes/object>.
#[derive(Deserialize)]
struct DisputeBody {
    id: String,
    payment_intent: Option<IntentId>,
    amount: u32,
    currency: String,
    reason: String,
    status: String,
    created: u64,
}

/// Parses the object of an event of the type `kind`, which was created at `created`.
fn report(kind: &str, object: &RawValue, created: Timestamp) -> serde_json::Result<Report> {
    Ok(match kind {
        "payment_intent.succeeded" => payment(PaymentChange::Succeeded, object)?,
        "payment_intent.payment_failed" => payment(PaymentChange::Failed, object)?,
        "payment_intent.canceled" => payment(PaymentChange::Canceled, object)?,
        "charge.refunded" => {
            let charge: ChargeBody = serde_json::from_str(object.get())?;
            let amount = Some(charge.amount_refunded);
            refund(charge.payment_intent, amount, &charge.currency)
        }
        // These events do not contain the charge, so the refunded amount is read from Stripe.
        "refund.updated" | "refund.failed" => {
            let changed: RefundBody = serde_json::from_str(object.get())?;
            refund(changed.payment_intent, None, &changed.currency)
        }
        _ if kind.starts_with("charge.dispute.") => dispute(object, created)?,
        _ => Report::Other,
    })
}

fn payment(change: PaymentChange, object: &RawValue) -> serde_json::Result<Report> {
    let intent: IntentBody = serde_json::from_str(object.get())?;
    let Some(purchase) = intent.metadata else {
        return Ok(Report::Other);
    };
    Ok(Report::Payment(PaymentReport {
        intent: intent.id,
        purchase,
        change,
        amount: match change {
            PaymentChange::Succeeded => intent.amount_received,
            PaymentChange::Failed | PaymentChange::Canceled => intent.amount,
        },
        currency: currency(&intent.currency),
    }))
}

fn refund(intent: Option<IntentId>, amount_refunded: Option<u32>, code: &str) -> Report {
    let Some(intent) = intent else {
        return Report::Other;
    };
    Report::Refund(RefundReport {
        intent,
        amount_refunded,
        currency: currency(code),
    })
}

fn dispute(object: &RawValue, as_of: Timestamp) -> serde_json::Result<Report> {
    let dispute: DisputeBody = serde_json::from_str(object.get())?;
    let Some(intent) = dispute.payment_intent else {
        return Ok(Report::Other);
    };
    Ok(Report::Dispute(DisputeReport {
        intent,
        currency: currency(&dispute.currency),
        dispute: Dispute {
            id: dispute.id,
            amount: dispute.amount,
            reason: dispute.reason,
            status: match &*dispute.status {
                "won" | "warning_closed" | "prevented" => DisputeStatus::Won,
                "lost" => DisputeStatus::Lost,
                _ => DisputeStatus::Open,
            },
            opened_at: at_seconds(dispute.created),
            as_of,
        },
    }))
}

fn currency(code: &str) -> Option<Currency> {
    Currency::try_from(code).ok()
}

/// Converts a time in seconds since the Unix epoch.
fn at_seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// Reads the key of a purchase from metadata. None if the metadata contains no valid key.
fn key_from_metadata<'de, D>(metadata: D) -> Result<Option<PurchaseKey>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let metadata = <&RawValue>::deserialize(metadata)?;
    Ok(serde_json::from_str(metadata.get()).ok())
}

/// The parsed value of a `Stripe-Signature` header.
struct SignatureHeader {
    /// The timestamp `t`, in seconds since the Unix epoch.
    time: u64,
    signatures: Vec<[u8; 32]>,
}

impl FromStr for SignatureHeader {
    type Err = VerifyError;

    fn from_str(header: &str) -> Result<Self, VerifyError> {
        let parts = || header.split(',').filter_map(|part| part.split_once('='));
        let mut times = parts().filter(|(name, _)| *name == "t");
        let (Some((_, time)), None) = (times.next(), times.next()) else {
            return Err(VerifyError::MalformedHeader);
        };
        // The signature covers the digits as Stripe sent them, but `verify` formats the parsed
        // number. Therefore only the canonical form is accepted.
        let canonical = |time: &u64| time.to_string();
        let time = time.parse().ok().filter(|parsed| canonical(parsed) == time);
        // Malformed signatures, and signatures of schemes other than v1, are ignored.
        let signatures: Vec<_> = parts()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, signature)| decode_hex(signature))
            .collect();
        match time {
            Some(time) if !signatures.is_empty() => Ok(Self { time, signatures }),
            _ => Err(VerifyError::MalformedHeader),
        }
    }
}

fn decode_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use domain::stripe::WEBHOOK_EVENTS;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "whsec_one";
    const NOW: u64 = 1_700_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn secret(secret: &str) -> Secret {
        secret.to_owned().into()
    }

    /// Computes the hexadecimal `v1` signature of `body` in the same way as Stripe.
    fn signature(body: &[u8], secret: &str, time: u64) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{time}.")).chain_update(body);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A PaymentIntent of 4000 cents for `purchase`.
    fn intent_object(purchase: &PurchaseKey, intent: &str) -> Value {
        json!({
            "id": intent, "amount": 4000, "amount_received": 4000, "currency": "usd",
            "metadata": {"userId": purchase.user_id, "purchaseId": purchase.purchase_id},
        })
    }

    /// An event of the type `kind` about `object`.
    fn body(kind: &str, object: &Value) -> Vec<u8> {
        let event = json!({
            "id": "evt_1", "object": "event", "type": kind, "created": NOW, "livemode": false,
            "data": {"object": object},
        });
        event.to_string().into_bytes()
    }

    fn other(kind: &str) -> Vec<u8> {
        body(kind, &json!({"id": "x"}))
    }

    fn verify(body: &[u8], header: &str, now: u64) -> Result<Event, VerifyError> {
        let secrets = [secret(SECRET), secret("whsec_two")];
        Event::verify(body, header, &secrets, at(now))
    }

    /// The expected signature was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_computed_by_openssl_is_accepted() {
        let body =
            br#"{"id":"evt_1","type":"ping","created":0,"livemode":true,"data":{"object":{}}}"#;
        let v1 = "ad82fbf73b4a67f8543f39d4f3b75c0777c13c2c50a1687aaa8f3bff006cc131";
        assert_eq!(signature(body, SECRET, NOW), v1);
        let event = verify(body, &format!("t={NOW},v1={v1},v0=ab"), NOW).unwrap();
        assert_eq!((event.id(), event.report()), ("evt_1", &Report::Other));
        assert!(event.is_live());
    }

    #[test]
    fn an_event_is_accepted_if_one_of_its_signatures_matches_one_secret() {
        let body = other("ping");
        let valid = signature(&body, "whsec_two", NOW);
        let invalid = signature(&body, "whsec_three", NOW);
        for header in [
            format!("t={NOW},v1={valid}"),
            format!("t={NOW},v1={invalid},v1={valid}"),
            format!("v1={valid},v1={invalid},t={NOW}"),
            format!("t={NOW},v1=short,v2=x,v1={valid}"),
        ] {
            assert!(verify(&body, &header, NOW).is_ok(), "{header}");
        }
        let header = format!("t={NOW},v1={invalid}");
        assert_eq!(
            verify(&body, &header, NOW),
            Err(VerifyError::SignatureMismatch)
        );
        let none = Event::verify(&body, &format!("t={NOW},v1={valid}"), &[], at(NOW));
        assert_eq!(none, Err(VerifyError::SignatureMismatch));
    }

    #[test]
    fn a_signature_is_valid_for_300_seconds_before_and_after_its_timestamp() {
        let body = other("ping");
        let header = format!("t={NOW},v1={}", signature(&body, SECRET, NOW));
        for now in [NOW - 300, NOW, NOW + 300] {
            assert!(verify(&body, &header, now).is_ok(), "{now}");
        }
        for now in [0, NOW - 301, NOW + 301, NOW * 2] {
            assert_eq!(
                verify(&body, &header, now),
                Err(VerifyError::OutsideTolerance)
            );
        }
    }

    #[test]
    fn a_changed_body_timestamp_or_signature_is_rejected() {
        let body = other("ping");
        let v1 = signature(&body, SECRET, NOW);
        let spaced = String::from_utf8(body.clone()).unwrap().replace(',', ", ");
        let header = format!("t={NOW},v1={v1}");
        assert_eq!(
            verify(spaced.as_bytes(), &header, NOW),
            Err(VerifyError::SignatureMismatch)
        );
        let header = format!("t={},v1={v1}", NOW + 1);
        assert_eq!(
            verify(&body, &header, NOW),
            Err(VerifyError::SignatureMismatch)
        );
        for index in 0..v1.len() {
            let mut changed = v1.clone();
            let digit = if v1[index..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            changed.replace_range(index..=index, digit);
            let header = format!("t={NOW},v1={changed}");
            assert_eq!(
                verify(&body, &header, NOW),
                Err(VerifyError::SignatureMismatch)
            );
        }
    }

    #[test]
    fn a_malformed_header_is_rejected() {
        let body = other("ping");
        let v1 = signature(&body, SECRET, NOW);
        for header in [
            String::new(),
            ",".into(),
            "t=".into(),
            format!("v1={v1}"),
            format!("t={NOW}"),
            format!("t={NOW},v0={v1}"),
            format!("t=+{NOW},v1={v1}"),
            format!("t=0{NOW},v1={v1}"),
            format!("t=-1,v1={v1}"),
            format!("t=99999999999999999999999,v1={v1}"),
            format!("t={NOW},t={NOW},v1={v1}"),
            format!("t={NOW},v1={}", &v1[1..]),
            format!("t={NOW},v1={}é", &v1[2..]),
        ] {
            assert_eq!(
                verify(&body, &header, NOW),
                Err(VerifyError::MalformedHeader),
                "{header}"
            );
        }
        let far = format!("t={},v1={v1}", u64::MAX);
        assert_eq!(verify(&body, &far, NOW), Err(VerifyError::OutsideTolerance));
    }

    #[test]
    fn a_signed_body_that_is_not_an_event_is_rejected() {
        for body in [&b""[..], b"\xff\xfe", b"[]", b"{}", &vec![b'['; 1_000_000]] {
            let header = format!("t={NOW},v1={}", signature(body, SECRET, NOW));
            assert_eq!(verify(body, &header, NOW), Err(VerifyError::MalformedBody));
        }
    }

    /// Verifies and parses an event of the type `kind` about `object`.
    fn parsed(kind: &str, object: &Value) -> Event {
        let body = body(kind, object);
        let header = format!("t={NOW},v1={}", signature(&body, SECRET, NOW));
        verify(&body, &header, NOW).unwrap()
    }

    fn with(mut object: Value, field: &str, value: Value) -> Value {
        object[field] = value;
        object
    }

    fn usd() -> Option<Currency> {
        Some(Currency::default())
    }

    #[test]
    fn an_event_about_a_payment_has_the_purchase_of_its_metadata() {
        let purchase = crate::fixtures::key();
        let object = intent_object(&purchase, "pi_1");
        let object = with(object, "amount_received", json!(3_999));
        for (kind, change, amount) in [
            ("succeeded", PaymentChange::Succeeded, 3_999),
            ("payment_failed", PaymentChange::Failed, 4_000),
            ("canceled", PaymentChange::Canceled, 4_000),
        ] {
            let event = parsed(&format!("payment_intent.{kind}"), &object);
            let report = PaymentReport {
                intent: crate::fixtures::intent(1),
                purchase: purchase.clone(),
                change,
                amount,
                currency: usd(),
            };
            assert_eq!(event.report(), &Report::Payment(report));
            assert_eq!((event.created(), event.is_live()), (at(NOW), false));
        }
    }

    #[test]
    fn a_refund_is_the_sum_of_the_charge_or_unknown() {
        let charge = json!({
            "id": "ch_1", "payment_intent": "pi_1", "amount": 4000, "amount_refunded": 1000,
            "currency": "usd",
        });
        let refund = json!({
            "id": "re_1", "payment_intent": "pi_1", "amount": 1000, "currency": "usd",
            "status": "failed",
        });
        for (kind, object, amount_refunded) in [
            ("charge.refunded", &charge, Some(1_000)),
            ("refund.updated", &refund, None),
            ("refund.failed", &refund, None),
        ] {
            let report = RefundReport {
                intent: crate::fixtures::intent(1),
                amount_refunded,
                currency: usd(),
            };
            assert_eq!(parsed(kind, object).report(), &Report::Refund(report));
            let of_invoice = with(object.clone(), "payment_intent", Value::Null);
            assert_eq!(parsed(kind, &of_invoice).report(), &Report::Other);
        }
    }

    fn dispute_object(status: &str) -> Value {
        json!({
            "id": "du_1", "payment_intent": "pi_1", "amount": 4000, "currency": "usd",
            "reason": "fraudulent", "status": status, "created": NOW - 60, "metadata": {},
        })
    }

    #[test]
    fn a_dispute_is_open_won_or_lost() {
        for (status, expected) in [
            ("needs_response", DisputeStatus::Open),
            ("under_review", DisputeStatus::Open),
            ("warning_needs_response", DisputeStatus::Open),
            ("warning_under_review", DisputeStatus::Open),
            ("appeal_under_review", DisputeStatus::Open),
            ("a_status_of_the_future", DisputeStatus::Open),
            ("warning_closed", DisputeStatus::Won),
            ("prevented", DisputeStatus::Won),
            ("won", DisputeStatus::Won),
            ("lost", DisputeStatus::Lost),
        ] {
            let report = DisputeReport {
                intent: crate::fixtures::intent(1),
                dispute: Dispute {
                    id: "du_1".into(),
                    amount: 4_000,
                    reason: "fraudulent".into(),
                    status: expected,
                    opened_at: at(NOW - 60),
                    as_of: at(NOW),
                },
                currency: usd(),
            };
            let event = parsed("charge.dispute.updated", &dispute_object(status));
            assert_eq!(event.report(), &Report::Dispute(report), "{status}");
        }
    }

    #[test]
    fn exactly_the_subscribed_events_are_reported() {
        let object = intent_object(&crate::fixtures::key(), "pi_1");
        let object = with(object, "payment_intent", json!("pi_1"));
        let object = with(object, "amount_refunded", json!(0));
        let all = with(object, "reason", json!("general"));
        let all = with(with(all, "status", json!("won")), "created", json!(NOW));
        for kind in WEBHOOK_EVENTS {
            assert_ne!(parsed(kind, &all).report(), &Report::Other, "{kind}");
        }
        for kind in [
            "charge.failed",
            "charge.refund.updated",
            "charge.succeeded",
            "payment_intent.created",
            "payment_intent.processing",
            "payment_intent.requires_action",
            "refund.created",
            "unknown.event",
        ] {
            assert_eq!(parsed(kind, &all).report(), &Report::Other, "{kind}");
        }
    }

    #[test]
    fn a_payment_without_the_key_of_a_purchase_is_of_no_interest() {
        let ours = intent_object(&crate::fixtures::key(), "pi_1");
        for metadata in [
            json!({}),
            json!({"userId": "us-east-1:ada"}),
            json!({"userId": "us-east-1:ada", "purchaseId": "x"}),
            json!({"userId": "", "purchaseId": ours["metadata"]["purchaseId"]}),
            Value::Null,
        ] {
            let other = with(ours.clone(), "metadata", metadata.clone());
            let event = parsed("payment_intent.succeeded", &other);
            assert_eq!(event.report(), &Report::Other, "{metadata}");
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_is_reported_as_unreadable() {
        let ours = intent_object(&crate::fixtures::key(), "pi_1");
        for object in [
            json!("x"),
            json!({}),
            with(ours.clone(), "id", json!("ch_1")),
            with(ours.clone(), "amount_received", json!(-1)),
            with(ours.clone(), "amount_received", json!(1_u64 << 32)),
        ] {
            for kind in WEBHOOK_EVENTS {
                let report = parsed(kind, &object).report().clone();
                // Refunds and disputes do not need the attributes that are malformed here.
                let is_ignored = report == Report::Other && !kind.starts_with("payment_intent.");
                assert!(
                    is_ignored || report == Report::Unreadable,
                    "{kind} {object}"
                );
            }
        }
    }

    #[test]
    fn a_malformed_currency_is_none() {
        let object = intent_object(&crate::fixtures::key(), "pi_1");
        let object = with(object, "currency", json!("US$"));
        match parsed("payment_intent.succeeded", &object).report() {
            Report::Payment(payment) => assert_eq!(payment.currency, None),
            other => panic!("{other:?}"),
        }
    }
}
