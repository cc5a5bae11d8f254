//! A charge and its API object (<https://docs.stripe.com/api/charges/object>).

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::card::{Aftermath, Decline};
use crate::payment_method::PaymentMethod;

/// An attempt to charge a card.
#[derive(Clone, Debug, Serialize)]
pub struct Charge {
    /// The id of the charge, such as `ch_1`.
    pub id: String,
    /// The id of the PaymentIntent that the charge belongs to.
    pub payment_intent: String,
    /// The amount in US cents.
    pub amount: u32,
    /// Whether the card was charged.
    pub paid: bool,
    /// The decline code, which says why the card was not charged. None if the card was charged.
    pub decline_code: Option<&'static str>,
    /// The refunded amount in US cents, without refunds that failed.
    pub amount_refunded: u32,
    /// Whether the cardholder has disputed the charge. Stays true after the dispute is closed.
    pub disputed: bool,
    #[serde(skip)]
    pub(crate) details: Details,
}

/// The parts of a charge that only its API object shows.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    /// The time at which the charge was created, in seconds since the Unix epoch.
    pub(crate) created: u64,
    pub(crate) currency: String,
    pub(crate) description: Option<String>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) statement_descriptor_suffix: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) payment_method: Option<PaymentMethod>,
    pub(crate) decline: Option<&'static Decline>,
    /// The id of the balance transaction.
    pub(crate) balance_transaction: String,
    pub(crate) livemode: bool,
}

impl Charge {
    /// What the cardholder or the bank does after the card was charged.
    pub(crate) fn aftermath(&self) -> Aftermath {
        let method = self.details.payment_method.as_ref();
        match method.map(|method| method.card().aftermath) {
            Some(aftermath) if self.paid => aftermath,
            _ => Aftermath::Nothing,
        }
    }

    /// The amount that can still be refunded, in US cents.
    pub(crate) fn refundable(&self) -> u32 {
        self.amount.saturating_sub(self.amount_refunded)
    }

    /// Returns the API object of the charge.
    pub(crate) fn object(&self) -> Value {
        let details = &self.details;
        let method = details.payment_method.as_ref();
        json!({
            "id": self.id,
            "object": "charge",
            "amount": self.amount,
            "amount_captured": if self.paid { self.amount } else { 0 },
            "amount_refunded": self.amount_refunded,
            "application": null,
            "application_fee": null,
            "application_fee_amount": null,
            "balance_transaction": self.paid.then_some(&details.balance_transaction),
            "billing_details": method.map(PaymentMethod::billing_details),
            "calculated_statement_descriptor": null,
            "captured": self.paid,
            "created": details.created,
            "currency": details.currency,
            "customer": null,
            "description": details.description,
            "disputed": self.disputed,
            "failure_balance_transaction": null,
            "failure_code": details.decline.map(|decline| decline.code),
            "failure_message": details.decline.map(|decline| decline.message),
            "fraud_details": {},
            "livemode": details.livemode,
            "metadata": details.metadata,
            "on_behalf_of": null,
            "outcome": self.outcome(),
            "paid": self.paid,
            "payment_intent": self.payment_intent,
            "payment_method": method.map(|method| &method.id),
            "payment_method_details": {
                "card": method.map(PaymentMethod::card_object),
                "type": "card",
            },
            "receipt_email": details.receipt_email,
            "receipt_number": null,
            "receipt_url": null,
            "refunded": self.paid && self.refundable() == 0,
            "review": null,
            "shipping": null,
            "source_transfer": null,
            "statement_descriptor": null,
            "statement_descriptor_suffix": details.statement_descriptor_suffix,
            "status": if self.paid { "succeeded" } else { "failed" },
            "transfer_data": null,
            "transfer_group": null,
        })
    }

    /// The details of the payment's result (<https://docs.stripe.com/declines>).
    fn outcome(&self) -> Value {
        match self.decline_code {
            None => json!({
                "network_status": "approved_by_network",
                "reason": null,
                "risk_level": "normal",
                "seller_message": "Payment complete.",
                "type": "authorized",
            }),
            Some(code) => json!({
                "network_status": "declined_by_network",
                "reason": code,
                "risk_level": "normal",
                "seller_message": "The bank did not return any further details with this decline.",
                "type": "issuer_declined",
            }),
        }
    }
}
