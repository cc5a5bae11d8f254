use super::{Error, RECONCILE_DELAY, settle::settle};
use crate::{
    payment::{Decline, IntentId, Outcome, Payment},
    purchase::{PaymentSource, Purchase, PurchaseId, Timestamp},
    service::{self, ChargeError, Payments, PurchaseStore},
};

/// The state of a purchase after [`advance`].
#[expect(
    clippy::large_enum_variant,
    reason = "a request has only one such value, and moves it once"
)]
pub(super) enum Progress {
    /// The payment is final. The purchase, as stored, is settled, or PENDING if it has another payment.
    Settled(Purchase),
    /// The payment is still in progress, and the purchase is PENDING.
    InProgress(Payment),
}

/// Settles `purchase` if `payment` is final. Otherwise stores the id of the payment and postpones the
/// next check by reconcile. If the purchase was settled in the meantime, cancels a payment that is not
/// final.
///
/// # Errors
/// Fails if a service call fails, or the purchase does not exist.
pub(super) async fn advance(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
    payment: Payment,
    now: Timestamp,
) -> Result<Progress, Error> {
    let key = &purchase.key;
    match resolve(payments, payment).await? {
        Resolution::Final(outcome) => {
            let settled = settle(payments, purchases, key, &outcome, now).await?;
            settled.map(Progress::Settled).ok_or(Error::NotFound)
        }
        Resolution::InProgress(payment) => {
            let due_at = now.after(RECONCILE_DELAY);
            let intent = payment.intent();
            if purchases.postpone(key, due_at, intent).await? {
                return Ok(Progress::InProgress(payment));
            }
            // The purchase was settled in the meantime. For example, the customer canceled the order
            // before Stripe listed this payment.
            if let Some(intent) = intent
                && let Payment::Succeeded { intent } = payments.cancel(intent).await?
            {
                let outcome = Outcome::Paid { intent };
                settle(payments, purchases, key, &outcome, now).await?;
            }
            let settled = purchases.get(key).await?.ok_or(Error::NotFound)?;
            Ok(Progress::Settled(settled))
        }
    }
}

/// The result of [`resolve`]: the final outcome, or the payment if it is still in progress.
pub(super) enum Resolution {
    Final(Outcome),
    InProgress(Payment),
}

/// Determines the final outcome of a payment. Returns the payment if it is still in progress.
///
/// A declined PaymentIntent can still charge a card later, so this function cancels the
/// PaymentIntent. The status after the cancellation determines the outcome.
pub(super) async fn resolve(
    payments: &impl Payments,
    payment: Payment,
) -> Result<Resolution, service::Error> {
    let (payment, known) = match payment {
        Payment::Declined {
            intent: Some(intent),
            decline,
        } => (payments.cancel(&intent).await?, Some(decline)),
        payment => (payment, None),
    };
    Ok(match payment {
        Payment::Succeeded { intent } => Resolution::Final(Outcome::Paid { intent }),
        Payment::Canceled { intent, decline } => Resolution::Final(Outcome::Failed {
            intent: Some(intent),
            decline: known.or(decline).unwrap_or_else(Decline::unfinished),
        }),
        Payment::Declined {
            intent: None,
            decline,
        } => Resolution::Final(Outcome::Failed {
            intent: None,
            decline,
        }),
        in_progress @ (Payment::RequiresAction { .. }
        | Payment::Processing { .. }
        | Payment::Declined { .. }) => Resolution::InProgress(in_progress),
    })
}

/// Charges `source` for `purchase`.
///
/// # Errors
/// Fails if the outcome of the charge is not known.
pub(super) async fn charge(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
    source: &PaymentSource,
    now: Timestamp,
) -> Result<Payment, Error> {
    let purchase_id = purchase.key.purchase_id;
    let payment = payments.charge(purchase, source).await;
    let payment = payment.map_err(|cause| Error::Charge { purchase_id, cause })?;
    if !matches!(payment, Payment::Declined { intent: None, .. }) {
        return Ok(payment);
    }
    // Stripe refuses a payment source that was used before. An earlier attempt for this purchase,
    // whose response was lost, may have used it.
    let earlier = find(payments, purchases, purchase, now).await?;
    Ok(earlier.unwrap_or(payment))
}

/// Whether Stripe responded to a charge with a server error.
pub(super) fn is_server_error(error: &Error) -> bool {
    matches!(
        error,
        Error::Charge {
            cause: ChargeError::ServerError(_),
            ..
        }
    )
}

/// Reads the payment `intent` of the purchase `purchase_id`.
///
/// # Errors
/// Fails if the call fails, or Stripe does not know the payment.
pub(super) async fn retrieve(
    payments: &impl Payments,
    intent: &IntentId,
    purchase_id: PurchaseId,
) -> Result<Payment, Error> {
    let details = payments.retrieve(intent).await?;
    let unknown = || {
        let intent = intent.as_str();
        let error = format!("Stripe does not know {intent}, the payment of {purchase_id}");
        service::Error::Failed(error.into())
    };
    Ok(details.ok_or_else(unknown)?.payment)
}

/// Finds the payment of `purchase` in Stripe. Returns None if there is none.
///
/// If there are several, returns the one that is most likely to succeed, in the order of
/// [`distance_to_success`]. Of the others, refunds those that succeeded, and cancels the rest.
///
/// # Errors
/// Fails if a service call fails.
pub(super) async fn find(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    purchase: &Purchase,
    now: Timestamp,
) -> Result<Option<Payment>, Error> {
    let mut found = payments.find_payments(purchase).await?;
    found.sort_by_key(distance_to_success);
    let mut found = found.into_iter();
    let Some(first) = found.next() else {
        return Ok(None);
    };
    for other in found {
        // The first payment that succeeds pays for the purchase. `settle` refunds the others.
        if let Payment::Succeeded { intent } = &first {
            let intent = intent.clone();
            let outcome = Outcome::Paid { intent };
            settle(payments, purchases, &purchase.key, &outcome, now).await?;
        }
        let other = match other {
            final_one @ (Payment::Succeeded { .. } | Payment::Canceled { .. }) => final_one,
            open => match open.intent() {
                Some(intent) => payments.cancel(intent).await?,
                None => continue,
            },
        };
        if let Payment::Succeeded { intent } = other {
            let outcome = Outcome::Paid { intent };
            settle(payments, purchases, &purchase.key, &outcome, now).await?;
        }
    }
    Ok(Some(first))
}

fn distance_to_success(payment: &Payment) -> u8 {
    match payment {
        Payment::Succeeded { .. } => 0,
        Payment::Processing { .. } => 1,
        Payment::RequiresAction { .. } => 2,
        Payment::Declined { .. } => 3,
        Payment::Canceled { .. } => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::*, purchase::Status, service::memory::*};

    #[tokio::test]
    async fn a_payment_whose_order_was_canceled_in_the_meantime_is_canceled() {
        let cloud = Memory::default();
        let pending = pending("pm_threeDSecure");
        cloud.store(pending.clone());
        let Status::Pending { source, .. } = &pending.status else {
            panic!("a new purchase is PENDING")
        };
        let payment = cloud.charge(&pending, source).await.unwrap();
        let canceled = Outcome::Failed {
            intent: None,
            decline: Decline::canceled(),
        };
        settle(&cloud, &cloud, &pending.key, &canceled, NOON)
            .await
            .unwrap();
        let progress = advance(&cloud, &cloud, &pending, payment, NOON).await;
        let Progress::Settled(purchase) = progress.unwrap() else {
            panic!("the purchase is settled")
        };
        assert_eq!(purchase.decline().unwrap().code, "payment_canceled");
        assert!(!cloud.can_still_charge());
    }
}
