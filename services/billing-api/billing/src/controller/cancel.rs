use super::{Error, payment::find, settle::settle};
use crate::{
    payment::{Decline, Outcome, Payment},
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// Cancels the order `key`, so that its card is not charged. Returns the purchase, which is FAILED.
///
/// If a request that charges the card is in progress and Stripe does not list its payment yet, the
/// card may be charged after the cancellation. `settle` then refunds the charge.
///
/// # Errors
/// Returns [`Error::NotFound`] if the purchase does not exist, [`Error::AlreadyPaid`] if the card was
/// charged, and [`Error::Processing`] if the bank is processing the payment. Also fails if a service
/// call fails.
#[tracing::instrument(skip_all)]
pub async fn cancel(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    now: Timestamp,
) -> Result<Purchase, Error> {
    let purchase_id = key.purchase_id;
    let purchase = purchases.get(key).await?.ok_or(Error::NotFound)?;
    let Status::Pending {
        payment_intent_id, ..
    } = &purchase.status
    else {
        return unpaid(purchase);
    };
    let intent = match payment_intent_id {
        Some(intent) => Some(intent.clone()),
        None => {
            let found = find(payments, purchases, &purchase, now).await?;
            found.and_then(|payment| payment.intent().cloned())
        }
    };
    let payment = match &intent {
        Some(intent) => Some(payments.cancel(intent).await?),
        None => None,
    };
    let outcome = match payment {
        Some(Payment::Succeeded { intent }) => Outcome::Paid { intent },
        Some(Payment::Canceled { decline, .. }) => Outcome::Failed {
            intent,
            decline: decline.unwrap_or_else(Decline::canceled),
        },
        None => Outcome::Failed {
            intent,
            decline: Decline::canceled(),
        },
        Some(_) => return Err(Error::Processing { purchase_id }),
    };
    let settled = settle(payments, purchases, key, &outcome, now).await?;
    unpaid(settled.ok_or(Error::NotFound)?)
}

/// Returns the settled purchase `purchase` if it was not paid.
fn unpaid(purchase: Purchase) -> Result<Purchase, Error> {
    match purchase.paid_by() {
        Some(_) => Err(Error::AlreadyPaid {
            purchase_id: purchase.key.purchase_id,
        }),
        None => Ok(purchase),
    }
}
