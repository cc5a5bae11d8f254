//! Bugs that the schedules must reveal.

use std::fmt;

/// A bug in a service, or in how a function uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    SettleWithoutCondition,
    FailWithoutComparison,
    PostponeWithoutCondition,
    NoIdempotencyKey,
    NoCancel,
    CancelIgnoresSuccess,
    SurplusNotRefunded,
    RefundWithoutKey,
    OrderWithoutCondition,
    ReviseWithoutRevision,
    OutboxClearedWithoutRevision,
    NotifyWithoutClaim, // part: notify
    CreditWithoutRevision,
    CreateWithoutClaim,
    CountWithoutTransaction,
    CountWithoutCondition,
    DeleteCountsTwice,
}

/// All bugs, each with the name of the scenario that reveals it.
pub(crate) const ALL: &[(Bug, &str)] = &[
    (Bug::SettleWithoutCondition, "an order is canceled"),
    (
        Bug::FailWithoutComparison,
        "an order with 3-D Secure is canceled",
    ),
    (
        Bug::PostponeWithoutCondition,
        "an order with 3-D Secure is canceled",
    ),
    (Bug::NoIdempotencyKey, "a valid card"),
    (Bug::NoCancel, "3-D Secure"),
    (Bug::CancelIgnoresSuccess, "3-D Secure"),
    (
        Bug::SurplusNotRefunded,
        "a second charge of a paid purchase",
    ),
    (Bug::RefundWithoutKey, "a second charge of a paid purchase"),
    (Bug::OrderWithoutCondition, "two orders at once"),
    (Bug::ReviseWithoutRevision, "a partial and a full refund"),
    (
        Bug::OutboxClearedWithoutRevision,
        "a dispute while the stream is lost",
    ),
    (Bug::NotifyWithoutClaim, "a paid purchase is announced"), // part: notify
    (Bug::CreditWithoutRevision, "a paid purchase is announced"),
    (
        Bug::CreateWithoutClaim,
        "a note is created twice and deleted",
    ),
    (
        Bug::CountWithoutTransaction,
        "three notes, with room for two",
    ),
    (Bug::CountWithoutCondition, "three notes, with room for two"),
    (
        Bug::DeleteCountsTwice,
        "two notes are deleted while one is created",
    ),
];

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SettleWithoutCondition => {
                "settle a purchase without the condition that it is PENDING"
            }
            Self::FailWithoutComparison => "settle as FAILED without comparing the PaymentIntent",
            Self::PostponeWithoutCondition => "report an order as PENDING without checking it",
            Self::NoIdempotencyKey => "charge the card without an idempotency key",
            Self::NoCancel => "settle as FAILED without canceling the payment",
            Self::CancelIgnoresSuccess => "report a payment as canceled although it has succeeded",
            Self::SurplusNotRefunded => "record a surplus charge without refunding it",
            Self::RefundWithoutKey => "refund a charge without an idempotency key",
            Self::OrderWithoutCondition => {
                "store an order without the condition that no other is open"
            }
            Self::ReviseWithoutRevision => {
                "store a new revision without the condition on the old one"
            }
            Self::OutboxClearedWithoutRevision => {
                "empty the outbox without the condition on the revision"
            }
            Self::NotifyWithoutClaim => "send an SMS without a claim", // part: notify
            Self::CreditWithoutRevision => "store a credit without the condition on the old one",
            Self::CreateWithoutClaim => "create a note without a claim",
            Self::CountWithoutTransaction => "store and count a note in two writes",
            Self::CountWithoutCondition => "check for room in a read before the write",
            Self::DeleteCountsTwice => "count a note that is already deleted",
        })
    }
}
