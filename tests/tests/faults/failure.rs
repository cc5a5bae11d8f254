//! The ways in which a call of a function to a service can fail.

/// How a call fails, and what happens to the function that makes the call. Retries of the call in the same invocation
/// of the function fail too, except for [`Failure::LostOnce`] and [`Failure::LateOnce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function is killed before the call is sent.
    KilledBefore,
    /// The service executes the call, and the function is killed before it receives the response.
    KilledAfter,
    /// The service executes the call, and the connection breaks before the response. Retries of the call succeed.
    LostOnce,
    /// The same as [`Failure::LostOnce`], but retries of the call fail in the same way.
    Lost,
    /// The service executes the call, but the function's timeout for the call ends before the response. Retries of the
    /// call succeed.
    LateOnce,
    /// The same as [`Failure::LateOnce`], but retries of the call fail in the same way.
    Late,
    /// The service throttles the call and does not execute it. A transaction of DynamoDB conflicts with another one.
    Throttled,
    /// The service executes the call, but responds with status 500. DynamoDB can do so:
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
    /// Stripe sends the same response to every later request with the same idempotency key.
    Failed,
    /// The same as [`Failure::Failed`], but the service does not execute the call. Stripe sends the same response to
    /// every later request with the same idempotency key, and never executes it.
    FailedUndone,
}

impl Failure {
    /// All kinds of failure, in the order of the columns in the sweep's report.
    pub(crate) const ALL: [Self; 9] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::LostOnce,
        Self::Lost,
        Self::LateOnce,
        Self::Late,
        Self::Throttled,
        Self::Failed,
        Self::FailedUndone,
    ];

    /// Returns the name of the failure in the sweep's report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::LostOnce => "lost once",
            Self::Lost => "lost",
            Self::LateOnce => "late once",
            Self::Late => "late",
            Self::Throttled => "throttled",
            Self::Failed => "500, done",
            Self::FailedUndone => "500, not done",
        }
    }

    /// Whether retries of a failed call in the same invocation of the function fail as well.
    pub(crate) fn is_persistent(self) -> bool {
        !matches!(self, Self::LostOnce | Self::LateOnce)
    }

    // part: notify {
    /// Whether the service executes a call that fails in this way.
    pub(crate) fn is_executed(self) -> bool {
        !matches!(
            self,
            Self::KilledBefore | Self::Throttled | Self::FailedUndone
        )
    }
    // part: notify }
}

/// A failure to inject into one call of one invocation (a run) of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The function that makes the call.
    pub(crate) function: &'static str,
    /// The number of the invocation in which the call fails: 1 for the function's first invocation in the simulation.
    pub(crate) run: usize,
    /// The name of the call that fails.
    pub(crate) call: String,
    /// The position of the call among all calls with the same name in this invocation: 1 for the first.
    pub(crate) nth: usize,
    pub(crate) failure: Failure,
}
