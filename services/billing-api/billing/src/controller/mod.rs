//! The business rules, one file per function. They use the services through traits, and do not
//! depend on Lambda, HTTP or AWS.

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

/// The age of a purchase until which its card may be charged. It must be much shorter than the 24
/// hours for which Stripe keeps an idempotency key, and long enough for the customer to complete
/// 3-D Secure authentication.
pub const CHARGE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The age of a purchase from which it is abandoned if Stripe's search finds no payment. At this
/// age the search would find any payment: no charge starts after [`CHARGE_WINDOW`], and the search
/// index lags by an hour at most.
pub const ABANDON_AFTER: Duration = Duration::from_secs(3 * 60 * 60);

/// The delay before reconcile checks a purchase for the first time, and between two checks. After
/// this delay, the invocation that charges the card has ended, and Stripe's search usually finds
/// the payment.
pub const RECONCILE_DELAY: Duration = Duration::from_secs(2 * 60);

/// The error of a business rule.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payment needs 3-D Secure authentication. A webhook event or reconcile settles the
    /// purchase afterwards.
    #[error("the payment requires action by the cardholder")]
    RequiresAction {
        /// The id of the purchase, which stays PENDING.
        purchase_id: PurchaseId,
        /// The secret with which the browser completes the payment.
        client_secret: ClientSecret,
    },
    /// The payment is in progress, or the purchase is older than [`CHARGE_WINDOW`], so that this
    /// request must not charge the card.
    #[error("the outcome of the payment is not known yet")]
    OutcomeUnknown {
        /// The id of the purchase, which stays PENDING.
        purchase_id: PurchaseId,
    },
    /// The call to Stripe failed, so the outcome of the payment is not known yet.
    #[error(transparent)]
    Charge(#[from] ChargeError),
    /// A service failed.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// The result of [`resolve`]: the final outcome, or the payment if it is still in progress.
enum Resolution {
    Final(Outcome),
    InProgress(Payment),
}

/// Resolves a payment to its final outcome, if it has one.
///
/// A declined intent can still charge a card later, so it is canceled first. The result of the
/// cancellation is the final outcome.
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
