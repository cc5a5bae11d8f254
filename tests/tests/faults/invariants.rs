//! The invariants that must hold at the end of every simulation.

use std::collections::BTreeMap; // part: notify
use std::collections::BTreeSet;

use local_stripe::Charge;
use serde_json::{Value, json};
use test_support::prices::{currency, money};

use crate::call::BY_SMS; // part: notify
use crate::call::UNKNOWN;
use crate::cloud::{NOTES, SECRET_TEXTS};
use crate::failure::Fault; // part: notify
use crate::scenario::NOTIFY; // part: notify
use crate::scenario::Step;
use crate::simulation::{
    BOUGHT, CONTRADICTION, FREE, FinalResponse, POISON, PRICE, Simulation, is_due, is_pending,
};

pub(crate) const CHARGED_ONCE: &str = "a card is charged at most once per order";
pub(crate) const SURPLUS_REFUNDED: &str =
    "every charge paid for its purchase, or is refunded and recorded";
pub(crate) const CHARGE_IS_VISIBLE: &str =
    "a person sees what Stripe charged, refunded and disputed, and why a card was declined";
pub(crate) const CREDIT_IS_EXACT: &str =
    "the storage of a person is what is free, plus bought, less refunded";
pub(crate) const USED_IS_EXACT: &str = "the count of notes is the number of existing notes";
pub(crate) const NOTES_ARE_CORRECT: &str =
    "a note exists if and only if the response said so, and is created if there is storage";
// part: notify {
pub(crate) const SMS_IS_SENT: &str = "an SMS is sent for every notice of a purchase";
pub(crate) const ONE_SMS: &str = "an SMS is sent again only after a crash or a lost response";
pub(crate) const SMS_IS_CORRECT: &str = "every SMS describes a notice of a purchase";
// part: notify }
pub(crate) const INTENTS_FINAL: &str = "every PaymentIntent is succeeded or canceled at the end";
pub(crate) const SETTLED: &str = "every purchase is settled and announced at the end";
pub(crate) const SETTLED_ONCE: &str =
    "a settled purchase changes only by a new revision, or by its announcement";
pub(crate) const ONE_PURCHASE: &str = "there is at most one purchase per order";
pub(crate) const CLIENT_GETS_RESULT: &str = "a client that retries gets the result";
pub(crate) const RESULT_IS_CORRECT: &str =
    "every final response is the same and describes the purchase";
pub(crate) const DELIVERIES_SUCCEED: &str = "every delivery succeeds eventually";
pub(crate) const DEAD_LETTERS: &str =
    "exactly the unreadable records and contradicting events are in the dead-letter queues";
pub(crate) const IDEMPOTENT: &str =
    "every request that charges or refunds a card has an idempotency key";
pub(crate) const ONLY_KNOWN_SERVICES: &str = "functions call only known services";
pub(crate) const NO_SECRET_LOGGED: &str = "no log line contains a secret";
pub(crate) const NO_PANIC: &str = "no function panics";

/// An invariant that does not hold at the end of a simulation, with the values that violate it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) found: String,
}

/// Checks all invariants at the end of a simulation. Returns the violated invariants.
pub(crate) fn violations(
    simulation: &Simulation,
    fault: Option<&Fault>, // part: notify
) -> Vec<Violation> {
    let mut violations = Violations(Vec::new());
    let purchases = simulation.cloud.purchases();
    let facts: Vec<_> = purchases
        .iter()
        .map(|item| Facts::of(simulation, item))
        .collect();
    violations.check_payments(simulation, &facts);
    violations.check_storage(simulation, &facts);
    violations.check_sms(simulation, &facts, fault); // part: notify
    violations.check_changes(simulation, &purchases);
    violations.check_responses(simulation, &facts);
    violations.check_deliveries(simulation);
    violations.check_calls_and_log(simulation);
    violations.0
}

/// A purchase in the table, and what Stripe says about it.
#[derive(Debug)]
struct Facts<'a> {
    /// The item in the table.
    item: &'a Value,
    /// The PaymentIntents with the ID of the purchase in their metadata.
    intents: Vec<Value>,
    /// The charges of these PaymentIntents that succeeded, except [`Facts::paid`].
    surplus: Vec<Charge>,
    /// The charge that succeeded and whose PaymentIntent is that of the item.
    paid: Option<Charge>,
    /// The disputes of `paid`.
    disputes: Vec<Value>,
}

impl<'a> Facts<'a> {
    fn of(simulation: &Simulation, item: &'a Value) -> Self {
        let stripe = &simulation.cloud.stripe;
        let mut intents = stripe.payment_intents();
        intents.retain(|intent| intent["metadata"]["purchaseId"] == item["purchaseId"]["S"]);
        let mut surplus = stripe.charges();
        surplus.retain(|charge| {
            let mut intents = intents.iter();
            charge.paid && intents.any(|intent| intent["id"] == charge.payment_intent.as_str())
        });
        let own = &item["paymentIntentId"]["S"];
        let own = surplus
            .iter()
            .position(|charge| own == charge.payment_intent.as_str());
        let paid = own.map(|index| surplus.remove(index));
        let mut disputes = stripe.disputes();
        disputes.retain(|dispute| {
            let paid = paid.as_ref().map(|paid| paid.id.as_str());
            dispute["charge"].as_str() == paid
        });
        Self {
            item,
            intents,
            surplus,
            paid,
            disputes,
        }
    }

    fn id(&self) -> &Value {
        &self.item["purchaseId"]["S"]
    }

    fn has_dispute(&self, statuses: &[&str]) -> bool {
        let mut disputes = self.disputes.iter();
        disputes.any(|dispute| statuses.contains(&dispute["status"].as_str().unwrap()))
    }

    /// The status that the purchase must have.
    fn status(&self) -> &'static str {
        match &self.paid {
            None => "FAILED",
            Some(_) if self.has_dispute(&["needs_response", "under_review", "lost"]) => "DISPUTED",
            Some(paid) if paid.amount_refunded == paid.amount => "REFUNDED",
            Some(_) => "PAID",
        }
    }

    /// The amount of storage that the purchase must grant: the part that was not refunded, rounded up.
    fn granted(&self) -> u64 {
        let paid = self.paid.as_ref().filter(|_| !self.has_dispute(&["lost"]));
        let kept = paid.map_or(0, |paid| *PRICE - paid.amount_refunded);
        (BOUGHT * u64::from(kept)).div_ceil((*PRICE).into())
    }

    /// What GET /billing must say about the purchase.
    fn view(&self, simulation: &Simulation) -> Value {
        let surplus: u32 = self.surplus.iter().map(|charge| charge.amount).sum();
        let refunded = self.paid.as_ref().map_or(0, |paid| paid.amount_refunded);
        let dispute = self
            .disputes
            .last()
            .map(|dispute| match &dispute["status"] {
                Value::String(status) if status == "won" || status == "lost" => status.clone(),
                _ => "open".to_owned(),
            });
        let decline = self.paid.is_none().then(|| self.decline(simulation));
        json!({
            "status": self.status(),
            "amount": *PRICE,
            "currency": currency(),
            "refundedAmount": (refunded > 0).then_some(refunded),
            "surplusRefunded": (surplus > 0).then_some(surplus),
            "dispute": dispute,
            "decline": decline,
        })
    }

    /// The code, and the code of the issuer if there is one, that say why the purchase failed.
    fn decline(&self, simulation: &Simulation) -> Value {
        let errors = self
            .intents
            .iter()
            .map(|intent| &intent["last_payment_error"]);
        let mut errors = errors.filter(|error| !error.is_null());
        let calls = simulation.cloud.stripe.calls();
        let mut charges = calls
            .iter()
            .filter(|call| call.path == "/v1/payment_intents");
        let is_refused = charges.any(|call| matches!(call.status, Some(400 | 402)));
        let mut cancellations = simulation.cancellations.iter();
        let is_canceled = cancellations.any(|(_, body)| body["purchaseId"] == *self.id());
        let code = if !self.surplus.is_empty() {
            "payment_refunded"
        } else if let Some(error) = errors.next() {
            let code = error["decline_code"].as_str().unwrap();
            return match HIDDEN.contains(&code) {
                true => json!(["card_declined", "generic_decline"]),
                false => json!([error["code"], code]),
            };
        } else if is_canceled {
            "payment_canceled"
        } else if !self.intents.is_empty() {
            "payment_unfinished"
        } else if is_refused {
            "resource_missing"
        } else {
            "payment_not_made"
        };
        json!([code, null])
    }

    // part: notify {
    /// The texts of the SMS about the purchase.
    fn sms(&self) -> Vec<String> {
        let id = self.id().as_str().unwrap();
        let about = format!("storage for {BOUGHT} notes ({id})");
        let money = money(*PRICE);
        let paid = self
            .paid
            .iter()
            .map(|_| format!("Paid: {money} for {about}"));
        let disputes = self.disputes.iter().map(|dispute| {
            let reason = dispute["reason"].as_str().unwrap();
            format!("Dispute opened: {money}, reason {reason}, {about}")
        });
        let surplus = self.surplus.iter();
        let surplus = surplus.map(|_| format!("Refunded a surplus charge: {money} for {about}"));
        let texts = paid.chain(disputes).chain(surplus);
        texts.map(|text| format!("[sample] {text}")).collect()
    }
    // part: notify }
}

/// The codes that Stripe asks to hide from the customer: <https://docs.stripe.com/declines/codes>.
const HIDDEN: [&str; 7] = [
    "fraudulent",
    "lost_card",
    "merchant_blacklist",
    "pickup_card",
    "restricted_card",
    "security_violation",
    "stolen_card",
];

struct Violations(Vec<Violation>);

impl Violations {
    fn check(&mut self, holds: bool, invariant: &'static str, found: &impl std::fmt::Debug) {
        if !holds {
            let found = format!("{found:?}");
            self.0.push(Violation { invariant, found });
        }
    }

    /// Checks that charges and purchases correspond to each other.
    fn check_payments(&mut self, simulation: &Simulation, facts: &[Facts<'_>]) {
        let Simulation {
            cloud, scenario, ..
        } = simulation;
        let charges = cloud.stripe.charges();
        let charged = charges.iter().filter(|charge| charge.paid).count();
        let known: usize = facts
            .iter()
            .map(|facts| facts.surplus.len() + usize::from(facts.paid.is_some()))
            .sum();
        self.check(charged == known, SURPLUS_REFUNDED, &charges);
        self.check(facts.len() <= scenario.sources.len(), ONE_PURCHASE, &facts);
        let strays = scenario.stray_charges();
        for facts in facts {
            let Facts { surplus, paid, .. } = facts;
            let number = surplus.len() + usize::from(paid.is_some());
            self.check(number <= 1 + strays, CHARGED_ONCE, facts);
            let recorded = facts.item["surplus"]["L"].as_array().into_iter().flatten();
            let recorded: BTreeSet<_> = recorded
                .map(|charge| charge["M"]["paymentIntentId"]["S"].as_str().unwrap())
                .collect();
            let refunded = surplus
                .iter()
                .filter(|charge| charge.amount_refunded == charge.amount);
            let refunded: BTreeSet<_> = refunded
                .map(|charge| charge.payment_intent.as_str())
                .collect();
            let all = refunded.len() == surplus.len() && recorded == refunded;
            self.check(all, SURPLUS_REFUNDED, facts);
        }
        for intent in &cloud.stripe.payment_intents() {
            let is_final = ["succeeded", "canceled"]
                .iter()
                .any(|status| intent["status"] == *status);
            self.check(is_final, INTENTS_FINAL, intent);
        }
        let listed = simulation.listed.as_array().cloned().unwrap_or_default();
        self.check(listed.len() == facts.len(), CHARGE_IS_VISIBLE, &listed);
        for facts in facts {
            let mut listed = listed.iter();
            let seen = listed.find(|listed| listed["purchaseId"] == *facts.id());
            let seen = seen.map(view_of);
            let expected = facts.view(simulation);
            let is_visible = seen.as_ref() == Some(&expected);
            self.check(is_visible, CHARGE_IS_VISIBLE, &(seen, expected));
        }
    }

    /// Checks the notes, and the storage as the client sees it.
    fn check_storage(&mut self, simulation: &Simulation, facts: &[Facts<'_>]) {
        let notes = simulation.cloud.dynamodb.items(NOTES).unwrap();
        let storage = &simulation.storage;
        self.check(storage["used"] == notes.len(), USED_IS_EXACT, storage);
        let bought: u64 = facts.iter().map(Facts::granted).sum();
        let is_exact = storage["free"] == FREE
            && storage["bought"] == bought
            && storage["allowed"] == FREE + bought;
        self.check(is_exact, CREDIT_IS_EXACT, &(storage, bought));
        let contents = notes.iter().map(|note| note["content"]["S"].as_str());
        let contents: Option<BTreeSet<_>> = contents.collect();
        let created = simulation.notes.iter().map(String::as_str).collect();
        let is_correct = simulation.wrong_responses.is_empty()
            && contents == Some(created)
            && notes.len() == simulation.notes.len();
        let found = (&notes, &simulation.notes, &simulation.wrong_responses);
        self.check(is_correct, NOTES_ARE_CORRECT, &found);
    }

    // part: notify {
    /// Checks that an SMS was sent for each notice, and was sent again only if that could not be avoided.
    fn check_sms(&mut self, simulation: &Simulation, facts: &[Facts<'_>], fault: Option<&Fault>) {
        let sent = simulation.cloud.sms();
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for text in facts.iter().flat_map(Facts::sms) {
            // Two charges of the same purchase have the same text.
            *counts.entry(text).or_default() += 1;
        }
        let mut repeated = 0;
        for (text, expected) in &counts {
            let count = sent.iter().filter(|sent| *sent == text).count();
            self.check(count >= *expected, SMS_IS_SENT, &(text, &sent));
            repeated += count.saturating_sub(*expected);
        }
        let is_correct = sent.iter().all(|text| counts.contains_key(text));
        self.check(is_correct, SMS_IS_CORRECT, &(&sent, &counts));
        let allowed = unavoidable_repetitions(simulation, fault);
        self.check(repeated <= allowed, ONE_SMS, &sent);
    }
    // part: notify }

    /// Checks the last state of the purchases, and how the writes in the stream change a settled purchase.
    fn check_changes(&mut self, simulation: &Simulation, purchases: &[Value]) {
        for item in purchases {
            let has_outbox = item.get("outbox").is_some();
            let is_settled = !is_pending(item) && !is_due(item) && !has_outbox;
            self.check(is_settled, SETTLED, item);
        }
        for change in &simulation.changes {
            let images = &change["dynamodb"];
            let status = &images["OldImage"]["status"]["S"];
            if status.is_null() || status == "PENDING" {
                continue;
            }
            let [before, after] = ["OldImage", "NewImage"].map(|name| settled_parts(&images[name]));
            let revision = |item: &Value| {
                let revision = item["revision"]["N"].as_str();
                revision.map_or(0, |revision| revision.parse::<u64>().unwrap())
            };
            let is_revised = revision(&after) == revision(&before) + 1;
            self.check(before == after || is_revised, SETTLED_ONCE, change);
        }
    }

    /// Checks that a client that retries got a final response to each order, and that all final responses to an order
    /// are equal and describe the purchase.
    fn check_responses(&mut self, simulation: &Simulation, facts: &[Facts<'_>]) {
        let Simulation {
            scenario,
            final_responses: all,
            cancellations,
            ..
        } = simulation;
        for order in 0..scenario.sources.len() {
            let responses = all.iter().filter(|response| response.order == order);
            let responses: Vec<_> = responses.collect();
            let has_result = !scenario.client_retries || responses.len() >= 2;
            self.check(has_result, CLIENT_GETS_RESULT, &all);
            for response in &responses {
                let is_same = Some(response) == responses.first();
                let mut facts = facts.iter();
                let is_correct = facts.any(|facts| describes(response, facts, simulation));
                self.check(is_same && is_correct, RESULT_IS_CORRECT, &all);
            }
        }
        let cancels = scenario.steps.contains(&Step::Cancel);
        self.check(
            cancels != cancellations.is_empty(),
            CLIENT_GETS_RESULT,
            &all,
        );
        for (status, body) in cancellations {
            let mut facts = facts.iter();
            let facts = facts.find(|facts| body["purchaseId"] == *facts.id());
            let is_paid = facts.is_some_and(|facts| facts.paid.is_some());
            let is_correct = match status {
                200 => !is_paid && body["status"] == "FAILED",
                409 => is_paid && body["code"] == "already_paid",
                _ => false,
            };
            self.check(is_correct, RESULT_IS_CORRECT, cancellations);
        }
    }

    /// Checks that all deliveries succeeded, and that the dead-letter queues contain exactly the stream records that
    /// billing-purchase-paid cannot read and the events that contradict what is known.
    fn check_deliveries(&mut self, simulation: &Simulation) {
        let failed = &simulation.failed_deliveries;
        self.check(failed.is_empty(), DELIVERIES_SUCCEED, failed);
        let dead_letters = &simulation.cloud.sent().dead_letters;
        let scenario = &simulation.scenario;
        let contradicts = scenario.steps.contains(&Step::ContradictingEvent);
        let expected = [(POISON, scenario.has_poison), (CONTRADICTION, contradicts)];
        let is_expected = dead_letters.iter().all(|message| {
            let mut expected = expected.iter();
            expected.any(|(part, occurs)| *occurs && message.contains(part))
        });
        let are_there = expected.iter().all(|(part, occurs)| {
            let mut messages = dead_letters.iter();
            !occurs || messages.any(|message| message.contains(part))
        });
        self.check(is_expected && are_there, DEAD_LETTERS, dead_letters);
    }

    fn check_calls_and_log(&mut self, simulation: &Simulation) {
        let calls = simulation.runs.iter().flat_map(|run| &run.calls);
        for call in calls.filter(|call| call.ends_with(UNKNOWN)) {
            self.check(false, ONLY_KNOWN_SERVICES, call);
        }
        let without_key = simulation.proxy.without_key();
        self.check(without_key.is_empty(), IDEMPOTENT, &without_key);
        for line in &simulation.log {
            let has_secret = SECRET_TEXTS.iter().any(|text| line.contains(text));
            self.check(!has_secret, NO_SECRET_LOGGED, line);
            self.check(!line.contains("panicked"), NO_PANIC, line);
        }
    }
}

/// Returns the parts of a listed purchase that [`Facts::view`] contains.
fn view_of(listed: &Value) -> Value {
    let decline = listed.get("decline");
    json!({
        "status": listed["status"],
        "amount": listed["amount"],
        "currency": listed["currency"],
        "refundedAmount": listed["refundedAmount"],
        "surplusRefunded": listed["surplusRefunded"],
        "dispute": listed["dispute"]["status"],
        "decline": decline.map(|decline| json!([decline["code"], decline["declineCode"]])),
    })
}

/// Returns the item of a purchase without the attributes that an announcement or a postponement changes.
fn settled_parts(item: &Value) -> Value {
    let mut parts = item.clone();
    if let Value::Object(parts) = &mut parts {
        for name in ["dueAt", "outbox", "unsettledShard"] {
            parts.remove(name);
        }
    }
    parts
}

/// Whether a final response has the ID and the outcome of the purchase.
fn describes(response: &FinalResponse, facts: &Facts<'_>, simulation: &Simulation) -> bool {
    let FinalResponse { status, body, .. } = response;
    let has_outcome = match status {
        200 => body["amount"] == *PRICE && facts.paid.is_some(),
        402 => {
            let code = json!([body["code"], body["declineCode"]]);
            facts.paid.is_none() && code == facts.decline(simulation)
        }
        _ => false,
    };
    has_outcome && body["purchaseId"] == *facts.id()
}

// part: notify {
/// Returns how many SMS are sent again because of `fault` and the scenario's own failure. notify-send sends an SMS again
/// if it does not know that the SMS was sent: it crashed or SNS's response was lost before it recorded the SMS, or
/// DynamoDB did not record it. SNS has no idempotency key for SMS, so recording the SMS before sending it could only
/// replace the second SMS by a lost one.
fn unavoidable_repetitions(simulation: &Simulation, fault: Option<&Fault>) -> usize {
    let initial = simulation.scenario.initial_fault();
    let faults = initial.into_iter().chain(fault.cloned());
    let repeats = faults.filter(|fault| {
        let is_executed = fault.failure.is_executed();
        match fault.call.as_str() {
            BY_SMS => is_executed,
            "DynamoDB PutItem Idempotency COMPLETED" => fault.function == NOTIFY && !is_executed,
            _ => false,
        }
    });
    repeats.count()
}
// part: notify }
