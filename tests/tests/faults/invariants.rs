//! The invariants that must hold at the end of every simulation.

use local_stripe::Charge;
use serde_json::Value;

use crate::call::{BY_SMS, UNKNOWN};
use crate::cloud::SECRET_TEXTS;
use crate::failure::Fault;
use crate::scenario::NOTIFY;
use crate::simulation::{FinalResponse, POISON, PRICE, Simulation, sms_text};

pub(crate) const CHARGED_ONCE: &str = "a card is charged at most once per key";
pub(crate) const CHARGE_IS_PAID: &str = "every charge belongs to one purchase that is PAID";
pub(crate) const PAID_IS_CHARGED: &str = "every purchase that is PAID was charged";
pub(crate) const PAID_HAS_SMS: &str = "an SMS is sent for every purchase that is PAID";
pub(crate) const ONE_SMS: &str = "at most one SMS is sent for a purchase";
pub(crate) const SMS_IS_CORRECT: &str = "every SMS describes a purchase that is PAID";
pub(crate) const INTENTS_FINAL: &str = "every PaymentIntent is succeeded or canceled at the end";
pub(crate) const SETTLED: &str = "every purchase is settled at the end";
pub(crate) const SETTLED_ONCE: &str = "a settled purchase is not written again";
pub(crate) const ONE_PURCHASE: &str = "there is at most one purchase per key";
pub(crate) const CLIENT_GETS_RESULT: &str = "a client that retries gets the result";
pub(crate) const RESULT_IS_CORRECT: &str =
    "every final response is the same and describes the purchase";
pub(crate) const DELIVERIES_SUCCEED: &str = "every delivery succeeds eventually";
pub(crate) const DEAD_LETTERS: &str = "exactly the unreadable records are in the dead-letter queue";
pub(crate) const ONLY_KNOWN_SERVICES: &str = "functions call only known services";
pub(crate) const NO_SECRET_LOGGED: &str = "no log line contains a secret";
pub(crate) const NO_PANIC: &str = "no function panics";

/// An invariant that does not hold at the end of a simulation, with the values that violate it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) found: String,
}

/// Checks all invariants at the end of a simulation into which `fault` was injected. Returns the violated invariants.
pub(crate) fn violations(simulation: &Simulation, fault: Option<&Fault>) -> Vec<Violation> {
    let mut violations = Violations(Vec::new());
    let purchases = simulation.cloud.purchases();
    violations.check_payments(simulation, &purchases, fault);
    violations.check_stripe_and_stream(simulation);
    violations.check_responses(simulation, &purchases);
    violations.check_deliveries(simulation);
    violations.check_calls_and_log(simulation);
    violations.0
}

struct Violations(Vec<Violation>);

impl Violations {
    fn check(&mut self, holds: bool, invariant: &'static str, found: &impl std::fmt::Debug) {
        if !holds {
            let found = format!("{found:?}");
            self.0.push(Violation { invariant, found });
        }
    }

    /// Checks that charges, purchases and SMS correspond to each other.
    fn check_payments(
        &mut self,
        simulation: &Simulation,
        purchases: &[Value],
        fault: Option<&Fault>,
    ) {
        let charges = simulation.cloud.stripe.charges();
        let charges: Vec<_> = charges.into_iter().filter(|charge| charge.paid).collect();
        self.check(charges.len() <= 1, CHARGED_ONCE, &charges);
        self.check(purchases.len() <= 1, ONE_PURCHASE, &purchases);
        for charge in &charges {
            let has_purchase = purchases.iter().any(|purchase| is_for(charge, purchase));
            self.check(has_purchase, CHARGE_IS_PAID, charge);
        }
        let sms = simulation.cloud.sms();
        let mut expected = None;
        for purchase in purchases {
            match purchase["status"]["S"].as_str() {
                Some("PAID") => {
                    expected = Some(sms_text(purchase));
                    let charged = charges.iter().any(|charge| is_for(charge, purchase));
                    self.check(charged, PAID_IS_CHARGED, purchase);
                    self.check(!sms.is_empty(), PAID_HAS_SMS, purchase);
                }
                Some("FAILED") => {}
                _ => self.check(false, SETTLED, purchase),
            }
        }
        let is_once = sms.len() <= 1 || may_send_two_sms(simulation, fault);
        self.check(is_once, ONE_SMS, &sms);
        let is_correct = sms.iter().all(|text| Some(text) == expected.as_ref());
        self.check(is_correct, SMS_IS_CORRECT, &sms);
    }

    /// Checks that each PaymentIntent has a final status, and that no write in the stream changes a settled purchase.
    fn check_stripe_and_stream(&mut self, simulation: &Simulation) {
        for intent in &simulation.cloud.stripe.payment_intents() {
            let is_final = ["succeeded", "canceled"]
                .iter()
                .any(|status| intent["status"] == *status);
            self.check(is_final, INTENTS_FINAL, intent);
        }
        for change in &simulation.changes {
            let before = &change["dynamodb"]["OldImage"]["status"]["S"];
            let was_unsettled = before.is_null() || before == "PENDING";
            self.check(was_unsettled, SETTLED_ONCE, change);
        }
    }

    /// Checks that a client that retries got a final response, and that all final responses are equal and describe the
    /// purchase.
    fn check_responses(&mut self, simulation: &Simulation, purchases: &[Value]) {
        let responses = &simulation.final_responses;
        let has_result = !simulation.scenario.client_retries || responses.len() >= 2;
        self.check(has_result, CLIENT_GETS_RESULT, responses);
        for response in responses {
            let is_same = Some(response) == responses.first();
            let is_correct = purchases
                .iter()
                .any(|purchase| describes(response, purchase));
            let found = (response, purchases);
            self.check(is_same && is_correct, RESULT_IS_CORRECT, &found);
        }
    }

    /// Checks that all deliveries succeeded, and that the dead-letter queue contains exactly the stream records that
    /// billing-purchase-paid cannot read.
    fn check_deliveries(&mut self, simulation: &Simulation) {
        let failed = &simulation.failed_deliveries;
        self.check(failed.is_empty(), DELIVERIES_SUCCEED, failed);
        let dead_letters = &simulation.cloud.sent().dead_letters;
        let is_poison = dead_letters.iter().all(|message| message.contains(POISON));
        let is_expected = is_poison && dead_letters.is_empty() != simulation.scenario.has_poison;
        self.check(is_expected, DEAD_LETTERS, dead_letters);
    }

    fn check_calls_and_log(&mut self, simulation: &Simulation) {
        let calls = simulation.runs.iter().flat_map(|run| &run.calls);
        for call in calls.filter(|call| call.ends_with(UNKNOWN)) {
            self.check(false, ONLY_KNOWN_SERVICES, call);
        }
        for line in &simulation.log {
            let has_secret = SECRET_TEXTS.iter().any(|text| line.contains(text));
            self.check(!has_secret, NO_SECRET_LOGGED, line);
            self.check(!line.contains("panicked"), NO_PANIC, line);
        }
    }
}

/// Whether the purchase is PAID and has the PaymentIntent and the amount of the charge.
fn is_for(charge: &Charge, purchase: &Value) -> bool {
    let amount = charge.amount.to_string();
    purchase["status"]["S"] == "PAID"
        && purchase["paymentIntentId"]["S"] == charge.payment_intent.as_str()
        && purchase["amount"]["N"] == amount.as_str()
        && charge.amount == PRICE
}

/// Whether a final response has the ID and the outcome of the purchase.
fn describes(response: &FinalResponse, purchase: &Value) -> bool {
    let FinalResponse { status, body } = response;
    let has_id = body["purchaseId"] == purchase["purchaseId"]["S"];
    let has_outcome = match status {
        200 => body["amount"] == PRICE && purchase["status"]["S"] == "PAID",
        402 => body["code"].is_string() && purchase["status"]["S"] == "FAILED",
        _ => false,
    };
    has_id && has_outcome
}

/// Whether `fault` or the scenario's own failure happens after notify-send sent an SMS and before notify-send recorded
/// that the SMS was sent. In this case, notify-send sends a second SMS. SNS has no idempotency key for SMS, so
/// recording the SMS before sending it could only replace the second SMS by a lost one.
fn may_send_two_sms(simulation: &Simulation, fault: Option<&Fault>) -> bool {
    let faults = simulation
        .scenario
        .initial_fault()
        .into_iter()
        .chain(fault.cloned());
    let mut faults = faults.filter(|fault| fault.function == NOTIFY);
    faults.any(|fault| match fault.call.as_str() {
        BY_SMS => fault.failure.is_executed(),
        "DynamoDB PutItem Idempotency COMPLETED" => !fault.failure.is_executed(),
        _ => false,
    })
}
