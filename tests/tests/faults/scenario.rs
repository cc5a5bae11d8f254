//! The scenarios of a purchase. A scenario sets the card, the client's behavior, and the functions whose calls fail.

use std::time::Duration;

use crate::failure::{Failure, Fault};

pub(crate) const PURCHASE: &str = "billing-purchase";
pub(crate) const WEBHOOK: &str = "billing-webhook";
pub(crate) const PURCHASE_PAID: &str = "billing-purchase-paid";
pub(crate) const NOTIFY: &str = "notify-send";
pub(crate) const RECONCILE: &str = "billing-reconcile";

/// The names of the functions that process payments.
pub(crate) const FUNCTIONS: [&str; 5] = [PURCHASE, WEBHOOK, PURCHASE_PAID, NOTIFY, RECONCILE];

const CHARGE: &str = "Stripe POST payment_intents";
const CANCEL: &str = "Stripe POST payment_intents/{id}/cancel";

/// The conditions of one simulated purchase: the card, the client's behavior, and the timing of Stripe's events. The
/// sweep simulates each scenario many times, each time with a different injected failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// The name of the scenario in the report.
    pub(crate) name: &'static str,
    /// The token or PaymentMethod that the client sends as `source`.
    pub(crate) source: &'static str,
    /// A failure that every simulation of the scenario includes: the function, the name of a call in the function's
    /// first invocation, and how the call fails.
    pub(crate) initial_failure: Option<(&'static str, &'static str, Failure)>,
    /// Whether the client repeats its request until it has a final response. If false, the client sends one request.
    pub(crate) client_retries: bool,
    /// Whether the cardholder completes the authentication that Stripe requests.
    pub(crate) cardholder_authenticates: bool,
    /// Whether Stripe delivers each event immediately. If false, Stripe delivers all events after the last invocation
    /// of billing-reconcile.
    pub(crate) events_are_immediate: bool,
    /// The number of minutes by which the simulation advances its clock immediately before the first invocation of
    /// billing-reconcile.
    pub(crate) first_reconcile: u64,
    /// The time until Stripe's search API finds a new PaymentIntent.
    pub(crate) search_lag: Duration,
    /// Whether the stream of the table Purchases contains a record that billing-purchase-paid cannot read.
    pub(crate) has_poison: bool,
    /// The functions into whose calls the sweep injects failures, and for each function the number of its first
    /// invocation with such a failure. 1 means that a call of any invocation can fail.
    pub(crate) sweeps: &'static [(&'static str, usize)],
}

const DEFAULT: Scenario = Scenario {
    name: "",
    source: "tok_visa",
    initial_failure: None,
    client_retries: true,
    cardholder_authenticates: true,
    events_are_immediate: true,
    first_reconcile: 2,
    search_lag: Duration::from_secs(60),
    has_poison: false,
    sweeps: &[],
};

/// Returns a scenario in which the client sends only one request. While billing-purchase handles this request, its call
/// `call` fails. After this, only billing-reconcile and late Stripe events can settle the purchase.
const fn abandoned(name: &'static str, call: &'static str, failure: Failure) -> Scenario {
    Scenario {
        name,
        initial_failure: Some((PURCHASE, call, failure)),
        client_retries: false,
        events_are_immediate: false,
        sweeps: &[(RECONCILE, 1)],
        ..DEFAULT
    }
}

/// All scenarios that the sweep simulates. Together, they include every call of every payment function.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "good card",
        sweeps: &[(PURCHASE, 1), (WEBHOOK, 1), (PURCHASE_PAID, 1), (NOTIFY, 1)],
        ..DEFAULT
    },
    Scenario {
        name: "declined card",
        source: "tok_chargeDeclined",
        sweeps: &[(PURCHASE, 1)],
        ..DEFAULT
    },
    Scenario {
        name: "unknown source",
        source: "tok_nobody",
        sweeps: &[(PURCHASE, 1)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure",
        source: "pm_card_threeDSecure2Required",
        sweeps: &[(PURCHASE, 1), (WEBHOOK, 1)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, webhook late",
        source: "pm_card_threeDSecure2Required",
        events_are_immediate: false,
        sweeps: &[(PURCHASE, 2)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, abandoned",
        source: "pm_card_threeDSecure2Required",
        cardholder_authenticates: false,
        sweeps: &[(RECONCILE, 1)],
        ..DEFAULT
    },
    Scenario {
        name: "retry, not charged",
        initial_failure: Some((PURCHASE, CHARGE, Failure::KilledBefore)),
        events_are_immediate: false,
        sweeps: &[(PURCHASE, 2)],
        ..DEFAULT
    },
    Scenario {
        name: "retry, charged",
        initial_failure: Some((PURCHASE, CHARGE, Failure::KilledAfter)),
        events_are_immediate: false,
        sweeps: &[(PURCHASE, 2)],
        ..DEFAULT
    },
    Scenario {
        name: "retry, Stripe failed",
        initial_failure: Some((PURCHASE, CHARGE, Failure::Failed)),
        events_are_immediate: false,
        sweeps: &[(PURCHASE, 2)],
        ..DEFAULT
    },
    Scenario {
        name: "good card, client gone",
        client_retries: false,
        events_are_immediate: false,
        sweeps: &[(PURCHASE, 1)],
        ..DEFAULT
    },
    abandoned("abandoned uncharged", CHARGE, Failure::KilledBefore),
    abandoned("abandoned charged", CHARGE, Failure::KilledAfter),
    Scenario {
        name: "abandoned charged, search delayed",
        search_lag: Duration::from_secs(60 * 60),
        ..abandoned("", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        source: "tok_chargeDeclined",
        ..abandoned("abandoned declined", CANCEL, Failure::KilledBefore)
    },
    Scenario {
        name: "abandoned uncharged, an hour",
        first_reconcile: 70,
        ..abandoned("", CHARGE, Failure::KilledBefore)
    },
    Scenario {
        name: "abandoned charged, webhook",
        events_are_immediate: true,
        sweeps: &[(WEBHOOK, 1)],
        ..abandoned("", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        name: "retry of the SMS",
        initial_failure: Some((NOTIFY, crate::call::BY_SMS, Failure::KilledBefore)),
        sweeps: &[(NOTIFY, 2)],
        ..DEFAULT
    },
    Scenario {
        name: "poison in the stream",
        has_poison: true,
        sweeps: &[(PURCHASE_PAID, 1)],
        ..DEFAULT
    },
];

impl Scenario {
    /// Whether this is the first of [`SCENARIOS`] in which the sweep injects failures into calls of `function`.
    pub(crate) fn is_first_of(&self, function: &str) -> bool {
        let sweeps = |scenario: &&Self| scenario.sweeps.iter().any(|(swept, _)| *swept == function);
        let first = SCENARIOS.iter().find(sweeps);
        first.is_some_and(|first| first.name == self.name)
    }

    /// Returns the failure that every simulation of this scenario includes. `None` if there is none.
    pub(crate) fn initial_fault(&self) -> Option<Fault> {
        self.initial_failure.map(|(function, call, failure)| Fault {
            function,
            run: 1,
            call: call.to_owned(),
            nth: 1,
            failure,
        })
    }
}
