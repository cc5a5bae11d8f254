//! The invariants. ARCHITECTURE.md lists them.

use std::collections::BTreeMap;

use billing::{
    payment::Payment,
    purchase::{DisputeStatus, Purchase, Status},
};
use domain::events::Notice; // part: notify

use crate::{
    call::Invocation,
    functions::{Answer, End},
    world::{Intent, World},
};

const CHARGED_ONCE: &str = "a card is charged at most once per order";
const ONE_OPEN_ORDER: &str = "a person has at most one open order";
const REFUND_AT_MOST: &str = "at most the charged amount is refunded";
const BALANCE: &str = "balance = used - bought";
const USED: &str = "used = number of existing counted notes";
const BOUGHT: &str = "bought = sum of the credits";
const QUIET: &str = "the system becomes quiet";
const SETTLED: &str = "every purchase is settled in the end";
const VISIBLE: &str = "a person sees a charge if and only if Stripe made it";
const SURPLUS: &str = "every surplus charge is refunded and recorded, and no other charge";
const FAILED: &str = "the payment of a FAILED purchase did not charge the card";
const OPEN_PAYMENT: &str = "no payment can charge a card in the end";
const AFTER_SALE: &str = "a purchase shows the refunds and the dispute of its payment";
const GRANTED: &str = "the credit of a purchase is what it grants";
const ONE_SMS: &str = "one SMS per notice, and one more per failure at most"; // part: notify
const ANNOUNCED: &str = "every outbox is emptied in the end";
const ONE_NOTE: &str = "one note per idempotency key";
const NO_CONTRADICTION: &str = "no event of a genuine payment is put aside";
const RESPONSE: &str = "a response says what happened";

/// Returns the invariants that do not hold in this situation, of those that always hold.
pub(crate) fn always(world: &World) -> Vec<&'static str> {
    let data = &world.data;
    let mut violations = data.broken.clone();
    let mut check = |holds: bool, invariant| {
        if !holds {
            violations.push(invariant);
        }
    };
    let pending = data
        .purchases
        .values()
        .filter(|purchase| purchase.is_pending());
    check(pending.count() <= 1, ONE_OPEN_ORDER);
    check(data.contradictions.is_empty(), NO_CONTRADICTION);
    let mut made = BTreeMap::new();
    for intent in &data.intents {
        check(intent.refunded <= intent.amount, REFUND_AT_MOST);
        *made.entry(&intent.purchase).or_insert(0) += usize::from(!intent.by_owner);
    }
    check(made.values().all(|count| *count <= 1), CHARGED_ONCE);
    check(world.notes_by_key().all(|notes| notes <= 1), ONE_NOTE);
    let total = data.total.unwrap_or_default();
    let counted = data.notes.values().filter(|note| note.counted).count();
    check(total.used == counted as i64, USED);
    check(total.balance == total.used - total.bought, BALANCE);
    let credits = data
        .credits
        .values()
        .map(|credit| i64::from(credit.granted));
    check(total.bought == credits.sum::<i64>(), BOUGHT);
    violations
}

/// Returns the invariants that do not hold in this situation, of those that hold when nothing more happens.
pub(crate) fn when_quiet(world: &World, waiting: &[Invocation]) -> Vec<&'static str> {
    let data = &world.data;
    let mut violations = Vec::new();
    let mut check = |holds: bool, invariant| {
        if !holds {
            violations.push(invariant);
        }
    };
    check(waiting.is_empty(), QUIET);
    // Nobody can complete a payment whose client secret no client has.
    let is_final = |intent: &Intent| match intent.payment {
        Payment::Succeeded { .. } | Payment::Canceled { .. } => true,
        Payment::RequiresAction { .. } => !intent.secret_is_known,
        Payment::Processing { .. } | Payment::Declined { .. } => false,
    };
    check(
        data.intents.iter().all(|intent| is_final(intent)),
        OPEN_PAYMENT,
    );
    let mut sms = 0; // part: notify
    for (key, purchase) in &data.purchases {
        let charges = data.intents.iter().map(|intent| &**intent);
        let charges = charges.filter(|intent| intent.purchase == *key && intent.is_charged());
        check_purchase(world, purchase, charges, &mut check);
        sms += notices(purchase).len(); // part: notify
    }
    // part: notify {
    if world.setting.notify > 0 {
        let sent: usize = data.sms.values().map(|count| usize::from(*count)).sum();
        let most = sms + usize::from(data.sms_failures);
        check(
            data.sms.len() == sms && (sms..=most).contains(&sent),
            ONE_SMS,
        );
    }
    // part: notify }
    for (responses, _) in &data.responses {
        for response in responses {
            check(is_true(world, response), RESPONSE);
        }
    }
    violations
}

fn check_purchase<'a>(
    world: &World,
    purchase: &Purchase,
    charges: impl Iterator<Item = &'a Intent>,
    check: &mut impl FnMut(bool, &'static str),
) {
    check(!purchase.is_pending(), SETTLED);
    check(
        purchase.outbox.is_none() && purchase.due_at.is_none(),
        ANNOUNCED,
    );
    let mut paid = None;
    for charge in charges {
        check(!purchase.failed_with(&charge.id), FAILED);
        let mut surplus = purchase.surplus.iter();
        let recorded = surplus.any(|surplus| {
            surplus.payment_intent_id == charge.id && surplus.amount == charge.amount
        });
        if purchase.paid_by() == Some(&charge.id) {
            paid = Some(charge);
            check(
                charge.refunded == charge.refunded_by_owner && !recorded,
                SURPLUS,
            );
        } else {
            check(charge.refunded == charge.amount && recorded, SURPLUS);
        }
    }
    check(paid.is_some() == purchase.paid_by().is_some(), VISIBLE);
    if let Some(paid) = paid
        && world.setting.other_events > 0
    {
        let refunded = purchase.refunded.map_or(0, |refunded| refunded.amount);
        let dispute = purchase.dispute.as_ref().map(|dispute| dispute.status);
        let open = dispute.is_some_and(|dispute| dispute != DisputeStatus::Won);
        let status = match &purchase.status {
            Status::Disputed { .. } => open,
            Status::Refunded { .. } => !open && refunded == paid.amount,
            _ => !open && refunded < paid.amount,
        };
        let same = refunded == paid.refunded && dispute == paid.dispute;
        check(same && status, AFTER_SALE);
    }
    if world.setting.credit > 0 {
        let credit = world.data.credits.get(&purchase.key.purchase_id);
        let granted = credit.map_or(0, |credit| credit.granted);
        check(granted == purchase.granted(), GRANTED);
    }
}

// part: notify {
/// The notices of which the owner must learn.
fn notices(purchase: &Purchase) -> Vec<Notice> {
    let mut notices = Vec::new();
    if purchase.paid_by().is_some() {
        notices.push(Notice::Paid);
    }
    if let Some(dispute) = &purchase.dispute {
        notices.push(Notice::Disputed {
            dispute_id: dispute.id.clone(),
            amount: dispute.amount,
            reason: dispute.reason.clone(),
        });
    }
    notices.extend(
        purchase
            .surplus
            .iter()
            .map(|surplus| Notice::SurplusRefunded {
                payment_intent_id: surplus.payment_intent_id.as_str().to_owned(),
                amount: surplus.amount,
            }),
    );
    notices
}
// part: notify }

/// Whether a response is true in the end.
fn is_true(world: &World, response: &End) -> bool {
    let data = &world.data;
    let End::Done(answer) = response else {
        return true;
    };
    let mut purchases = data.purchases.values();
    match answer {
        Answer::Receipt(receipt) => {
            let purchase = purchases.find(|one| one.key.purchase_id == receipt.purchase_id);
            purchase
                .is_some_and(|purchase| purchase.paid_by().is_some() == receipt.declined.is_none())
        }
        Answer::Canceled(id) => {
            let purchase = purchases.find(|one| one.key.purchase_id == *id);
            purchase.is_some_and(|purchase| purchase.paid_by().is_none())
        }
        Answer::Created(id) => data.notes.contains_key(id) || world.deletes(*id),
        Answer::Nothing | Answer::RequiresAction(_) | Answer::Refused(_) | Answer::StorageFull => {
            true
        }
    }
}
