//! The scenarios of a purchase. A scenario sets the cards, the steps of the people involved, the timing of Stripe's
//! events, and the functions whose calls fail.

use crate::call::BY_SMS; // part: notify
use crate::call::CHARGE;
use crate::failure::{Failure, Fault};

pub(crate) const PURCHASE: &str = "billing-purchase";
pub(crate) const RESUME: &str = "billing-resume";
pub(crate) const CANCEL: &str = "billing-cancel";
pub(crate) const WEBHOOK: &str = "billing-webhook";
pub(crate) const PURCHASE_PAID: &str = "billing-purchase-paid";
pub(crate) const RECONCILE: &str = "billing-reconcile";
pub(crate) const LIST: &str = "billing-list";
pub(crate) const NOTIFY: &str = "notify-send"; // part: notify
pub(crate) const CREDIT: &str = "notes-credit";
pub(crate) const CREATE: &str = "notes-create";
pub(crate) const DELETE: &str = "notes-delete";
pub(crate) const STORAGE: &str = "notes-storage";

/// The names of the functions that process payments, and of those that count notes or show the storage.
pub(crate) const FUNCTIONS: &[&str] = &[
    PURCHASE,
    RESUME,
    CANCEL,
    WEBHOOK,
    PURCHASE_PAID,
    RECONCILE,
    LIST,
    NOTIFY, // part: notify
    CREDIT,
    CREATE,
    DELETE,
    STORAGE,
];

const CANCEL_PAYMENT: &str = "Stripe POST payment_intents/{id}/cancel";

const VISA: &str = "tok_visa";
const THREE_D_SECURE: &str = "pm_card_threeDSecure2Required";

/// A step of a scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// The client orders, with the source of this index in [`Scenario::sources`].
    Order(usize),
    /// The client continues the open order.
    Resume,
    /// The client cancels the open order.
    Cancel,
    /// The cardholder completes the authentication that Stripe requests.
    Authenticate,
    /// The bank charges the card of the payment that it has been processing. In a scenario with this step, the bank
    /// processes payments until this step.
    Process,
    /// billing-reconcile runs on schedule until no work is due.
    Reconcile,
    /// A request to charge the card arrives at Stripe without a function that waits for it: a request that was delayed
    /// on its way, or one with an idempotency key that Stripe has deleted.
    StrayCharge,
    /// Support refunds this amount of the charge in the Stripe Dashboard. `None` for what is left.
    Refund(Option<u32>),
    /// The bank acts: it opens a dispute, or a refund fails.
    Bank,
    /// The shop sends this text as evidence in the dispute, and the bank decides.
    Evidence(&'static str),
    /// Stripe delivers a signed event that contradicts what is known about the payment.
    ContradictingEvent,
    /// The client creates the note of this number. The response has this status.
    CreateNote(usize, u64),
    /// The client deletes the note of this number.
    DeleteNote(usize),
}

/// When Stripe delivers its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// Immediately after the step that causes them.
    Immediate,
    /// After the last invocation of billing-reconcile.
    Late,
    /// After the last step, the newest first.
    Reversed,
}

/// The invocations of a function into whose calls the sweep injects failures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// The invocation with this number and later ones. The first has the number 1.
    Run(usize),
    /// The invocations in the step of this index and in later ones.
    Step(usize),
}

const ALL: From = From::Run(1);

/// The conditions of one simulated purchase. The sweep simulates each scenario many times, each time with a different
/// injected failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// The name of the scenario in the report.
    pub(crate) name: &'static str,
    /// The tokens or PaymentMethods that the client sends as `source`, one for each order.
    pub(crate) sources: &'static [&'static str],
    /// A failure that every simulation of the scenario includes: the function, the name of a call in the function's
    /// first invocation, and how the call fails.
    pub(crate) initial_failure: Option<(&'static str, &'static str, Failure)>,
    /// The steps, in order. After the last one, billing-reconcile runs and Stripe delivers its events until no work is
    /// left.
    pub(crate) steps: &'static [Step],
    /// Whether the client repeats its order until it has a final response. If false, the client sends one request.
    pub(crate) client_retries: bool,
    /// When Stripe delivers its events.
    pub(crate) events: Events,
    /// The number of minutes by which the simulation advances its clock immediately before the first invocation of
    /// billing-reconcile.
    pub(crate) first_reconcile: u64,
    /// Whether the stream of the table Purchases contains a record that billing-purchase-paid cannot read.
    pub(crate) has_poison: bool,
    /// Whether the stream of the table Purchases is delivered. If false, its records are too old.
    pub(crate) has_stream: bool,
    /// The functions into whose calls the sweep injects failures, and in which invocations.
    pub(crate) sweeps: &'static [(&'static str, From)],
}

const DEFAULT: Scenario = Scenario {
    name: "",
    sources: &[VISA],
    initial_failure: None,
    steps: &[Step::Order(0)],
    client_retries: true,
    events: Events::Immediate,
    first_reconcile: 2,
    has_poison: false,
    has_stream: true,
    sweeps: &[],
};

/// Returns a scenario in which the client sends only one request. While billing-purchase handles this request, its call
/// `call` fails. After this, only billing-reconcile and late Stripe events can settle the purchase.
const fn abandoned(name: &'static str, call: &'static str, failure: Failure) -> Scenario {
    Scenario {
        name,
        initial_failure: Some((PURCHASE, call, failure)),
        client_retries: false,
        events: Events::Late,
        sweeps: &[(RECONCILE, ALL)],
        ..DEFAULT
    }
}

/// Returns a scenario in which the charge in the first request of the client fails in this way, and the client repeats
/// the request.
const fn retry(name: &'static str, failure: Failure) -> Scenario {
    Scenario {
        client_retries: true,
        sweeps: &[(PURCHASE, From::Run(2))],
        ..abandoned(name, CHARGE, failure)
    }
}

/// All scenarios that the sweep simulates. Together, they include every call of every function in [`FUNCTIONS`].
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "good card",
        sweeps: &[
            (PURCHASE, ALL),
            (WEBHOOK, ALL),
            (PURCHASE_PAID, ALL),
            (NOTIFY, ALL), // part: notify
            (CREDIT, ALL),
            (LIST, ALL),
            (STORAGE, ALL),
        ],
        ..DEFAULT
    },
    Scenario {
        name: "declined card",
        sources: &["tok_chargeDeclinedLostCard"],
        sweeps: &[(PURCHASE, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "unknown source",
        sources: &["tok_nobody"],
        sweeps: &[(PURCHASE, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure",
        sources: &[THREE_D_SECURE],
        steps: &[Step::Order(0), Step::Authenticate],
        sweeps: &[(PURCHASE, ALL), (WEBHOOK, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, webhook late",
        sources: &[THREE_D_SECURE],
        steps: &[Step::Order(0), Step::Authenticate, Step::Order(0)],
        events: Events::Late,
        sweeps: &[(PURCHASE, From::Run(2))],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, abandoned",
        sources: &[THREE_D_SECURE],
        sweeps: &[(RECONCILE, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, resumed",
        sources: &[THREE_D_SECURE],
        steps: &[
            Step::Order(0),
            Step::Resume,
            Step::Authenticate,
            Step::Resume,
        ],
        events: Events::Late,
        sweeps: &[(RESUME, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "3-D Secure, canceled",
        sources: &[THREE_D_SECURE, VISA],
        steps: &[Step::Order(0), Step::Cancel, Step::Order(1)],
        sweeps: &[(CANCEL, ALL), (PURCHASE, From::Step(2))],
        ..DEFAULT
    },
    Scenario {
        name: "canceled after the payment",
        sources: &[THREE_D_SECURE],
        steps: &[Step::Order(0), Step::Authenticate, Step::Cancel],
        events: Events::Late,
        sweeps: &[(CANCEL, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "slow bank",
        steps: &[Step::Order(0), Step::Process],
        sweeps: &[(PURCHASE, From::Run(2))],
        ..DEFAULT
    },
    retry("retry, not charged", Failure::KilledBefore),
    retry("retry, charged", Failure::KilledAfter),
    retry("retry, 500 and charged", Failure::Failed),
    retry("retry, 500 and not charged", Failure::FailedUndone),
    Scenario {
        name: "good card, client gone",
        client_retries: false,
        events: Events::Late,
        sweeps: &[(PURCHASE, ALL)],
        ..DEFAULT
    },
    abandoned("abandoned uncharged", CHARGE, Failure::KilledBefore),
    abandoned("abandoned charged", CHARGE, Failure::KilledAfter),
    abandoned(
        "abandoned, 500 and not charged",
        CHARGE,
        Failure::FailedUndone,
    ),
    Scenario {
        sources: &["tok_chargeDeclinedInsufficientFunds"],
        ..abandoned("abandoned declined", CANCEL_PAYMENT, Failure::KilledBefore)
    },
    Scenario {
        sources: &["tok_chargeDeclinedInsufficientFunds"],
        ..abandoned("abandoned canceled", CANCEL_PAYMENT, Failure::KilledAfter)
    },
    Scenario {
        first_reconcile: 70,
        ..abandoned("abandoned an hour", CHARGE, Failure::KilledBefore)
    },
    Scenario {
        events: Events::Immediate,
        sweeps: &[(WEBHOOK, ALL)],
        ..abandoned("abandoned charged, webhook", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        steps: &[Step::Order(0), Step::Resume],
        sweeps: &[(RESUME, ALL)],
        ..abandoned("uncharged, resumed", CHARGE, Failure::KilledBefore)
    },
    Scenario {
        steps: &[Step::Order(0), Step::Cancel],
        sweeps: &[(CANCEL, ALL)],
        ..abandoned("uncharged, canceled", CHARGE, Failure::KilledBefore)
    },
    Scenario {
        steps: &[Step::Order(0), Step::Cancel],
        sweeps: &[(CANCEL, ALL)],
        ..abandoned("charged, canceled", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        steps: &[Step::Order(0), Step::Reconcile, Step::StrayCharge],
        first_reconcile: 70,
        events: Events::Immediate,
        sweeps: &[
            (WEBHOOK, From::Step(2)),
            (PURCHASE_PAID, From::Step(2)),
            (NOTIFY, From::Step(2)), // part: notify
        ],
        ..abandoned("charged after it failed", CHARGE, Failure::KilledBefore)
    },
    Scenario {
        name: "charged twice",
        steps: &[Step::Order(0), Step::StrayCharge],
        sweeps: &[(WEBHOOK, From::Step(1))],
        ..DEFAULT
    },
    Scenario {
        steps: &[Step::Order(0), Step::StrayCharge],
        ..abandoned("abandoned, charged twice", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        name: "refund",
        steps: &[
            Step::Order(0),
            Step::Refund(Some(1_001)),
            Step::Refund(None),
        ],
        sweeps: &[
            (WEBHOOK, From::Step(1)),
            (PURCHASE_PAID, From::Step(1)),
            (CREDIT, From::Step(1)),
        ],
        ..DEFAULT
    },
    Scenario {
        steps: &[
            Step::Order(0),
            Step::Refund(Some(1_001)),
            Step::Refund(None),
        ],
        events: Events::Reversed,
        sweeps: &[(WEBHOOK, ALL)],
        ..abandoned("refund before the success", CHARGE, Failure::KilledAfter)
    },
    Scenario {
        name: "failing refund",
        sources: &["tok_refundFail"],
        steps: &[Step::Order(0), Step::Refund(None), Step::Bank],
        sweeps: &[(WEBHOOK, From::Step(2)), (CREDIT, From::Step(2))],
        ..DEFAULT
    },
    Scenario {
        name: "dispute, lost",
        sources: &["tok_createDispute"],
        steps: &[
            Step::Order(0),
            Step::Bank,
            Step::Evidence("losing_evidence"),
        ],
        sweeps: &[
            (WEBHOOK, From::Step(1)),
            (NOTIFY, From::Step(1)), // part: notify
            (CREDIT, From::Step(2)),
        ],
        ..DEFAULT
    },
    Scenario {
        name: "dispute, won",
        sources: &["tok_createDispute"],
        steps: &[
            Step::Order(0),
            Step::Bank,
            Step::Evidence("winning_evidence"),
        ],
        events: Events::Reversed,
        sweeps: &[(WEBHOOK, From::Step(1))],
        ..DEFAULT
    },
    Scenario {
        name: "contradicting event",
        steps: &[Step::Order(0), Step::ContradictingEvent],
        sweeps: &[(WEBHOOK, From::Step(1))],
        ..DEFAULT
    },
    // part: notify {
    Scenario {
        name: "retry of the SMS",
        initial_failure: Some((NOTIFY, BY_SMS, Failure::KilledBefore)),
        sweeps: &[(NOTIFY, From::Run(2))],
        ..DEFAULT
    },
    // part: notify }
    Scenario {
        name: "poison in the stream",
        has_poison: true,
        sweeps: &[(PURCHASE_PAID, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "stream too late",
        has_stream: false,
        sweeps: &[(RECONCILE, ALL)],
        ..DEFAULT
    },
    Scenario {
        name: "full storage",
        steps: &[
            Step::CreateNote(0, 201),
            Step::CreateNote(1, 201),
            Step::CreateNote(2, 409),
            Step::Order(0),
            Step::CreateNote(3, 201),
            Step::DeleteNote(0),
            Step::Refund(None),
            Step::CreateNote(4, 409),
            Step::DeleteNote(1),
            Step::CreateNote(5, 201),
        ],
        sweeps: &[(CREATE, ALL), (DELETE, ALL)],
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

    /// The number of charges that are made by a step of the scenario, and not by a function.
    pub(crate) fn stray_charges(&self) -> usize {
        let steps = self.steps.iter();
        steps.filter(|step| **step == Step::StrayCharge).count()
    }
}
