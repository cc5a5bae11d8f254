//! Disputes (<https://docs.stripe.com/disputes/how-disputes-work>).

use serde_json::Value;

use super::{BankAction, EventContext, Ledger};
use crate::card::Aftermath;
use crate::dispute::{Dispute, DisputeStatus, DisputeUpdate, Funds, Verdict};
use crate::error::ApiError;

impl Ledger {
    /// The API objects of all disputes, oldest first.
    pub(crate) fn dispute_objects(&self) -> Vec<Value> {
        self.disputes.iter().map(Dispute::object).collect()
    }

    /// Disputes the charge at `index`. A chargeback withdraws the amount that was not refunded yet. An
    /// inquiry withdraws nothing.
    pub(super) fn open_dispute(&mut self, index: usize, context: &EventContext) {
        let id = self.new_id("du");
        let Some(charge) = self.charges.get_mut(index) else {
            return;
        };
        let Aftermath::Dispute(claim) = charge.aftermath() else {
            return;
        };
        charge.disputed = true;
        let dispute = Dispute {
            id,
            charge: charge.id.clone(),
            payment_intent: charge.payment_intent.clone(),
            amount: charge.refundable(),
            currency: charge.details.currency.clone(),
            created: context.now,
            claim,
            status: match claim.inquiry {
                true => DisputeStatus::WarningNeedsResponse,
                false => DisputeStatus::NeedsResponse,
            },
            evidence: serde_json::Map::new(),
            submissions: 0,
            metadata: serde_json::Map::new(),
            withdrawn: None,
            reinstated: None,
            livemode: self.livemode,
        };
        self.disputes.push(dispute);
        let index = self.disputes.len() - 1;
        if claim.inquiry {
            self.emit_dispute("charge.dispute.created", index, context);
        } else {
            self.withdraw(index, "charge.dispute.created", context);
        }
    }

    /// Stores evidence, and sends all evidence to the bank if the request says so. The evidence texts
    /// of Stripe's test mode force the decision of the bank.
    pub(super) fn update_dispute(
        &mut self,
        id: &str,
        update: DisputeUpdate,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let index = self.find_dispute(id)?;
        let Some(dispute) = self.disputes.get_mut(index) else {
            return Ok(Value::Null);
        };
        if !dispute.status.needs_response() {
            return Err(closed());
        }
        dispute.evidence.extend(update.evidence);
        dispute.metadata.extend(update.metadata);
        if update.submit && !dispute.evidence.is_empty() {
            dispute.submissions += 1;
            dispute.status = match dispute.status.is_inquiry() {
                true => DisputeStatus::WarningUnderReview,
                false => DisputeStatus::UnderReview,
            };
            let text = dispute.evidence.get("uncategorized_text");
            let verdict = text.and_then(Value::as_str).and_then(Verdict::forced_by);
            if let Some(verdict) = verdict {
                self.bank_actions.push(BankAction::Decide(index, verdict));
            }
        }
        self.emit_dispute("charge.dispute.updated", index, context);
        Ok(self.dispute_object(index))
    }

    /// Accepts the claim of the cardholder.
    pub(super) fn close_dispute(
        &mut self,
        id: &str,
        context: &EventContext,
    ) -> Result<Value, ApiError> {
        let index = self.find_dispute(id)?;
        let dispute = self.disputes.get(index);
        if !dispute.is_some_and(|dispute| dispute.status.needs_response()) {
            return Err(closed());
        }
        self.decide(index, Verdict::Lost, context);
        Ok(self.dispute_object(index))
    }

    /// Decides a dispute.
    pub(super) fn decide(&mut self, index: usize, verdict: Verdict, context: &EventContext) {
        let reinstatement = self.new_id("txn");
        let Some(dispute) = self.disputes.get_mut(index) else {
            return;
        };
        match (verdict, dispute.status.is_inquiry()) {
            (Verdict::Escalated, true) => {
                dispute.status = DisputeStatus::NeedsResponse;
                return self.withdraw(index, "charge.dispute.updated", context);
            }
            (_, true) => dispute.status = DisputeStatus::WarningClosed,
            (Verdict::Won, false) => {
                dispute.status = DisputeStatus::Won;
                dispute.reinstated = Some(Funds {
                    id: reinstatement,
                    at: context.now,
                });
            }
            (Verdict::Lost | Verdict::Escalated, false) => dispute.status = DisputeStatus::Lost,
        }
        let won = dispute.status == DisputeStatus::Won;
        self.emit_dispute("charge.dispute.closed", index, context);
        if won {
            self.emit_dispute("charge.dispute.funds_reinstated", index, context);
        }
    }

    /// Withdraws the disputed amount, and emits an event of the type `kind` before the event about the
    /// funds.
    fn withdraw(&mut self, index: usize, kind: &str, context: &EventContext) {
        let id = self.new_id("txn");
        if let Some(dispute) = self.disputes.get_mut(index) {
            dispute.withdrawn = Some(Funds {
                id,
                at: context.now,
            });
        }
        self.emit_dispute(kind, index, context);
        self.emit_dispute("charge.dispute.funds_withdrawn", index, context);
    }

    fn find_dispute(&self, id: &str) -> Result<usize, ApiError> {
        let index = self.disputes.iter().position(|dispute| dispute.id == id);
        index.ok_or_else(|| ApiError::missing("dispute", id))
    }

    fn dispute_object(&self, index: usize) -> Value {
        let dispute = self.disputes.get(index);
        dispute.map(Dispute::object).unwrap_or_default()
    }

    fn emit_dispute(&mut self, kind: &str, index: usize, context: &EventContext) {
        let object = self.dispute_object(index);
        self.emit(kind, object, context);
    }
}

fn closed() -> ApiError {
    ApiError::invalid("This dispute is already closed")
}
