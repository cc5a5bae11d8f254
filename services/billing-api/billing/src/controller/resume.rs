use super::{
    CHARGE_WINDOW, Error, Receipt,
    payment::{Progress, advance, charge, find, retrieve},
};
use crate::{
    payment::Payment,
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{Payments, PurchaseStore},
};

/// Continues the order `key`: reads its payment in Stripe, or charges the card if there is none, and
/// settles the purchase if the payment is final. Returns the receipt.
///
/// # Errors
/// Returns [`Error::NotFound`] if the purchase does not exist. Also fails if the outcome of the
/// payment is not final, or a service call fails.
#[tracing::instrument(skip_all)]
pub async fn resume(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let purchase = purchases.get(key).await?.ok_or(Error::NotFound)?;
    complete(payments, purchases, purchase, now).await
}

/// Completes `purchase` if it is PENDING. Returns the receipt.
///
/// # Errors
/// Fails if the outcome of the payment is not final, or a service call fails.
pub(super) async fn complete(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: Purchase,
    now: Timestamp,
) -> Result<Receipt, Error> {
    let purchase_id = purchase.key.purchase_id;
    let outcome_unknown = || Error::OutcomeUnknown { purchase_id };
    let Status::Pending {
        source,
        payment_intent_id,
    } = &purchase.status
    else {
        return Receipt::from_settled(purchase).ok_or_else(outcome_unknown);
    };
    let payment = match payment_intent_id {
        Some(intent) => retrieve(payments, intent, purchase_id).await?,
        None if now.since(purchase.created_at) < CHARGE_WINDOW => {
            charge(payments, purchases, &purchase, source, now).await?
        }
        None => find(payments, purchases, &purchase, now)
            .await?
            .ok_or_else(outcome_unknown)?,
    };
    match advance(payments, purchases, &purchase, payment, now).await? {
        Progress::Settled(settled) => Receipt::from_settled(settled).ok_or_else(outcome_unknown),
        Progress::InProgress(Payment::RequiresAction { client_secret, .. }) => {
            Err(Error::RequiresAction {
                purchase_id,
                client_secret,
            })
        }
        Progress::InProgress(_) => Err(outcome_unknown()),
    }
}
