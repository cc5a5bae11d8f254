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
    /// The purchase is settled.
    Settled(Purchase),
    /// The payment is still in progress, and the purchase is PENDING.
    InProgress(Payment),
}

/// Brings a purchase as far as its payment allows: settles it if the payment is final, and otherwise
/// stores the id of the payment and postpones the next check by reconcile. If the purchase was settled
/// in the meantime, cancels a payment that is not final.
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
            // The customer has canceled the order, for example, before Stripe listed this payment.
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
    // Stripe refuses a payment source that was used before, also if an earlier attempt whose
    // response was lost has used it for this purchase.
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
/// If there are several, returns the one that is nearest to a success. Refunds every other one that
/// has succeeded, and cancels the others.
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
