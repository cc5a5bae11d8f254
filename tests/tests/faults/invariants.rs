//! What must hold at the end of every life.

use local_stripe::Charge;
use serde_json::Value;

use crate::call::BY_SMS;
use crate::cloud::HIDDEN;
use crate::failure::Fault;
use crate::life::NOTIFY;
use crate::world::{Final, PRICE, SMS, World};

pub(crate) const CHARGED_ONCE: &str = "a card is charged at most once per key";
pub(crate) const CHARGE_IS_PAID: &str = "every charge is one purchase that is PAID";
pub(crate) const PAID_IS_CHARGED: &str = "what is PAID was charged";
pub(crate) const PAID_IS_TOLD: &str = "what is PAID is told by SMS";
pub(crate) const TOLD_ONCE: &str = "what is PAID is told by one SMS";
pub(crate) const TOLD_RIGHT: &str = "an SMS is of a purchase that is PAID";
pub(crate) const ENDED: &str = "nothing can charge a card in the end";
pub(crate) const SETTLED: &str = "every purchase is settled in the end";
pub(crate) const SETTLED_ONCE: &str = "what is settled is not written again";
pub(crate) const ONE_PURCHASE: &str = "there is one purchase per key at the most";
pub(crate) const ANSWERED: &str = "a client that goes on asking is told how it ended";
pub(crate) const ANSWERED_RIGHT: &str = "a client is told what happened, and the same each time";
pub(crate) const TAKEN: &str = "what is delivered is taken in the end";
pub(crate) const NOTHING_ASIDE: &str = "what can be read is not put aside, and what cannot be, is";
pub(crate) const KNOWN: &str = "functions call nobody else";
pub(crate) const HIDDEN_STAYS: &str = "no log line holds a secret";
pub(crate) const NO_PANIC: &str = "no function panics";

/// An invariant that does not hold, and in what.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) invariant: &'static str,
    pub(crate) found: String,
}

/// What does not hold in a world that has come to its end, with this fault in it.
pub(crate) fn breaches(world: &World, fault: Option<&Fault>) -> Vec<Breach> {
    let mut breaches = Breaches(Vec::new());
    let charges = world.cloud.stripe.charges();
    let charges: Vec<_> = charges.into_iter().filter(|charge| charge.paid).collect();
    let intents = world.cloud.stripe.payment_intents();
    let purchases = world.cloud.purchases();
    breaches.unless(charges.len() <= 1, CHARGED_ONCE, &charges);
    breaches.unless(purchases.len() <= 1, ONE_PURCHASE, &purchases);
    for charge in &charges {
        let its_own = purchases.iter().any(|purchase| is_for(charge, purchase));
        breaches.unless(its_own, CHARGE_IS_PAID, charge);
    }
    let sms = world.cloud.sms();
    let mut paid = 0;
    for purchase in &purchases {
        match purchase["status"]["S"].as_str() {
            Some("PAID") => {
                paid += 1;
                let charged = charges.iter().any(|charge| is_for(charge, purchase));
                breaches.unless(charged, PAID_IS_CHARGED, purchase);
                breaches.unless(!sms.is_empty(), PAID_IS_TOLD, purchase);
            }
            Some("FAILED") => {}
            _ => breaches.unless(false, SETTLED, purchase),
        }
    }
    breaches.unless(
        sms.len() <= 1 || may_be_told_twice(world, fault),
        TOLD_ONCE,
        &sms,
    );
    let told_right = sms.is_empty() || paid == 1 && sms.iter().all(|text| text == SMS);
    breaches.unless(told_right, TOLD_RIGHT, &sms);
    for intent in &intents {
        let ended = ["succeeded", "canceled"]
            .iter()
            .any(|end| intent["status"] == *end);
        breaches.unless(ended, ENDED, intent);
    }
    for change in &world.changes {
        let before = &change["dynamodb"]["OldImage"]["status"]["S"];
        breaches.unless(
            before.is_null() || before == "PENDING",
            SETTLED_ONCE,
            change,
        );
    }
    let answered = !world.life.client_repeats || world.finals.len() >= 2;
    breaches.unless(answered, ANSWERED, &world.finals);
    for told in &world.finals {
        let same = Some(told) == world.finals.first();
        let right = purchases.iter().any(|purchase| is_said(told, purchase));
        breaches.unless(same && right, ANSWERED_RIGHT, &(told, &purchases));
    }
    breaches.unless(world.untaken.is_empty(), TAKEN, &world.untaken);
    let aside = &world.cloud.sent().failures;
    let poison = aside.iter().all(|message| message.contains("nobody"));
    let expected = poison && aside.is_empty() != world.life.has_poison;
    breaches.unless(expected, NOTHING_ASIDE, aside);
    let calls = world.runs.iter().flat_map(|ran| &ran.calls);
    for call in calls.filter(|call| call.ends_with("of nobody")) {
        breaches.unless(false, KNOWN, call);
    }
    for line in &world.log {
        let shown = HIDDEN.iter().any(|hidden| line.contains(hidden));
        breaches.unless(!shown, HIDDEN_STAYS, line);
        breaches.unless(!line.contains("panicked"), NO_PANIC, line);
    }
    breaches.0
}

struct Breaches(Vec<Breach>);

impl Breaches {
    fn unless(&mut self, holds: bool, invariant: &'static str, found: &impl std::fmt::Debug) {
        if !holds {
            let found = format!("{found:?}");
            self.0.push(Breach { invariant, found });
        }
    }
}

/// Whether a charge is what a purchase that is PAID says of it.
fn is_for(charge: &Charge, purchase: &Value) -> bool {
    let amount = charge.amount.to_string();
    purchase["status"]["S"] == "PAID"
        && purchase["paymentIntentId"]["S"] == charge.payment_intent.as_str()
        && purchase["amount"]["N"] == amount.as_str()
        && charge.amount == PRICE
}

/// Whether an answer says what became of a purchase.
fn is_said(told: &Final, purchase: &Value) -> bool {
    let Final { status, body } = told;
    let named = body["purchaseId"] == purchase["purchaseId"]["S"];
    let said = match status {
        200 => body["amount"] == PRICE && purchase["status"]["S"] == "PAID",
        402 => body["code"].is_string() && purchase["status"]["S"] == "FAILED",
        _ => false,
    };
    named && said
}

/// Whether what failed is between the sending of an SMS and its record: the one thing that cannot
/// be both done once and never lost.
fn may_be_told_twice(world: &World, fault: Option<&Fault>) -> bool {
    let faults = world.life.always().into_iter().chain(fault.cloned());
    let mut faults = faults.filter(|fault| fault.function == NOTIFY);
    faults.any(|fault| match fault.call.as_str() {
        BY_SMS => fault.failure.is_carried_out(),
        "DynamoDB PutItem Idempotency COMPLETED" => !fault.failure.is_carried_out(),
        _ => false,
    })
}
