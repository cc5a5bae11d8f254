//! What Stripe tells by its webhook, once it is sure that it was Stripe.
//!
//! <https://docs.stripe.com/webhooks#verify-manually>: the header `Stripe-Signature` has the time
//! of sending (`t`) and one signature (`v1`) per secret that is valid at the moment; a signature is
//! the HMAC-SHA256 of the time, a dot, and the body byte by byte.

use std::{str::FromStr, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrets::Secret;
use serde::Deserialize;
use sha2::Sha256;

use crate::{
    payment::IntentId,
    purchase::{PurchaseKey, Timestamp},
};

/// How far the time of sending may be from now, before or after: what Stripe's own libraries take.
const TOLERANCE: Duration = Duration::from_secs(300);

/// An event that Stripe signed, a short while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: String,
    paid: Option<Paid>,
}

/// A payment that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Paid {
    /// Which.
    #[serde(rename = "id")]
    pub intent: IntentId,
    /// What it is for.
    #[serde(rename = "metadata")]
    pub purchase: PurchaseKey,
}

/// Why a body is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The header cannot be read.
    #[error("the signature's header is malformed")]
    Malformed,
    /// It was sent too long ago, or will be sent.
    #[error("the signature's time is more than 300 s away")]
    Untimely,
    /// No signature is one of ours over this body.
    #[error("no signature fits")]
    Forged,
    /// Stripe signed it, but it is no event that can be read.
    #[error("the body is not an event")]
    Unreadable,
}

impl Event {
    /// Reads `body` as the event that it is, if `header` (`Stripe-Signature`) has a signature over
    /// exactly these bytes, by one of `secrets`, not far from `now`.
    ///
    /// # Errors
    /// When it has not.
    pub fn verify(
        body: &[u8],
        header: &str,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<Self, Rejected> {
        let Header { time, signatures } = header.parse()?;
        let sent = Timestamp::from_millis(time.saturating_mul(1000));
        if now.since(sent).max(sent.since(now)) > TOLERANCE {
            return Err(Rejected::Untimely);
        }
        let signed = secrets.iter().any(|secret| {
            Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).is_ok_and(|mac| {
                let mac = mac.chain_update(time.to_string()).chain_update(".");
                let mac = mac.chain_update(body);
                // Compared in constant time.
                let fits = |signature: &[u8; 32]| mac.clone().verify_slice(signature).is_ok();
                signatures.iter().any(fits)
            })
        });
        if signed {
            Self::read(body).ok_or(Rejected::Unreadable)
        } else {
            Err(Rejected::Forged)
        }
    }

    /// Its name: one event delivered twice has one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The payment that it says has succeeded. None when it says something else, or of a payment
    /// that is none of ours.
    ///
    /// No other event is needed. A card that was declined is no end, for its owner may try again,
    /// and who cancels a payment settles its purchase, knowing better why.
    pub fn paid(&self) -> Option<&Paid> {
        self.paid.as_ref()
    }

    fn read(body: &[u8]) -> Option<Self> {
        let EventBody { id, kind, data } = serde_json::from_slice(body).ok()?;
        let paid = match kind.as_str() {
            "payment_intent.succeeded" => serde_json::from_value(data.object).ok(),
            _ => None,
        };
        Some(Self { id, paid })
    }
}

/// <https://docs.stripe.com/api/events/object>
#[derive(Deserialize)]
struct EventBody {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: DataBody,
}

#[derive(Deserialize)]
struct DataBody {
    object: serde_json::Value,
}

/// What `Stripe-Signature` says.
struct Header {
    /// Seconds since the epoch.
    time: u64,
    signatures: Vec<[u8; 32]>,
}

impl FromStr for Header {
    type Err = Rejected;

    fn from_str(header: &str) -> Result<Self, Rejected> {
        let parts = || header.split(',').filter_map(|part| part.split_once('='));
        let mut times = parts().filter(|(name, _)| *name == "t");
        let (Some((_, time)), None) = (times.next(), times.next()) else {
            return Err(Rejected::Malformed);
        };
        // The signature is over the time as it was written: one spelling, digits without a sign.
        let canonical = |time: &u64| time.to_string();
        let time = time.parse().ok().filter(|parsed| canonical(parsed) == time);
        // A signature that cannot be read fits nothing; those of other schemes are left alone.
        let signatures: Vec<_> = parts()
            .filter(|(name, _)| *name == "v1")
            .filter_map(|(_, signature)| unhex(signature))
            .collect();
        match time {
            Some(time) if !signatures.is_empty() => Ok(Self { time, signatures }),
            _ => Err(Rejected::Malformed),
        }
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
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

    /// A signature as Stripe makes it.
    pub(crate) fn signature(body: &[u8], secret: &str, time: u64) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{time}.")).chain_update(body);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn succeeded(purchase: &PurchaseKey, intent: &str) -> Vec<u8> {
        let event = serde_json::json!({
            "id": "evt_1", "object": "event", "type": "payment_intent.succeeded",
            "data": {"object": {"id": intent, "amount": 4000, "metadata": {
                "userId": purchase.user_id, "purchaseId": purchase.purchase_id,
            }}},
        });
        event.to_string().into_bytes()
    }

    fn other(kind: &str) -> Vec<u8> {
        format!(r#"{{"id":"evt_2","type":"{kind}","data":{{"object":{{"id":"x"}}}}}}"#).into_bytes()
    }

    fn verify(body: &[u8], header: &str, now: u64) -> Result<Event, Rejected> {
        let secrets = [secret(SECRET), secret("whsec_two")];
        Event::verify(body, header, &secrets, at(now))
    }

    /// Computed by `openssl dgst -sha256 -hmac`.
    #[test]
    fn a_signature_that_others_computed_is_taken() {
        let body = br#"{"id":"evt_1","type":"ping","data":{"object":{}}}"#;
        let v1 = "78bb785e82462e03657c3e0395d0ff116b83123e9e0a2e1d17725ff6f481c5ca";
        assert_eq!(signature(body, SECRET, NOW), v1);
        let event = verify(body, &format!("t={NOW},v1={v1},v0=ab"), NOW).unwrap();
        assert_eq!((event.id(), event.paid()), ("evt_1", None));
    }

    #[test]
    fn one_signature_of_many_by_one_secret_of_many_is_enough() {
        let body = other("ping");
        let good = signature(&body, "whsec_two", NOW);
        let bad = signature(&body, "whsec_three", NOW);
        for header in [
            format!("t={NOW},v1={good}"),
            format!("t={NOW},v1={bad},v1={good}"),
            format!("v1={good},v1={bad},t={NOW}"),
            format!("t={NOW},v1=short,v2=x,v1={good}"),
        ] {
            assert!(verify(&body, &header, NOW).is_ok(), "{header}");
        }
        let header = format!("t={NOW},v1={bad}");
        assert_eq!(verify(&body, &header, NOW), Err(Rejected::Forged));
        let none = Event::verify(&body, &format!("t={NOW},v1={good}"), &[], at(NOW));
        assert_eq!(none, Err(Rejected::Forged));
    }

    #[test]
    fn a_signature_is_taken_for_300_seconds_before_and_after_its_time() {
        let body = other("ping");
        let header = format!("t={NOW},v1={}", signature(&body, SECRET, NOW));
        for now in [NOW - 300, NOW, NOW + 300] {
            assert!(verify(&body, &header, now).is_ok(), "{now}");
        }
        for now in [0, NOW - 301, NOW + 301, NOW * 2] {
            assert_eq!(verify(&body, &header, now), Err(Rejected::Untimely));
        }
    }

    #[test]
    fn a_signature_is_over_the_bytes_and_the_time_as_they_were_sent() {
        let body = other("ping");
        let v1 = signature(&body, SECRET, NOW);
        let spaced = String::from_utf8(body.clone()).unwrap().replace(',', ", ");
        let header = format!("t={NOW},v1={v1}");
        assert_eq!(
            verify(spaced.as_bytes(), &header, NOW),
            Err(Rejected::Forged)
        );
        let header = format!("t={},v1={v1}", NOW + 1);
        assert_eq!(verify(&body, &header, NOW), Err(Rejected::Forged));
        for place in 0..v1.len() {
            let mut changed = v1.clone();
            let digit = if v1[place..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            changed.replace_range(place..=place, digit);
            let header = format!("t={NOW},v1={changed}");
            assert_eq!(verify(&body, &header, NOW), Err(Rejected::Forged));
        }
    }

    #[test]
    fn a_header_that_cannot_be_read_is_refused() {
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
                Err(Rejected::Malformed),
                "{header}"
            );
        }
        let far = format!("t={},v1={v1}", u64::MAX);
        assert_eq!(verify(&body, &far, NOW), Err(Rejected::Untimely));
    }

    #[test]
    fn what_is_signed_and_no_event_is_refused_and_no_panic() {
        for body in [&b""[..], b"\xff\xfe", b"[]", b"{}", &vec![b'['; 1_000_000]] {
            let header = format!("t={NOW},v1={}", signature(body, SECRET, NOW));
            assert_eq!(verify(body, &header, NOW), Err(Rejected::Unreadable));
        }
    }

    #[test]
    fn only_a_payment_of_ours_that_succeeded_is_paid() {
        let purchase: PurchaseKey = crate::service::memory::key();
        let read = |body: &[u8]| {
            let header = format!("t={NOW},v1={}", signature(body, SECRET, NOW));
            verify(body, &header, NOW).unwrap()
        };
        let event = read(&succeeded(&purchase, "pi_1"));
        assert_eq!(event.paid().unwrap().purchase, purchase);
        assert_eq!(event.paid().unwrap().intent.as_str(), "pi_1");
        for kind in [
            "payment_intent.payment_failed",
            "payment_intent.canceled",
            "payment_intent.succeeded", // without our metadata
            "charge.succeeded",
            "never.heard.of",
        ] {
            assert_eq!(read(&other(kind)).paid(), None, "{kind}");
        }
    }
}
