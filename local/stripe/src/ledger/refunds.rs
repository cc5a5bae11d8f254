//! Refunds (<https://docs.stripe.com/refunds>).

use serde_json::Value;

use super::{BankAction, EventContext, Ledger};
use crate::card::Aftermath;
use crate::charge::Charge;
use crate::dispute::Dispute;
use crate::error::ApiError;
use crate::refund::{NewRefund, Refund, RefundStatus, Refunded};

impl Ledger {
    /// The API objects of all refunds, oldest first.
    pub(crate) fn refund_objects(&self) -> Vec<Value> {
        self.refunds.iter().map(Refund::object).collect()
    }

    /// Refunds a charge in part or in full.
    pub(super) fn refund(
        &mut self,
        new: NewRefund,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let index = self.charge_to_refund(&new.of)?;
        let (id, balance_transaction) = (self.new_id("re"), self.new_id("txn"));
        let Some(charge) = self.charges.get_mut(index) else {
            return Ok(Value::Null);
        };
        let amount = refund_amount(charge, new.amount)?;
        charge.amount_refunded += amount;
        let aftermath = charge.aftermath();
        let refund = Refund {
            id,
            charge: charge.id.clone(),
            payment_intent: charge.payment_intent.clone(),
            amount,
            currency: charge.details.currency.clone(),
            created: context.now,
            reason: new.reason,
            metadata: new.metadata,
            status: match aftermath {
                Aftermath::SlowRefund => RefundStatus::Pending,
                _ => RefundStatus::Succeeded,
            },
            balance_transaction,
            failure_balance_transaction: None,
        };
        let (charge, object) = (charge.object(), refund.object());
        self.refunds.push(refund);
        self.emit("refund.created", object.clone(), context);
        self.emit("charge.refunded", charge, context);
        if let Aftermath::SlowRefund | Aftermath::FailingRefund = aftermath {
            let end = BankAction::EndRefund(self.refunds.len() - 1);
            self.bank_actions.push(end);
        }
        Ok(object)
    }

    /// Returns the index of the charge that a refund refunds. Fails if there is no such charge, the
    /// charge did not succeed, or the bank has withdrawn its amount because of a dispute.
    fn charge_to_refund(&self, of: &Refunded) -> Result<usize, ApiError> {
        let position = |matches: &dyn Fn(&Charge) -> bool| self.charges.iter().position(matches);
        let index = match of {
            Refunded::Charge(id) => position(&|charge| charge.id == *id)
                .ok_or_else(|| ApiError::missing("charge", id))?,
            Refunded::PaymentIntent(id) => {
                let intent = self.intents.get(self.find(id)?);
                let latest = intent.and_then(|intent| intent.latest_charge.as_ref());
                let latest = position(&|charge| Some(&charge.id) == latest && charge.paid);
                latest.ok_or_else(|| {
                    ApiError::invalid(format!(
                        "This PaymentIntent ({id}) does not have a successful charge to refund."
                    ))
                    .param("payment_intent")
                })?
            }
        };
        let Some(charge) = self.charges.get(index) else {
            return Ok(index);
        };
        if !charge.paid {
            return Err(ApiError::invalid(format!(
                "The charge {} has failed and cannot be refunded.",
                charge.id
            ))
            .param("charge"));
        }
        let blocks = |dispute: &Dispute| dispute.charge == charge.id && dispute.blocks_refunds();
        match self.disputes.iter().any(blocks) {
            true => Err(ApiError::charge_disputed(&charge.id)),
            false => Ok(index),
        }
    }

    /// Ends a refund: a pending refund succeeds, and a succeeded refund fails. The amount of a failed
    /// refund can be refunded again (<https://docs.stripe.com/refunds#failed-refunds>).
    pub(super) fn end_refund(&mut self, index: usize, context: &EventContext) {
        let returned = self.new_id("txn");
        let Some(refund) = self.refunds.get_mut(index) else {
            return;
        };
        if refund.status == RefundStatus::Pending {
            refund.status = RefundStatus::Succeeded;
            let refund = refund.object();
            return self.emit("refund.updated", refund, context);
        }
        refund.status = RefundStatus::Failed;
        refund.failure_balance_transaction = Some(returned);
        let mut charges = self.charges.iter_mut();
        if let Some(charge) = charges.find(|charge| charge.id == refund.charge) {
            charge.amount_refunded = charge.amount_refunded.saturating_sub(refund.amount);
        }
        let refund = refund.object();
        self.emit("refund.updated", refund.clone(), context);
        self.emit("refund.failed", refund, context);
    }
}

/// Returns the amount of a refund in US cents: `wanted`, or all that is not refunded yet.
fn refund_amount(charge: &Charge, wanted: Option<u32>) -> Result<u32, ApiError> {
    let refundable = charge.refundable();
    match wanted {
        _ if refundable == 0 => Err(ApiError::already_refunded(&charge.id)),
        Some(wanted) if wanted > refundable => {
            let dollars = |cents: u32| format!("${}.{:02}", cents / 100, cents % 100);
            Err(ApiError::invalid(format!(
                "Refund amount ({}) is greater than unrefunded amount on charge ({})",
                dollars(wanted),
                dollars(refundable)
            ))
            .param("amount"))
        }
        wanted => Ok(wanted.unwrap_or(refundable)),
    }
}
