//! Lives of a purchase: what its card is, who comes back after a failure, and which functions' calls
//! fail in it.

use std::time::Duration;

use crate::failure::{Failure, Fault};

pub(crate) const PURCHASE: &str = "billing-purchase";
pub(crate) const WEBHOOK: &str = "billing-webhook";
pub(crate) const PURCHASE_PAID: &str = "billing-purchase-paid";
pub(crate) const NOTIFY: &str = "notify-send";
pub(crate) const RECONCILE: &str = "billing-reconcile";

/// The functions through which money goes.
pub(crate) const FUNCTIONS: [&str; 5] = [PURCHASE, WEBHOOK, PURCHASE_PAID, NOTIFY, RECONCILE];

const CHARGE: &str = "Stripe POST payment_intents";
const CANCEL: &str = "Stripe POST payment_intents/{id}/cancel";

/// One life, before anything fails in it that the sweep adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// What is to pay.
    pub(crate) source: &'static str,
    /// The call that fails always: of which function, in its first run, and how.
    pub(crate) always: Option<(&'static str, &'static str, Failure)>,
    /// Whether the client asks until it has a final answer. If not, it asks once.
    pub(crate) client_repeats: bool,
    /// Whether the card's owner shows that it is theirs, when asked to.
    pub(crate) owner_acts: bool,
    /// Whether Stripe tells of what happens at once. If not, it does when all else has been done.
    pub(crate) is_told_at_once: bool,
    /// Minutes after which reconcile runs for the first time.
    pub(crate) first_look: u64,
    /// How far what is found at Stripe is behind.
    pub(crate) search_lag: Duration,
    /// Whether there is a record in the table's stream that nobody can read.
    pub(crate) has_poison: bool,
    /// The functions whose calls fail, each from which of its runs on.
    pub(crate) sweeps: &'static [(&'static str, usize)],
}

const ORDINARY: Life = Life {
    name: "",
    source: "tok_visa",
    always: None,
    client_repeats: true,
    owner_acts: true,
    is_told_at_once: true,
    first_look: 2,
    search_lag: Duration::from_secs(60),
    has_poison: false,
    sweeps: &[],
};

/// The client asked once, and the function was killed where it says.
const fn left(name: &'static str, call: &'static str, failure: Failure) -> Life {
    Life {
        name,
        always: Some((PURCHASE, call, failure)),
        client_repeats: false,
        is_told_at_once: false,
        sweeps: &[(RECONCILE, 1)],
        ..ORDINARY
    }
}

/// All lives of the sweep: each call of each function is reached in one of them.
pub(crate) const LIVES: &[Life] = &[
    Life {
        name: "good card",
        sweeps: &[(PURCHASE, 1), (WEBHOOK, 1), (PURCHASE_PAID, 1), (NOTIFY, 1)],
        ..ORDINARY
    },
    Life {
        name: "declined card",
        source: "tok_chargeDeclined",
        sweeps: &[(PURCHASE, 1)],
        ..ORDINARY
    },
    Life {
        name: "unknown source",
        source: "tok_nobody",
        sweeps: &[(PURCHASE, 1)],
        ..ORDINARY
    },
    Life {
        name: "3-D Secure",
        source: "pm_card_threeDSecure2Required",
        sweeps: &[(PURCHASE, 1), (WEBHOOK, 1)],
        ..ORDINARY
    },
    Life {
        name: "3-D Secure, webhook late",
        source: "pm_card_threeDSecure2Required",
        is_told_at_once: false,
        sweeps: &[(PURCHASE, 2)],
        ..ORDINARY
    },
    Life {
        name: "3-D Secure, abandoned",
        source: "pm_card_threeDSecure2Required",
        owner_acts: false,
        sweeps: &[(RECONCILE, 1)],
        ..ORDINARY
    },
    Life {
        name: "second try, not charged",
        always: Some((PURCHASE, CHARGE, Failure::KilledBefore)),
        is_told_at_once: false,
        sweeps: &[(PURCHASE, 2)],
        ..ORDINARY
    },
    Life {
        name: "second try, charged",
        always: Some((PURCHASE, CHARGE, Failure::KilledAfter)),
        is_told_at_once: false,
        sweeps: &[(PURCHASE, 2)],
        ..ORDINARY
    },
    Life {
        name: "second try, Stripe failed",
        always: Some((PURCHASE, CHARGE, Failure::Failed)),
        is_told_at_once: false,
        sweeps: &[(PURCHASE, 2)],
        ..ORDINARY
    },
    Life {
        name: "good card, client gone",
        client_repeats: false,
        is_told_at_once: false,
        sweeps: &[(PURCHASE, 1)],
        ..ORDINARY
    },
    left("left uncharged", CHARGE, Failure::KilledBefore),
    left("left charged", CHARGE, Failure::KilledAfter),
    Life {
        name: "left charged, search behind",
        search_lag: Duration::from_secs(60 * 60),
        ..left("", CHARGE, Failure::KilledAfter)
    },
    Life {
        source: "tok_chargeDeclined",
        ..left("left declined", CANCEL, Failure::KilledBefore)
    },
    Life {
        name: "left uncharged, an hour",
        first_look: 70,
        ..left("", CHARGE, Failure::KilledBefore)
    },
    Life {
        name: "left charged, webhook",
        is_told_at_once: true,
        sweeps: &[(WEBHOOK, 1)],
        ..left("", CHARGE, Failure::KilledAfter)
    },
    Life {
        name: "second try of the SMS",
        always: Some((NOTIFY, crate::call::BY_SMS, Failure::KilledBefore)),
        sweeps: &[(NOTIFY, 2)],
        ..ORDINARY
    },
    Life {
        name: "poison in the stream",
        has_poison: true,
        sweeps: &[(PURCHASE_PAID, 1)],
        ..ORDINARY
    },
];

impl Life {
    /// Whether it is the first of the lives in which calls of this function fail.
    pub(crate) fn is_first_of(&self, function: &str) -> bool {
        let sweeps = |life: &&Self| life.sweeps.iter().any(|(swept, _)| *swept == function);
        let first = LIVES.iter().find(sweeps);
        first.is_some_and(|first| first.name == self.name)
    }

    /// The call that fails always.
    pub(crate) fn always(&self) -> Option<Fault> {
        self.always.map(|(function, call, failure)| Fault {
            function,
            run: 1,
            call: call.to_owned(),
            nth: 1,
            failure,
        })
    }
}
