//! A dispute and its API object (<https://docs.stripe.com/api/disputes/object>).

use serde_json::{Map, Value, json};

use crate::card::Claim;

/// The fee for a chargeback, in US cents.
const FEE: i64 = 1_500;

/// The time for the response to a dispute, in seconds
/// (<https://docs.stripe.com/disputes/responding>).
const RESPONSE_TIME: u64 = 9 * 24 * 60 * 60;

/// The status of a dispute. Each status of an inquiry starts with `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DisputeStatus {
    WarningNeedsResponse,
    WarningUnderReview,
    WarningClosed,
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
}

impl DisputeStatus {
    fn name(self) -> &'static str {
        match self {
            Self::WarningNeedsResponse => "warning_needs_response",
            Self::WarningUnderReview => "warning_under_review",
            Self::WarningClosed => "warning_closed",
            Self::NeedsResponse => "needs_response",
            Self::UnderReview => "under_review",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    pub(crate) fn is_inquiry(self) -> bool {
        let warnings = [
            Self::WarningNeedsResponse,
            Self::WarningUnderReview,
            Self::WarningClosed,
        ];
        warnings.contains(&self)
    }

    pub(crate) fn needs_response(self) -> bool {
        matches!(self, Self::WarningNeedsResponse | Self::NeedsResponse)
    }
}

/// The decision about a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Won,
    Lost,
    /// The inquiry becomes a chargeback.
    Escalated,
}

impl Verdict {
    /// Returns the verdict that a text of evidence forces
    /// (<https://docs.stripe.com/testing#evidence>).
    pub(crate) fn forced_by(evidence: &str) -> Option<Self> {
        match evidence {
            "winning_evidence" => Some(Self::Won),
            "losing_evidence" => Some(Self::Lost),
            "escalate_inquiry_evidence" => Some(Self::Escalated),
            _ => None,
        }
    }
}

/// The parameters that update a dispute (<https://docs.stripe.com/api/disputes/update>).
#[derive(Debug)]
pub(crate) struct DisputeUpdate {
    pub(crate) evidence: Map<String, Value>,
    /// Whether to send the evidence to the bank.
    pub(crate) submit: bool,
    pub(crate) metadata: Map<String, Value>,
}

/// A movement of funds between the account's balance and the bank.
#[derive(Debug)]
pub(crate) struct Funds {
    /// The id of the balance transaction.
    pub(crate) id: String,
    /// The time of the movement, in seconds since the Unix epoch.
    pub(crate) at: u64,
}

#[derive(Debug)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) charge: String,
    pub(crate) payment_intent: String,
    /// The disputed amount in US cents.
    pub(crate) amount: u32,
    pub(crate) currency: String,
    /// The time at which the dispute was created, in seconds since the Unix epoch.
    pub(crate) created: u64,
    pub(crate) claim: &'static Claim,
    pub(crate) status: DisputeStatus,
    pub(crate) evidence: Map<String, Value>,
    pub(crate) submissions: u32,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) withdrawn: Option<Funds>,
    pub(crate) reinstated: Option<Funds>,
    pub(crate) livemode: bool,
}

impl Dispute {
    /// Whether the charge cannot be refunded, because the bank has withdrawn its amount.
    pub(crate) fn blocks_refunds(&self) -> bool {
        self.withdrawn.is_some() && self.reinstated.is_none()
    }

    /// Returns the API object of the dispute.
    pub(crate) fn object(&self) -> Value {
        let inquiry = self.status.is_inquiry();
        let network_code = match inquiry {
            true => self.claim.inquiry_code,
            false => self.claim.chargeback_code,
        };
        let mut evidence = json!({"enhanced_evidence": {}, "uncategorized_text": null});
        if let Value::Object(evidence) = &mut evidence {
            evidence.extend(self.evidence.clone());
        }
        json!({
            "id": self.id,
            "object": "dispute",
            "amount": self.amount,
            "balance_transactions": self.balance_transactions(),
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency,
            "enhanced_eligibility_types": [],
            "evidence": evidence,
            "evidence_details": {
                "due_by": self.created + RESPONSE_TIME,
                "enhanced_eligibility": {},
                "has_evidence": !self.evidence.is_empty(),
                "past_due": false,
                "submission_count": self.submissions,
            },
            "intended_submission_method": null,
            "is_charge_refundable": !self.blocks_refunds(),
            "livemode": self.livemode,
            "metadata": self.metadata,
            "network_reason_code": network_code,
            "payment_intent": self.payment_intent,
            "payment_method_details": {
                "card": {
                    "brand": "visa",
                    "case_type": if inquiry { "inquiry" } else { "chargeback" },
                    "network": "visa",
                    "network_reason_code": network_code,
                },
                "type": "card",
            },
            "reason": self.claim.reason,
            "status": self.status.name(),
        })
    }

    fn balance_transactions(&self) -> Vec<Value> {
        let amount = i64::from(self.amount);
        let movements = [(&self.withdrawn, -1), (&self.reinstated, 1)];
        let movement = |(funds, sign): (&Option<Funds>, i64)| {
            let funds = funds.as_ref()?;
            let fee = -sign * FEE;
            Some(json!({
                "id": funds.id,
                "object": "balance_transaction",
                "amount": sign * amount,
                "available_on": funds.at,
                "balance_type": "payments",
                "created": funds.at,
                "currency": self.currency,
                "description": format!("Chargeback {} for {}", if sign < 0 { "withdrawal" } else { "reversal" }, self.charge),
                "exchange_rate": null,
                "fee": fee,
                "fee_details": [{
                    "amount": fee,
                    "application": null,
                    "currency": self.currency,
                    "description": "Dispute fee",
                    "type": "stripe_fee",
                }],
                "net": sign * amount - fee,
                "reporting_category": if sign < 0 { "dispute" } else { "dispute_reversal" },
                "source": self.id,
                "status": "available",
                "type": "adjustment",
            }))
        };
        movements.into_iter().filter_map(movement).collect()
    }
}
