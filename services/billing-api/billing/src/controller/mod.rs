//! The business rules of purchases, one file per function. The rules use the services through
//! traits, and do not depend on Lambda, HTTP or AWS.

mod announce;
mod cancel;
mod list;
mod measure;
mod payment;
mod purchase;
mod purchase_paid;
mod receipt;
mod reconcile;
mod resume;
mod settle;
mod webhook;

use std::time::Duration;

pub use cancel::cancel;
pub use list::list;
pub use purchase::{MAX_DECLINES, purchase};
pub use purchase_paid::purchase_paid;
pub use receipt::Receipt;
pub use reconcile::{ReconcileSummary, reconcile};
pub use resume::resume;
pub use webhook::{Verdict, webhook};

pub use crate::purchase::RECONCILE_DELAY;

use crate::{
    payment::ClientSecret,
    purchase::{Cents, PurchaseId},
    service::{self, ChargeError},
};

/// The time after the creation of a purchase during which its card may be charged. This time must
/// be much shorter than the 24 hours for which Stripe keeps an idempotency key, and long enough for
/// the customer to complete 3-D Secure authentication.
pub const CHARGE_WINDOW: Duration = Duration::from_secs(60 * 60);

/// The age from which a purchase is settled as FAILED if Stripe lists no payment for it. It is
/// longer than [`CHARGE_WINDOW`] plus the timeout of every function that charges cards, so no
/// charge can follow.
pub const ABANDON_AFTER: Duration = Duration::from_secs(70 * 60);

/// The age from which a purchase is settled as FAILED if Stripe responds to its charge with a server
/// error and lists no payment for it. Stripe stores the response to a request that it executed, so
/// no later charge can succeed with the same idempotency key.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// An error of a business rule: the request conflicts with the state of a purchase, the payment has
/// no final outcome yet, or a service call failed.
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
    #[error("the charge failed")]
    Charge {
        /// The id of the purchase, which is still PENDING.
        purchase_id: PurchaseId,
        /// Why the call failed.
        #[source]
        cause: ChargeError,
    },
    /// The buyer has another order that is not settled.
    #[error("the buyer has an open order")]
    OrderOpen {
        /// The id of the open order.
        purchase_id: PurchaseId,
    },
    /// The price differs from the amount that the customer agreed to.
    #[error("the price has changed")]
    PriceChanged {
        /// The current price.
        amount: Cents,
    },
    /// Cards were declined for [`MAX_DECLINES`] orders of the buyer within an hour.
    #[error("too many cards of the buyer were declined")]
    TooManyDeclines {
        /// The time after which the buyer may order again.
        retry_after: Duration,
    },
    /// The order cannot be canceled, because the card was charged.
    #[error("the order was paid")]
    AlreadyPaid {
        /// The id of the order.
        purchase_id: PurchaseId,
    },
    /// The order cannot be canceled now, because the bank is processing the payment.
    #[error("the bank is processing the payment")]
    Processing {
        /// The id of the order.
        purchase_id: PurchaseId,
    },
    /// The caller has no purchase with this id.
    #[error("the purchase does not exist")]
    NotFound,
    /// A call to a service failed. It was not the call that charges the card.
    #[error(transparent)]
    Service(#[from] service::Error),
}
