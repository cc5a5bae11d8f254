//! Converts between HTTP and the domain types: parses request bodies, and builds response bodies
//! and problem documents (RFC 9457).

use std::{borrow::Cow, time::Duration};

use api::{Body, Fields, List, PageRequest, Problem, Response, StatusCode, string, to_integer};
use domain::Page;
use serde::Serialize;
use serde_json::Value;

use crate::{
    controller::{Error, Receipt},
    event::VerifyError,
    payment::Decline,
    purchase::{Cents, DisputeStatus, Order, Purchase, PurchaseId, Storage, Timestamp, UserId},
    service,
};

/// The delay in the `Retry-After` header of a response that says that the outcome of a payment is
/// not known yet.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Body for Order {
    fn read(fields: &mut Fields) -> Option<Self> {
        let storage = fields.required("storage", storage);
        let source = fields.required("source", string);
        let amount = fields.optional("amount", |value| {
            let amount = to_integer(&value).and_then(|amount| u32::try_from(amount).ok());
            let amount = amount.and_then(|amount| Cents::try_from(amount).ok());
            amount.ok_or_else(|| format!("must be an integer from 1 to {}", Cents::LIMIT))
        });
        Some(Self {
            storage: storage?,
            source: source?,
            amount: amount?,
        })
    }
}

/// Parses the field `storage`, the number of notes: an integer, or a string of digits. Clients of
/// the original API (the notes API of the SST guide) send a string.
fn storage(value: Value) -> Result<Storage, String> {
    let notes = match &value {
        Value::String(digits) => {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        }
        other => to_integer(other),
    };
    let storage = notes.and_then(|notes| Storage::try_from(notes).ok());
    storage.ok_or_else(|| {
        format!(
            "must be an integer from 1 to {}, as a number or as a string of digits",
            Storage::LIMIT
        )
    })
}

/// The JSON of a response to a charged purchase. The field `status` is always true, because clients
/// of the original API (the notes API of the SST guide) expect it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptBody {
    status: bool,
    purchase_id: PurchaseId,
    amount: Cents,
}

/// Builds the response to a settled purchase: the status 200, the id of the purchase, and the
/// amount that was charged.
///
/// # Errors
/// Returns a problem with the status 402 if the card was declined, and with the status 500 if the
/// purchase cannot be serialized.
pub fn receipt(receipt: Receipt) -> api::Result {
    let Receipt {
        purchase_id,
        amount,
        declined,
    } = receipt;
    if let Some(decline) = declined {
        let problem = Problem::payment_required(decline.message).with("code", decline.code);
        let problem = problem.with("purchaseId", purchase_id.to_string());
        return Err(match decline.decline_code {
            Some(code) => problem.with("declineCode", code),
            None => problem,
        });
    }
    let body = ReceiptBody {
        status: true,
        purchase_id,
        amount,
    };
    Response::json(StatusCode::OK, &body)
}

/// The JSON of a purchase in a response. It does not contain the payment source, the ids of
/// PaymentIntents, or the attributes of the index `unsettled`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PurchaseBody<'a> {
    user_id: &'a UserId,
    purchase_id: PurchaseId,
    storage: u32,
    amount: Cents,
    currency: &'a str,
    description: &'a str,
    status: &'static str,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline: Option<Cow<'a, Decline>>,
    /// The refunded part of the amount. None if nothing is refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_amount: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dispute: Option<DisputeBody<'a>>,
    /// The sum of the refunded surplus charges. None if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    surplus_refunded: Option<u32>,
}

#[derive(Serialize)]
struct DisputeBody<'a> {
    status: DisputeStatus,
    amount: u32,
    reason: &'a str,
}

impl<'a> From<&'a Purchase> for PurchaseBody<'a> {
    fn from(purchase: &'a Purchase) -> Self {
        let is_positive = |amount: &u32| *amount > 0;
        let refunded = purchase.refunded.map(|refunded| refunded.amount);
        Self {
            user_id: &purchase.key.user_id,
            purchase_id: purchase.key.purchase_id,
            storage: purchase.storage.notes(),
            amount: purchase.amount,
            currency: purchase.currency.as_str(),
            description: &purchase.description,
            status: purchase.status.name(),
            created_at: purchase.created_at,
            updated_at: purchase.updated_at,
            decline: purchase.decline(),
            refunded_amount: refunded.filter(is_positive),
            dispute: purchase.dispute.as_ref().map(|dispute| DisputeBody {
                status: dispute.status,
                amount: dispute.amount,
                reason: &dispute.reason,
            }),
            surplus_refunded: Some(purchase.surplus_refunded()).filter(is_positive),
        }
    }
}

/// Builds the response to a canceled order: the status 200, and the purchase.
///
/// # Errors
/// Returns a problem with the status 500 if the purchase cannot be serialized.
pub fn purchase(purchase: &Purchase) -> api::Result {
    Response::json(StatusCode::OK, &PurchaseBody::from(purchase))
}

/// The paginated list of the purchases of `user`. It parses requests for a page, and creates the
/// responses.
pub fn list(user: &UserId) -> List<'_> {
    List::of("purchases", user.as_str())
}

/// Builds a response with the status 200: as many of the purchases `found` as fit into one
/// response, and a `Link` header with the URL of the next page if there is one.
///
/// # Errors
/// Returns a problem with the status 500 if a purchase cannot be serialized.
pub fn page(found: &Page<Purchase>, user: &UserId, page: PageRequest) -> api::Result {
    let bodies: Vec<_> = found.items.iter().map(PurchaseBody::from).collect();
    let id = |body: &PurchaseBody| *body.purchase_id.as_bytes();
    list(user).response(&bodies, id, found.more, page)
}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Self {
        Self::bad_request(format!("Stripe-Signature: {error}."))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::RequiresAction {
                purchase_id,
                client_secret,
            } => Self::payment_required(
                "Your bank asks you to confirm this payment. Confirm it to complete the purchase.",
            )
            .with("code", "requires_action")
            .with("purchaseId", purchase_id.to_string())
            .with("clientSecret", client_secret.expose()),
            Error::OutcomeUnknown { purchase_id } | Error::Charge { purchase_id, .. } => {
                Self::unavailable(error)
                    .detail(
                        "It is not known yet whether your card is charged. The purchase completes \
                         or fails automatically; your list of purchases shows the result. Do not \
                         order again. To check now, repeat this request with the same \
                         Idempotency-Key.",
                    )
                    .with("purchaseId", purchase_id.to_string())
                    .retry_after(RETRY_AFTER)
            }
            Error::OrderOpen { purchase_id } => Self::conflict(
                "You have an open order. Complete or cancel it before you order again.",
            )
            .with("code", "order_open")
            .with("purchaseId", purchase_id.to_string()),
            Error::PriceChanged { amount } => {
                Self::conflict("The price has changed. Order again with the new amount.")
                    .with("code", "price_changed")
                    .with("amount", amount.get())
            }
            Error::TooManyDeclines { retry_after } => {
                Self::too_many_requests("Your cards were declined too often. Order again later.")
                    .with("code", "too_many_declines")
                    .retry_after(retry_after)
            }
            Error::AlreadyPaid { purchase_id } => {
                Self::conflict("The order was paid, so it cannot be canceled.")
                    .with("code", "already_paid")
                    .with("purchaseId", purchase_id.to_string())
            }
            Error::Processing { purchase_id } => Self::conflict(
                "Your bank is processing the payment, so the order cannot be canceled now.",
            )
            .with("code", "payment_processing")
            .with("purchaseId", purchase_id.to_string())
            .retry_after(RETRY_AFTER),
            Error::NotFound => Self::not_found("You have no purchase with this id."),
            Error::Service(error @ service::Error::Unavailable(_)) => Self::unavailable(error),
            Error::Service(error @ service::Error::Failed(_)) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::*,
        purchase::{AfterSale, Refunded, Status, Surplus},
    };

    fn json(purchase: &Purchase) -> Value {
        serde_json::to_value(PurchaseBody::from(purchase)).unwrap()
    }

    fn with_decline(decline: Decline) -> Purchase {
        Purchase {
            status: Status::Failed {
                payment_intent_id: Some(intent(1)),
                decline,
            },
            due_at: None,
            ..pending("tok_visa")
        }
    }

    #[test]
    fn the_json_of_a_purchase_has_no_payment_or_index_attributes() {
        let pending = pending("tok_visa");
        let paid = settled(pending.clone());
        let refund = AfterSale::Refund(Refunded {
            amount: 4_000,
            as_of: NOON,
        });
        let opened = AfterSale::Dispute(dispute("dp_1", DisputeStatus::Open, 1));
        for (purchase, name) in [
            (paid.after(refund, NOON).unwrap(), "REFUNDED"),
            (paid.after(opened, NOON).unwrap(), "DISPUTED"),
            (paid, "PAID"),
            (pending, "PENDING"),
            (with_decline(Decline::unfinished()), "FAILED"),
        ] {
            let body = json(&purchase);
            assert_eq!(body["status"], name);
            assert_eq!(body["amount"], 4_000);
            assert_eq!(body["currency"], "usd");
            assert_eq!(body.get("decline").is_some(), name == "FAILED");
            assert_eq!(body.get("refundedAmount").is_some(), name == "REFUNDED");
            assert_eq!(body.get("dispute").is_some(), name == "DISPUTED");
            assert!(body.get("surplusRefunded").is_none());
            let text = body.to_string();
            for internal in ["tok_", "pi_", "dp_", "Shard", "dueAt", "outbox", "revision"] {
                assert!(!text.contains(internal), "{text}");
            }
        }
    }

    #[test]
    fn a_list_and_a_receipt_hide_the_reasons_that_stripe_asks_to_hide() {
        for hidden in [
            "stolen_card",
            "lost_card",
            "fraudulent",
            "merchant_blacklist",
        ] {
            let purchase = with_decline(Decline {
                code: "card_declined".into(),
                decline_code: Some(hidden.into()),
                message: format!("Your card is {hidden}."),
            });
            let decline = &json(&purchase)["decline"];
            assert_eq!(decline["code"], "card_declined");
            assert_eq!(decline["declineCode"], "generic_decline");
            assert!(!decline.to_string().contains(hidden), "{decline}");
        }
        let purchase = with_decline(Decline {
            code: "card_declined".into(),
            decline_code: Some("insufficient_funds".into()),
            message: "Your card has insufficient funds.".into(),
        });
        let decline = &json(&purchase)["decline"];
        assert_eq!(decline["declineCode"], "insufficient_funds");
    }

    #[test]
    fn a_failed_purchase_whose_card_was_charged_says_that_the_charge_was_refunded() {
        let purchase = with_decline(Decline::not_made());
        let surplus = Surplus {
            payment_intent_id: intent(2),
            amount: 4_000,
            refunded_at: NOON,
        };
        let body = json(&purchase.with_surplus(surplus).unwrap());
        assert_eq!(body["surplusRefunded"], 4_000);
        assert_eq!(body["decline"]["code"], "payment_refunded");
        let message = body["decline"]["message"].to_string();
        assert!(!message.contains("was not charged"), "{message}");
    }

    #[test]
    fn each_conflict_has_its_own_code() {
        let purchase_id = key().purchase_id;
        let amount = Cents::try_from(5_000).unwrap();
        let retry_after = Duration::from_secs(90);
        for (error, status, code) in [
            (Error::OrderOpen { purchase_id }, 409, "order_open"),
            (Error::PriceChanged { amount }, 409, "price_changed"),
            (Error::AlreadyPaid { purchase_id }, 409, "already_paid"),
            (Error::Processing { purchase_id }, 409, "payment_processing"),
            (
                Error::TooManyDeclines { retry_after },
                429,
                "too_many_declines",
            ),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.status(), status);
            assert!(format!("{problem:?}").contains(code), "{problem:?}");
            if status == 429 {
                assert_eq!(problem.headers()["retry-after"], "90");
            }
        }
        assert_eq!(Problem::from(Error::NotFound).status(), 404);
    }

    #[test]
    fn storage_is_an_integer_or_a_string_of_digits() {
        for json in ["10", "10.0", "1e1", "\"10\"", "\"010\""] {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(storage(value).map(Storage::notes), Ok(10), "{json}");
        }
        for json in [
            "0",
            "-1",
            "1.5",
            "1000000",
            "9007199254740993",
            "1e300",
            "null",
            "true",
            "[10]",
            "{}",
            r#""""#,
            r#"" 20""#,
            r#""20 ""#,
            r#""+20""#,
            r#""-1""#,
            r#""0""#,
            r#""2e1""#,
            r#""20.5""#,
            r#""20.0""#,
            r#""0x14""#,
            r#""1,000""#,
            r#""\u0662\u0660""#,
            r#""1000000""#,
            r#""99999999999999999999""#,
        ] {
            let value = serde_json::from_str(json).unwrap();
            let error = storage(value).unwrap_err();
            let expected =
                "must be an integer from 1 to 999999, as a number or as a string of digits";
            assert_eq!(error, expected, "{json}");
        }
    }

    #[test]
    fn a_decline_has_the_status_402_and_stripes_codes_and_message() {
        let problem = receipt(Receipt {
            purchase_id: key().purchase_id,
            amount: Cents::try_from(4_000).unwrap(),
            declined: Some(Decline {
                code: "card_declined".into(),
                decline_code: Some("insufficient_funds".into()),
                message: "Your card has insufficient funds.".into(),
            }),
        });
        let problem = problem.unwrap_err();
        assert_eq!(problem.status(), StatusCode::PAYMENT_REQUIRED);
        let text = format!("{problem:?}");
        for part in [
            "card_declined",
            "insufficient_funds",
            "Your card has insufficient funds.",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
