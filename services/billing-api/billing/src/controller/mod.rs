//! The business rules of purchases, one file per function. The rules use the services through
//! traits, and do not depend on Lambda, HTTP or AWS.

#[cfg(test)]
mod crash_sweep_tests;
mod list;
mod purchase;
mod purchase_paid;
mod reconcile;
mod settle;
mod webhook;

use std::time::Duration;

pub use list::list;
pub use purchase::{Receipt, purchase};
pub use purchase_paid::purchase_paid;
pub use reconcile::{ReconcileSummary, reconcile};
pub use settle::settle;
pub use webhook::webhook;

use crate::{
    payment::{ClientSecret, Decline, Outcome, Payment},
    purchase::PurchaseId,
    service::{self, ChargeError, Payments},
};

/// The time after the creation of a purchase during which its card may be charged. This time must
/// be much shorter than the 24 hours for which Stripe keeps an idempotency key, and long enough for
/// the customer to complete 3-D Secure authentication.
pub const CHARGE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The age from which a purchase is settled as FAILED if Stripe's search finds no payment for it.
/// At this age, the search finds every payment that was made: no charge starts after
/// [`CHARGE_WINDOW`], and Stripe's search index lags by an hour at most.
pub const ABANDON_AFTER: Duration = Duration::from_secs(3 * 60 * 60);

/// The minimum time between the creation of a purchase and its first check by reconcile, and
/// between two checks of a purchase. After this time, the invocation that charges the card has
/// ended, and Stripe's search usually finds the payment.
pub const RECONCILE_DELAY: Duration = Duration::from_secs(2 * 60);

/// An error of a business rule: the payment has no final outcome yet, or a service call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payment requires 3-D Secure authentication. A webhook event or reconcile settles the
    /// purchase later.
    #[error("the payment requires 3-D Secure authentication by the cardholder")]
    RequiresAction {
        /// The id of the purchase. The purchase is PENDING until a webhook event or reconcile
        /// settles it.
        purchase_id: PurchaseId,
        /// Stripe's client secret. The browser needs it to complete the payment.
        client_secret: ClientSecret,
    },
    /// The payment is still in progress, or the purchase is older than [`CHARGE_WINDOW`] and must
    /// not be charged by this request.
    #[error("the outcome of the payment is not known yet")]
    OutcomeUnknown {
        /// The id of the purchase. The purchase is PENDING until a webhook event or reconcile
        /// settles it.
        purchase_id: PurchaseId,
    },
    /// The call to Stripe that charges the card failed, so the outcome of the payment is not known
    /// yet.
    #[error(transparent)]
    Charge(#[from] ChargeError),
    /// A call to a service failed. It was not the call that charges the card.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// The result of [`resolve`]: the final outcome, or the payment if it is still in progress.
enum Resolution {
    Final(Outcome),
    InProgress(Payment),
}

/// Determines the final outcome of a payment. Returns the payment if it is still in progress.
///
/// A declined PaymentIntent can still charge a card later, so this function cancels the
/// PaymentIntent. The status after the cancellation determines the outcome.
async fn resolve(payments: &impl Payments, payment: Payment) -> Result<Resolution, service::Error> {
    Ok(match payment {
        Payment::Succeeded { intent } => Resolution::Final(Outcome::Paid { intent }),
        Payment::Canceled { intent } => Resolution::Final(Outcome::Failed {
            intent: Some(intent),
            decline: Decline::unfinished(),
        }),
        Payment::Declined {
            intent: None,
            decline,
        } => Resolution::Final(Outcome::Failed {
            intent: None,
            decline,
        }),
        Payment::Declined {
            intent: Some(intent),
            decline,
        } => match payments.cancel(&intent).await? {
            Payment::Succeeded { intent } => Resolution::Final(Outcome::Paid { intent }),
            Payment::Canceled { intent } => Resolution::Final(Outcome::Failed {
                intent: Some(intent),
                decline,
            }),
            in_progress => Resolution::InProgress(in_progress),
        },
        in_progress @ (Payment::RequiresAction { .. } | Payment::Processing { .. }) => {
            Resolution::InProgress(in_progress)
        }
    })
}
