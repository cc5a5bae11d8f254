//! What Stripe says about payments of purchases: the details of a PaymentIntent, and the reports of
//! webhook events.

use crate::{
    payment::{IntentId, Payment},
    purchase::{Currency, Dispute, Purchase, PurchaseKey},
};

/// A PaymentIntent as Stripe stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentDetails {
    /// The status of the payment.
    pub payment: Payment,
    /// The amount to charge, in the minor unit of the currency.
    pub amount: u32,
    /// The amount that was charged.
    pub amount_received: u32,
    /// The sum of the refunds of the latest charge.
    pub amount_refunded: u32,
    /// The currency. None if the code is malformed.
    pub currency: Option<Currency>,
    /// Whether the payment was made with a live key, and not in a sandbox or in test mode.
    pub is_live: bool,
    /// The key of the purchase, from the metadata. None if the metadata contains no valid key: the
    /// PaymentIntent does not belong to a purchase.
    pub purchase: Option<PurchaseKey>,
}

impl PaymentDetails {
    /// Whether this is a payment for `purchase`: its metadata, amount and currency match.
    pub fn is_for(&self, purchase: &Purchase) -> bool {
        self.purchase.as_ref() == Some(&purchase.key)
            && self.amount == purchase.amount.get()
            && self.currency == Some(purchase.currency)
    }
}

/// A charge that was refunded in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundedCharge {
    /// The sum of the refunds, in the minor unit of the currency.
    pub amount: u32,
}

/// What an event of Stripe reports about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A PaymentIntent succeeded, failed or was canceled.
    Payment(PaymentReport),
    /// A charge was refunded, or a refund changed.
    Refund(RefundReport),
    /// A dispute was opened, changed or closed.
    Dispute(DisputeReport),
    /// An event of another type, or about a payment of no purchase. It is ignored.
    Other,
    /// The object of the event cannot be read, although purchases need events of this type.
    Unreadable,
}

/// A report about a PaymentIntent: `payment_intent.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentReport {
    /// The id of the PaymentIntent.
    pub intent: IntentId,
    /// The key of the purchase, from the metadata of the PaymentIntent.
    pub purchase: PurchaseKey,
    /// What happened.
    pub change: PaymentChange,
    /// The amount of the PaymentIntent, in the minor unit of the currency. For a success, the amount
    /// that was received.
    pub amount: u32,
    /// The currency. None if the code is malformed.
    pub currency: Option<Currency>,
}

/// What happened to a PaymentIntent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentChange {
    /// `payment_intent.succeeded`: the card was charged.
    Succeeded,
    /// `payment_intent.payment_failed`: an attempt to charge the card failed.
    Failed,
    /// `payment_intent.canceled`: the PaymentIntent can no longer charge a card.
    Canceled,
}

/// A report about refunds: `charge.refunded`, `refund.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundReport {
    /// The PaymentIntent that was refunded.
    pub intent: IntentId,
    /// The sum of all refunds of the charge. None if the event does not contain the charge: the
    /// current sum must then be read from Stripe.
    pub amount_refunded: Option<u32>,
    /// The currency. None if the code is malformed.
    pub currency: Option<Currency>,
}

/// A report about a dispute: `charge.dispute.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeReport {
    /// The PaymentIntent whose charge is disputed.
    pub intent: IntentId,
    /// The state of the dispute. Its `as_of` is the creation time of the event.
    pub dispute: Dispute,
    /// The currency. None if the code is malformed.
    pub currency: Option<Currency>,
}
