//! The ways in which a call fails.

/// What happens to a call, and to who made it. What is not said to be once goes on for every
/// repetition of the call in the same run: a service that is down is not up a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function is killed; the call is never sent.
    KilledBefore,
    /// The call is carried out, and the function is killed before it hears of it.
    KilledAfter,
    /// The call is carried out, and the connection breaks in place of an answer. Once.
    LostOnce,
    /// As [`Failure::LostOnce`], time and again.
    Lost,
    /// The call is carried out, and the answer comes after the caller has stopped waiting. Once.
    LateOnce,
    /// As [`Failure::LateOnce`], time and again.
    Late,
    /// The service has too much to do: it says so, and does nothing.
    Throttled,
    /// The service answers 500. It has carried the call out all the same, for that may be:
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
    /// Stripe gives that answer again to whoever comes with the same idempotency key.
    Failed,
}

impl Failure {
    /// All of them, in the order of the table's columns.
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

    /// Its column's head.
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

    /// Whether repetitions of the call in the same run fail as well.
    pub(crate) fn lasts(self) -> bool {
        !matches!(self, Self::LostOnce | Self::LateOnce)
    }

    /// Whether the call has its effect.
    pub(crate) fn is_carried_out(self) -> bool {
        !matches!(self, Self::KilledBefore | Self::Throttled)
    }
}

/// One call that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The function that makes it.
    pub(crate) function: &'static str,
    /// In which of its runs, from 1.
    pub(crate) run: usize,
    /// The call's name.
    pub(crate) call: String,
    /// Which of the calls of that name in that run, from 1.
    pub(crate) nth: usize,
    pub(crate) failure: Failure,
}
