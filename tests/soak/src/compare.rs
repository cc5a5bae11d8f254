//! Compares what the stage acknowledged, as the ledger says, with what the stage and Stripe have stored.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ledger::{Action, Attachment, Entry, Number, Outcome, What};

/// What a quiet stage and its Stripe account have stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) notes: Vec<Note>,
    /// The storage of each user, by the ID of the user's identity.
    pub(crate) storage: BTreeMap<String, Storage>,
    pub(crate) purchases: Vec<Purchase>,
    pub(crate) intents: Vec<Intent>,
    /// The charges that succeeded, oldest first.
    pub(crate) charges: Vec<Charge>,
    // part: notify {
    /// The texts of all SMS.
    pub(crate) sms: Vec<String>,
    // part: notify }
    /// The CRC-32 checksum of the file of each note that has one, by the file's key. The file of a note whose download
    /// failed is missing.
    pub(crate) files: BTreeMap<String, u32>,
    /// The messages in dead-letter queues.
    pub(crate) dead_letters: Vec<String>,
}

/// A note in the table Notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Note {
    pub(crate) user: String,
    pub(crate) id: String,
    pub(crate) content: String,
    /// The key of the note's file.
    pub(crate) attachment: Option<String>,
}

/// A user's items in the table Storage.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    pub(crate) used: u64,
    pub(crate) bought: u64,
    /// The storage that each purchase grants.
    pub(crate) granted: BTreeMap<String, u64>,
}

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

/// How long after its last change a purchase may be announced: the retries of reconcile, SNS and Lambda.
const ANNOUNCEMENT: u64 = 180_000;
// part: notify }

/// A difference between what was acknowledged and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The invariant that does not hold.
    pub(crate) invariant: &'static str,
    /// The values that show it.
    pub(crate) found: String,
}

pub(crate) const NOTE_KEPT: &str = "every acknowledged note exists with its acknowledged content";
pub(crate) const NOTE_GONE: &str = "a deleted or refused note does not exist";
pub(crate) const ONE_NOTE: &str = "an idempotency key creates at most one note";
pub(crate) const OWN_NOTE: &str = "every note is one that its user wrote";
pub(crate) const USED: &str = "used is the number of notes";
pub(crate) const FILE_KEPT: &str = "the file of every note exists with the uploaded bytes";
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
pub(crate) const NO_DEAD_LETTERS: &str = "no message is left in a dead-letter queue";

/// The result of a comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) differences: Vec<Difference>,
    /// The number of acknowledged operations that were compared.
    pub(crate) acknowledged: usize,
    /// The number of operations that were never acknowledged.
    pub(crate) unknown: usize,
    // part: notify {
    /// The number of SMS that were sent again because notify-send was interrupted.
    pub(crate) repeated_sms: usize,
    // part: notify }
}

/// Compares the ledger with the stored data.
pub(crate) fn compare(
    entries: &[Entry],
    stored: &Stored,
    interruptions: &[Interruption], // part: notify
) -> Comparison {
    let expected = Expected::read(entries);
    let mut comparison = Comparison {
        acknowledged: expected.acknowledged,
        unknown: expected.unknown,
        ..Comparison::default()
    };
    comparison.compare_notes(&expected, stored);
    comparison.compare_storage(stored);
    comparison.compare_purchases(&expected, stored);
    comparison.compare_payments(stored);
    comparison.compare_sms(stored, interruptions); // part: notify
    let letters = &stored.dead_letters;
    comparison.check(letters.is_empty(), NO_DEAD_LETTERS, letters);
    comparison
}

/// Whether something must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Must,
    May,
    MustNot,
}

#[derive(Debug)]
struct ExpectedNote {
    user: String,
    /// The ID of the note, if the stage has acknowledged its creation.
    id: Option<String>,
    existence: Existence,
    /// The contents that the note may have.
    contents: BTreeSet<String>,
    file: Option<Attachment>,
}

#[derive(Debug)]
struct ExpectedOrder {
    user: String,
    storage: u64,
    amount: u64,
    outcome: Option<Outcome>,
}

/// What must be stored according to the ledger.
#[derive(Debug, Default)]
struct Expected {
    /// The notes, by the operation that created them.
    notes: BTreeMap<Number, ExpectedNote>,
    orders: Vec<ExpectedOrder>,
    /// The purchases that were canceled.
    canceled: BTreeSet<String>,
    acknowledged: usize,
    unknown: usize,
}

impl Expected {
    fn read(entries: &[Entry]) -> Self {
        let outcomes = entries.iter().filter_map(|entry| match &entry.what {
            What::Outcome(outcome) => Some((entry.operation, outcome)),
            What::Intent { .. } => None,
        });
        let outcomes: BTreeMap<_, _> = outcomes.collect();
        let mut expected = Self::default();
        let mut operations = BTreeMap::new();
        for entry in entries {
            if let What::Intent { user, action } = &entry.what {
                let outcome = outcomes.get(&entry.operation).copied();
                match outcome {
                    Some(_) => expected.acknowledged += 1,
                    None => expected.unknown += 1,
                }
                expected.add(entry.operation, user, action, outcome, &mut operations);
            }
        }
        expected
    }

    /// Adds an operation. `created` contains the operation that created each note, by the ID of the note.
    fn add(
        &mut self,
        operation: Number,
        user: &str,
        action: &Action,
        outcome: Option<&Outcome>,
        created: &mut BTreeMap<String, Number>,
    ) {
        match action {
            Action::CreateNote { content, file } => {
                let id = match outcome {
                    Some(Outcome::Done { id }) => Some(id.clone()),
                    _ => None,
                };
                if let Some(id) = &id {
                    created.insert(id.clone(), operation);
                }
                let note = ExpectedNote {
                    user: user.to_owned(),
                    existence: match outcome {
                        Some(Outcome::Done { .. }) => Existence::Must,
                        None => Existence::May,
                        Some(_) => Existence::MustNot,
                    },
                    id,
                    contents: BTreeSet::from([content.clone()]),
                    file: file.clone(),
                };
                self.notes.insert(operation, note);
            }
            Action::UpdateNote { note, content } => {
                let note = created.get(note).and_then(|by| self.notes.get_mut(by));
                if let Some(note) = note {
                    match outcome {
                        Some(Outcome::Done { .. }) => {
                            note.contents = BTreeSet::from([content.clone()]);
                        }
                        None => drop(note.contents.insert(content.clone())),
                        Some(_) => {}
                    }
                }
            }
            Action::DeleteNote { note } => {
                let note = created.get(note).and_then(|by| self.notes.get_mut(by));
                if let Some(note) = note {
                    note.existence = match outcome {
                        Some(Outcome::Done { .. }) => Existence::MustNot,
                        None => Existence::May,
                        Some(_) => note.existence,
                    };
                }
            }
            Action::Order { storage, amount } => self.orders.push(ExpectedOrder {
                user: user.to_owned(),
                storage: *storage,
                amount: *amount,
                outcome: outcome.cloned(),
            }),
            Action::Cancel { purchase } => {
                if let Some(Outcome::NotPaid { .. }) = outcome {
                    self.canceled.insert(purchase.clone());
                }
            }
        }
    }
}

/// Returns the operation that created a note, from the note's content.
fn creator(content: &str) -> Option<Number> {
    content.split(' ').next()?.parse().ok()
}

impl Comparison {
    fn check(&mut self, holds: bool, invariant: &'static str, found: &impl std::fmt::Debug) {
        if !holds {
            let found = format!("{found:?}");
            self.differences.push(Difference { invariant, found });
        }
    }

    fn compare_notes(&mut self, expected: &Expected, stored: &Stored) {
        let mut found: BTreeMap<Number, Vec<&Note>> = BTreeMap::new();
        for note in &stored.notes {
            let by = creator(&note.content).filter(|by| {
                let expected = expected.notes.get(by);
                expected.is_some_and(|expected| expected.user == note.user)
            });
            self.check(by.is_some(), OWN_NOTE, note);
            if let Some(by) = by {
                found.entry(by).or_default().push(note);
            }
        }
        for (operation, expected) in &expected.notes {
            let found = found.get(operation).map_or(&[][..], Vec::as_slice);
            let context = (operation, expected, found);
            self.check(found.len() <= 1, ONE_NOTE, &context);
            match expected.existence {
                Existence::Must => self.check(!found.is_empty(), NOTE_KEPT, &context),
                Existence::MustNot => self.check(found.is_empty(), NOTE_GONE, &context),
                Existence::May => {}
            }
            for note in found {
                let is_kept = expected.contents.contains(&note.content)
                    && expected.id.as_ref().is_none_or(|id| *id == note.id);
                self.check(is_kept, NOTE_KEPT, &context);
                let key = expected.file.as_ref().map(|file| &file.key);
                self.check(note.attachment.as_ref() == key, FILE_KEPT, &context);
                if let Some(file) = &expected.file {
                    let stored = stored.files.get(&file.key);
                    let is_kept = stored == Some(&file.checksum);
                    self.check(is_kept, FILE_KEPT, &(context, stored));
                }
            }
        }
    }

    fn compare_storage(&mut self, stored: &Stored) {
        let notes = stored.notes.iter().map(|note| &note.user);
        let users: BTreeSet<_> = stored.storage.keys().chain(notes).collect();
        let none = Storage::default();
        for user in users {
            let storage = stored.storage.get(user).unwrap_or(&none);
            let notes = stored.notes.iter().filter(|note| note.user == *user);
            let notes = notes.count() as u64;
            self.check(storage.used == notes, USED, &(user, storage, notes));
        }
    }

    fn compare_purchases(&mut self, expected: &Expected, stored: &Stored) {
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
    fn compare_payments(&mut self, stored: &Stored) {
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
    fn compare_sms(&mut self, stored: &Stored, interruptions: &[Interruption]) {
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
