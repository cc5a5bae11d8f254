//! Compares the orders in the ledger with the purchases of the stage and the charges at Stripe.

use std::collections::{BTreeMap, BTreeSet};

use crate::compare::{Comparison, Expected, Stored};
use crate::ledger::Outcome;

/// A purchase in the table Purchases. Amounts are in cents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Purchase {
    pub(crate) user: String,
    pub(crate) id: String,
    pub(crate) storage: u64,
    pub(crate) amount: u64,
    pub(crate) status: String,
    /// The ID of the PaymentIntent.
    pub(crate) intent: Option<String>,
    /// The PaymentIntents of the recorded surplus charges.
    pub(crate) surplus: BTreeSet<String>,
    /// The recorded sum of the refunds.
    pub(crate) refunded: u64,
    /// Whether the purchase has an outbox or is due for reconcile.
    pub(crate) has_work: bool,
    // part: notify {
    /// The times of the order and of the last change, in milliseconds since the Unix epoch.
    pub(crate) changed: (u64, u64),
    // part: notify }
}

/// A PaymentIntent at Stripe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intent {
    pub(crate) id: String,
    /// The ID of the purchase in the metadata.
    pub(crate) purchase: String,
    pub(crate) status: String,
}

/// A successful charge at Stripe. Amounts are in cents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Charge {
    /// The ID of the PaymentIntent.
    pub(crate) intent: String,
    pub(crate) amount: u64,
    pub(crate) refunded: u64,
}

// part: notify {
/// A period in which notify-send may have been interrupted between sending an SMS and recording it, in milliseconds
/// since the Unix epoch.
pub(crate) type Interruption = (u64, u64);

/// The longest time between the last change of a purchase and its announcement: it includes the retries of billing-reconcile, SNS
/// and Lambda.
const ANNOUNCEMENT: u64 = 180_000;
// part: notify }

pub(crate) const PURCHASE_KEPT: &str = "every acknowledged order has its purchase and its charge";
pub(crate) const NOT_CHARGED: &str = "an order that was refused, declined or canceled is not paid";
pub(crate) const ONE_PURCHASE: &str = "an idempotency key creates at most one purchase";
pub(crate) const OWN_PURCHASE: &str =
    "every purchase is one that its user ordered, at the agreed price";
pub(crate) const ONE_CHARGE: &str =
    "every charge pays for its purchase once, or is refunded and recorded";
pub(crate) const SETTLED: &str = "every purchase is settled and announced, as Stripe says";
pub(crate) const FINAL_INTENT: &str = "every PaymentIntent is succeeded or canceled";
pub(crate) const CREDIT: &str = "the bought storage is what is paid and not refunded";
// part: notify {
pub(crate) const ONE_SMS: &str =
    "every paid purchase has one SMS, and another one only if notify-send was interrupted";
// part: notify }
#[derive(Debug)]
pub(crate) struct ExpectedOrder {
    pub(crate) user: String,
    pub(crate) storage: u64,
    pub(crate) amount: u64,
    pub(crate) outcome: Option<Outcome>,
}

impl Comparison {
    pub(crate) fn compare_purchases(&mut self, expected: &Expected, stored: &Stored) {
        for order in &expected.orders {
            let found = stored.purchases.iter();
            let found = found.filter(|purchase| {
                purchase.user == order.user && purchase.storage == order.storage
            });
            let found: Vec<_> = found.collect();
            let context = (order, &found);
            self.check(found.len() <= 1, ONE_PURCHASE, &context);
            let is_paid = |purchase: &Purchase| ["PAID", "REFUNDED"].contains(&&*purchase.status);
            match &order.outcome {
                Some(Outcome::Done { id }) => {
                    let mut found = found.iter();
                    let is_kept = found.any(|found| {
                        found.id == *id && is_paid(found) && found.amount == order.amount
                    });
                    self.check(is_kept, PURCHASE_KEPT, &context);
                }
                Some(Outcome::NotPaid { id }) => {
                    let mut found = found.iter();
                    let is_failed = found.any(|found| found.id == *id && found.status == "FAILED");
                    self.check(is_failed, NOT_CHARGED, &context);
                }
                Some(Outcome::Refused) => self.check(found.is_empty(), NOT_CHARGED, &context),
                None => {}
            }
        }
        for purchase in &stored.purchases {
            let mut orders = expected.orders.iter();
            let is_ordered = orders.any(|order| {
                order.user == purchase.user
                    && order.storage == purchase.storage
                    && order.amount == purchase.amount
            });
            self.check(is_ordered, OWN_PURCHASE, purchase);
            let is_kept = !expected.canceled.contains(&purchase.id) || purchase.status == "FAILED";
            self.check(is_kept, NOT_CHARGED, purchase);
        }
    }

    /// Compares the purchases with the PaymentIntents and charges of Stripe, and with the storage that they grant.
    pub(crate) fn compare_payments(&mut self, stored: &Stored) {
        for intent in &stored.intents {
            let is_final = ["succeeded", "canceled"].contains(&&*intent.status);
            self.check(is_final, FINAL_INTENT, intent);
        }
        let intents = stored.intents.iter();
        let intents = intents.map(|intent| (&*intent.id, &*intent.purchase));
        let intents: BTreeMap<_, _> = intents.collect();
        let mut charges: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for charge in &stored.charges {
            let purchase = intents.get(&*charge.intent).copied();
            charges.entry(purchase).or_default().push(charge);
        }
        let mut known = 0;
        let mut bought: BTreeMap<&str, u64> = BTreeMap::new();
        for purchase in &stored.purchases {
            let charges = charges.get(&Some(&*purchase.id)).cloned();
            let charges = charges.unwrap_or_default().into_iter();
            let (paid, surplus): (Vec<_>, Vec<_>) =
                charges.partition(|charge| Some(&charge.intent) == purchase.intent.as_ref());
            known += paid.len() + surplus.len();
            let context = (purchase, &paid, &surplus);
            let refunded: BTreeSet<_> = surplus
                .iter()
                .filter(|charge| charge.refunded == charge.amount)
                .map(|charge| charge.intent.clone())
                .collect();
            let is_refunded = refunded.len() == surplus.len() && refunded == purchase.surplus;
            self.check(paid.len() <= 1 && is_refunded, ONE_CHARGE, &context);

            let paid = paid.first();
            let status = match paid {
                None => "FAILED",
                Some(paid) if paid.refunded == paid.amount => "REFUNDED",
                Some(_) => "PAID",
            };
            let is_settled = purchase.status == status
                && !purchase.has_work
                && purchase.refunded == paid.map_or(0, |paid| paid.refunded)
                && paid.is_none_or(|paid| paid.amount == purchase.amount);
            self.check(is_settled, SETTLED, &context);

            let kept = paid.map_or(0, |paid| paid.amount - paid.refunded);
            let granted = (purchase.storage * kept).div_ceil(purchase.amount.max(1));
            *bought.entry(&purchase.user).or_default() += granted;
            let storage = stored.storage.get(&purchase.user);
            let credit = storage.and_then(|storage| storage.granted.get(&purchase.id));
            let is_exact = credit.copied().unwrap_or(0) == granted;
            self.check(is_exact, CREDIT, &(context, credit, granted));
        }
        let charges = &stored.charges;
        self.check(known == charges.len(), ONE_CHARGE, &(known, charges));
        for (user, storage) in &stored.storage {
            let bought = bought.get(user.as_str()).copied().unwrap_or(0);
            self.check(storage.bought == bought, CREDIT, &(user, storage, bought));
        }
    }

    // part: notify {
    pub(crate) fn compare_sms(&mut self, stored: &Stored, interruptions: &[Interruption]) {
        for purchase in &stored.purchases {
            let id = format!("({})", purchase.id);
            let sms = stored.sms.iter();
            let sms = sms.filter(|text| text.contains("Paid: ") && text.contains(&id));
            let count = sms.count();
            let is_paid = purchase.status != "FAILED";
            let (ordered, changed) = purchase.changed;
            let mut interruptions = interruptions.iter();
            let was_interrupted = interruptions
                .any(|(start, end)| *end >= ordered && *start <= changed + ANNOUNCEMENT);
            let is_exact = match (is_paid, count) {
                (false, count) => count == 0,
                (true, 0) => false,
                (true, 1) => true,
                (true, _) => was_interrupted,
            };
            self.check(is_exact, ONE_SMS, &(purchase, count));
            if is_exact {
                self.repeated_sms += count.saturating_sub(1);
            }
        }
    }
    // part: notify }
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
