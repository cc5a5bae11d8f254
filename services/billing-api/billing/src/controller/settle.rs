use super::Error;
use crate::{
    payment::{IntentId, Outcome, Payment},
    purchase::{Purchase, PurchaseKey, Surplus, Timestamp},
    service::{self, Payments, PurchaseStore, SettleIf, Settled},
};

/// Settles a purchase whose payment is final: changes the status PENDING to PAID or FAILED. A
/// purchase that is already settled keeps its status. If another payment has succeeded for it, this
/// charge is a surplus: it is refunded and recorded. Returns the purchase as it is stored after the
/// call, or None if it does not exist.
///
/// Every function that learns the outcome of a payment calls `settle`. The calls may be repeated,
/// and may come in any order.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub(super) async fn settle(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Option<Purchase>, Error> {
    let settled = purchases.settle(key, outcome, SettleIf::Pending, now);
    match (settled.await?, outcome) {
        (Settled::Done(purchase), _) => Ok(Some(purchase)),
        (Settled::Unchanged(purchase), Outcome::Paid { intent }) => {
            if is_known(&purchase, intent) {
                return Ok(Some(purchase));
            }
            let details = payments.retrieve(intent).await?;
            let is_charged = details.is_some_and(|details| {
                details.is_for(&purchase) && matches!(details.payment, Payment::Succeeded { .. })
            });
            if !is_charged {
                return Ok(Some(purchase));
            }
            refund_surplus(payments, purchases, purchase, intent, now).await
        }
        (Settled::Unchanged(purchase), Outcome::Failed { .. }) => Ok(Some(purchase)),
        (Settled::Missing, _) => {
            let purchase_id = key.purchase_id;
            tracing::error!(%purchase_id, "payment for a missing purchase");
            Ok(None)
        }
    }
}

/// Whether `intent` paid for `purchase`, or is a surplus charge that was refunded.
pub(super) fn is_known(purchase: &Purchase, intent: &IntentId) -> bool {
    let mut surplus = purchase.surplus.iter();
    purchase.paid_by() == Some(intent)
        || surplus.any(|surplus| surplus.payment_intent_id == *intent)
}

/// Refunds the charge of `intent`, which has succeeded although `purchase` was settled without it,
/// and then records the refund. Returns the purchase after the call, or None if it does not exist.
///
/// # Errors
/// Fails if a service call fails. A repetition refunds and records the charge only once.
pub(super) async fn refund_surplus(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: Purchase,
    intent: &IntentId,
    now: Timestamp,
) -> Result<Option<Purchase>, Error> {
    let purchase_id = purchase.key.purchase_id;
    let amount = payments.refund(intent).await?.amount;
    tracing::error!(%purchase_id, intent = intent.as_str(), amount, "surplus charge refunded");
    let surplus = Surplus {
        payment_intent_id: intent.clone(),
        amount,
        refunded_at: now,
    };
    let change = |purchase: &Purchase| purchase.with_surplus(surplus.clone());
    revise(purchases, purchase, change).await
}

/// The number of times that [`revise`] tries to store a change.
const ATTEMPTS: usize = 5;

/// Applies `change` to a settled purchase. If the stored purchase has changed in the meantime,
/// applies `change` to the stored one. Returns the purchase after the call, or None if it does not
/// exist.
///
/// # Errors
/// Fails if a service call fails, or the stored purchase changes again and again.
pub(super) async fn revise(
    purchases: &impl PurchaseStore,
    mut purchase: Purchase,
    change: impl Fn(&Purchase) -> Option<Purchase>,
) -> Result<Option<Purchase>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(changed) = change(&purchase) else {
            return Ok(Some(purchase));
        };
        if purchases.revise(&changed, purchase.revision).await? {
            return Ok(Some(changed));
        }
        match purchases.get(&purchase.key).await? {
            Some(stored) => purchase = stored,
            None => return Ok(None),
        }
    }
    let error = "the purchase was changed by others in each attempt";
    Err(Error::Service(service::Error::Unavailable(error.into())))
}
