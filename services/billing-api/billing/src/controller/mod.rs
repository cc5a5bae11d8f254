//! The rules, one file per function. They take their services as traits, and know nothing of
//! Lambda, HTTP or AWS.

mod list;
mod purchase;
mod purchase_paid;
mod reconcile;
mod settle;
#[cfg(test)]
mod sweep;
mod webhook;

use std::time::Duration;

pub use list::list;
pub use purchase::{Receipt, purchase};
pub use purchase_paid::purchase_paid;
pub use reconcile::{Reconciled, reconcile};
pub use settle::settle;
pub use webhook::webhook;

use crate::{
    payment::{ClientSecret, Decline, End, Payment},
    purchase::PurchaseId,
    service::{self, ChargeError, Payments},
};

/// How long after it was ordered a purchase may be charged. Far less than the 24 hours for which
/// Stripe keeps an idempotency key, and long enough for a person to show that a card is theirs.
pub const OPEN_FOR: Duration = Duration::from_secs(60 * 60);

/// How old a purchase is when a payment that is not found is known never to have been made: the
/// last that could make it gave up when the purchase was [`OPEN_FOR`] old, and what Stripe finds is
/// behind by an hour at most.
pub const LOST_AFTER: Duration = Duration::from_secs(3 * 60 * 60);

/// How soon reconcile looks after a purchase: once the function that charges it has ended, and
/// Stripe finds what it has made. Also the pause before it looks again.
pub const LOOK_AFTER: Duration = Duration::from_secs(2 * 60);

/// Why a rule does not let something happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The card's owner has to show that it is theirs. Then the purchase is settled by itself.
    #[error("the card's owner has to act")]
    RequiresAction {
        /// Of this purchase.
        purchase_id: PurchaseId,
        /// What their browser does it with.
        client_secret: ClientSecret,
    },
    /// Whether the card is charged will be known later.
    #[error("it is not known yet whether the card is charged")]
    Undecided {
        /// Of this purchase.
        purchase_id: PurchaseId,
    },
    /// As [`Error::Undecided`], for a call of Stripe failed.
    #[error(transparent)]
    Charge(#[from] ChargeError),
    /// A service did not do its part.
    #[error(transparent)]
    Service(#[from] service::Error),
}

/// How a payment has ended, or where it stands.
///
/// One that was declined can still charge a card: it is cancelled, and that says how it ended.
async fn end_of(
    payments: &impl Payments,
    payment: Payment,
) -> Result<Result<End, Payment>, service::Error> {
    Ok(match payment {
        Payment::Succeeded { intent } => Ok(End::Paid { intent }),
        Payment::Canceled { intent } => Ok(End::Failed {
            intent: Some(intent),
            decline: Decline::unfinished(),
        }),
        Payment::Declined {
            intent: None,
            decline,
        } => Ok(End::Failed {
            intent: None,
            decline,
        }),
        Payment::Declined {
            intent: Some(intent),
            decline,
        } => match payments.cancel(&intent).await? {
            Payment::Succeeded { intent } => Ok(End::Paid { intent }),
            Payment::Canceled { intent } => Ok(End::Failed {
                intent: Some(intent),
                decline,
            }),
            going_on => Err(going_on),
        },
        going_on @ (Payment::RequiresAction { .. } | Payment::Processing { .. }) => Err(going_on),
    })
}
