//! Stripe's webhook events and their signatures.
//!
//! The header `Stripe-Signature` contains the timestamp of the delivery (`t`) and one signature
//! (`v1`) per active signing secret. A signature is the HMAC-SHA256 of the timestamp, a dot, and
//! the bytes of the body, with the signing secret as the key
//! (<https://docs.stripe.com/webhooks#verify-manually>).

use std::{str::FromStr, time::Duration};

use domain::stripe::PAYMENT_SUCCEEDED;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrets::Secret;
use serde::Deserialize;
use sha2::Sha256;

use crate::{
    payment::{IntentId, PaymentChange, PaymentReport, Report},
    purchase::{Currency, PurchaseKey, Timestamp},
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

    /// Creates an event.
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

    /// The time at which Stripe created the event, in whole seconds.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether the event is of the live mode.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// What the event reports.
    pub fn report(&self) -> &Report {
        &self.report
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let EventBody {
            id,
            kind,
            created,
            livemode,
            data,
        } = serde_json::from_slice(body).ok()?;
        let report = match kind.as_str() {
            PAYMENT_SUCCEEDED => serde_json::from_value::<IntentBody>(data.object).ok(),
            _ => None,
        };
        let report = report.map_or(Report::Other, |intent| {
            Report::Payment(PaymentReport {
                intent: intent.id,
                purchase: intent.metadata,
                change: PaymentChange::Succeeded,
                amount: intent.amount_received,
                currency: Currency::try_from(&*intent.currency).ok(),
            })
        });
        let created = Timestamp::from_millis(created.saturating_mul(1000));
        Some(Self::new(id, created, livemode, report))
    }
}

#[derive(Deserialize)]
struct IntentBody {
    id: IntentId,
    metadata: PurchaseKey,
    amount_received: u32,
    currency: String,
}

/// The parts of Stripe's event object that [`Event`] needs:
/// <https://docs.stripe.com/api/events/object>.
#[derive(Deserialize)]
struct EventBody {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    livemode: bool,
    data: DataBody,
}

#[derive(Deserialize)]
struct DataBody {
    object: serde_json::Value,
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
pub(crate) mod tests {
    use super::*;

    const SECRET: &str = "whsec_one";
    const NOW: u64 = 1_700_000_000;

    pub(crate) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    pub(crate) fn secret(secret: &str) -> Secret {
        secret.to_owned().into()
    }

    /// Computes the hexadecimal `v1` signature of `body` in the same way as Stripe.
    pub(crate) fn signature(body: &[u8], secret: &str, time: u64) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{time}.")).chain_update(body);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn succeeded(purchase: &PurchaseKey, intent: &str) -> Vec<u8> {
        let event = serde_json::json!({
            "id": "evt_1", "object": "event", "type": "payment_intent.succeeded",
            "data": {"object": {"id": intent, "amount_received": 4000, "currency": "usd", "metadata": {
                "userId": purchase.user_id, "purchaseId": purchase.purchase_id,
            }}},
        });
        event.to_string().into_bytes()
    }

    fn other(kind: &str) -> Vec<u8> {
        format!(r#"{{"id":"evt_2","type":"{kind}","data":{{"object":{{"id":"x"}}}}}}"#).into_bytes()
    }

    fn verify(body: &[u8], header: &str, now: u64) -> Result<Event, VerifyError> {
        let secrets = [secret(SECRET), secret("whsec_two")];
        Event::verify(body, header, &secrets, at(now))
    }

    /// The expected signature was computed with `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_computed_by_openssl_is_accepted() {
        let body = br#"{"id":"evt_1","type":"ping","data":{"object":{}}}"#;
        let v1 = "78bb785e82462e03657c3e0395d0ff116b83123e9e0a2e1d17725ff6f481c5ca";
        assert_eq!(signature(body, SECRET, NOW), v1);
        let event = verify(body, &format!("t={NOW},v1={v1},v0=ab"), NOW).unwrap();
        assert_eq!((event.id(), event.report()), ("evt_1", &Report::Other));
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

    #[test]
    fn only_a_succeeded_payment_with_the_metadata_of_a_purchase_is_returned() {
        let purchase = crate::fixtures::key();
        let verified = |body: &[u8]| {
            let header = format!("t={NOW},v1={}", signature(body, SECRET, NOW));
            verify(body, &header, NOW).unwrap()
        };
        let event = verified(&succeeded(&purchase, "pi_1"));
        let Report::Payment(report) = event.report() else {
            panic!("{event:?}")
        };
        assert_eq!(report.purchase, purchase);
        assert_eq!(report.intent.as_str(), "pi_1");
        for kind in [
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "payment_intent.succeeded", // without the metadata of a purchase
            "charge.succeeded",
            "unknown.event",
        ] {
            assert_eq!(verified(&other(kind)).report(), &Report::Other, "{kind}");
        }
    }
}
