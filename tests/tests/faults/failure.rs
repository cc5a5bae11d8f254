//! The ways in which a call can fail.

/// How a call fails, and what happens to the function that makes the call. Unless the failure is once,
/// every retry of the call in the same run fails too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function is killed before the call is sent.
    KilledBefore,
    /// The call is executed, and the function is killed before it receives the response.
    KilledAfter,
    /// The call is executed, and the connection breaks before the response. Retries succeed.
    LostOnce,
    /// Like [`Failure::LostOnce`], but retries fail in the same way.
    Lost,
    /// The call is executed, and the response comes after the caller's timeout. Retries succeed.
    LateOnce,
    /// Like [`Failure::LateOnce`], but retries fail in the same way.
    Late,
    /// The service throttles the call and does not execute it.
    Throttled,
    /// The service executes the call, but responds with 500. DynamoDB can do so:
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
    /// Stripe repeats this response for every request with the same idempotency key.
    Failed,
}

impl Failure {
    /// All failures, in the order of the report's columns.
    pub(crate) const ALL: [Self; 8] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::LostOnce,
        Self::Lost,
        Self::LateOnce,
        Self::Late,
        Self::Throttled,
        Self::Failed,
    ];

    /// The name of the failure in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::LostOnce => "lost once",
            Self::Lost => "lost",
            Self::LateOnce => "late once",
            Self::Late => "late",
            Self::Throttled => "throttled",
            Self::Failed => "500",
        }
    }

    /// Whether retries of the call in the same run fail as well.
    pub(crate) fn is_persistent(self) -> bool {
        !matches!(self, Self::LostOnce | Self::LateOnce)
    }

    /// Whether the service executes the call.
    pub(crate) fn is_executed(self) -> bool {
        !matches!(self, Self::KilledBefore | Self::Throttled)
    }
}

/// A call that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The function that makes the call.
    pub(crate) function: &'static str,
    /// The number of the function's run, from 1.
    pub(crate) run: usize,
    /// The name of the call.
    pub(crate) call: String,
    /// The position among the calls of this name in the run, from 1.
    pub(crate) nth: usize,
    pub(crate) failure: Failure,
}
