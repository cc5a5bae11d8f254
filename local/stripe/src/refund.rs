//! A refund and its API object (<https://docs.stripe.com/api/refunds/object>).

use serde_json::{Map, Value, json};

/// The parameters of a new refund (<https://docs.stripe.com/api/refunds/create>).
#[derive(Debug)]
pub(crate) struct NewRefund {
    pub(crate) of: Refunded,
    /// The amount in US cents. None for the whole amount that is not refunded yet.
    pub(crate) amount: Option<u32>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Map<String, Value>,
}

/// The payment that a new refund refunds.
#[derive(Debug)]
pub(crate) enum Refunded {
    Charge(String),
    PaymentIntent(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundStatus {
    Pending,
    Succeeded,
    Failed,
}

#[derive(Debug)]
pub(crate) struct Refund {
    pub(crate) id: String,
    pub(crate) charge: String,
    pub(crate) payment_intent: String,
    /// The amount in US cents.
    pub(crate) amount: u32,
    pub(crate) currency: String,
    /// The time at which the refund was created, in seconds since the Unix epoch.
    pub(crate) created: u64,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) status: RefundStatus,
    pub(crate) balance_transaction: String,
    /// The id of the balance transaction that returns the amount of a failed refund.
    pub(crate) failure_balance_transaction: Option<String>,
}

impl Refund {
    /// Returns the API object of the refund.
    pub(crate) fn object(&self) -> Value {
        let failed = self.status == RefundStatus::Failed;
        let mut object = json!({
            "id": self.id,
            "object": "refund",
            "amount": self.amount,
            "balance_transaction": self.balance_transaction,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "customer": null,
            "customer_account": null,
            "destination_details": {
                "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
                "type": "card",
            },
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "payment_method": null,
            "reason": self.reason,
            "receipt_number": null,
            "source_transfer_reversal": null,
            "status": match self.status {
                RefundStatus::Pending => "pending",
                RefundStatus::Succeeded => "succeeded",
                RefundStatus::Failed => "failed",
            },
            "transfer_reversal": null,
        });
        if let (true, Value::Object(object)) = (failed, &mut object) {
            object.insert(
                "failure_reason".to_owned(),
                json!("expired_or_canceled_card"),
            );
            let returned = json!(self.failure_balance_transaction);
            object.insert("failure_balance_transaction".to_owned(), returned);
        }
        object
    }
}
