//! Each kind of loss and duplication of payments is detected.

use super::*;
use crate::compare::compare; // part: notify
use crate::compare::tests::{compared, done, intent, invariants, outcome};
use crate::compare::{NOTE_KEPT, Storage, tests};
use crate::ledger::{Action, Entry, Number, What};

fn order(operation: Number, storage: u64) -> Entry {
    let amount = storage * 400;
    intent(operation, Action::Order { storage, amount })
}

fn purchase(id: &str, storage: u64, status: &str) -> Purchase {
    Purchase {
        user: "ada".into(),
        id: id.into(),
        storage,
        amount: storage * 400,
        status: status.into(),
        intent: Some(format!("pi_{id}")),
        changed: (1_000, 2_000), // part: notify
        ..Purchase::default()
    }
}

/// A stage on which everything that [`entries`] contains happened once.
fn stored() -> Stored {
    let paid = |id: &str| Intent {
        id: format!("pi_{id}"),
        purchase: id.into(),
        status: "succeeded".into(),
    };
    let charge = |id: &str, amount, refunded| Charge {
        intent: format!("pi_{id}"),
        amount,
        refunded,
    };
    let refunded = Purchase {
        refunded: 1_000,
        ..purchase("p2", 5, "PAID")
    };
    let storage = Storage {
        used: 2,
        bought: 7,
        granted: BTreeMap::from([("p1".into(), 4), ("p2".into(), 3)]),
    };
    Stored {
        storage: BTreeMap::from([("ada".into(), storage)]),
        purchases: vec![
            purchase("p1", 4, "PAID"),
            refunded,
            purchase("p3", 6, "FAILED"),
        ],
        intents: vec![
            paid("p1"),
            paid("p2"),
            Intent {
                status: "canceled".into(),
                ..paid("p3")
            },
        ],
        charges: vec![charge("p1", 1_600, 0), charge("p2", 2_000, 1_000)],
        // part: notify {
        sms: vec![
            "[local] Paid: 16.00 USD for storage for 4 notes (p1)".into(),
            "[local] Paid: 20.00 USD for storage for 5 notes (p2)".into(),
        ],
        // part: notify }
        ..tests::stored()
    }
}

fn entries() -> Vec<Entry> {
    let not_paid = Outcome::NotPaid { id: "p3".into() };
    let orders = [
        order(7, 4),
        done(7, "p1"),
        order(8, 5),
        done(8, "p2"),
        order(9, 6),
        outcome(9, not_paid),
        order(10, 7),
        outcome(10, Outcome::Refused),
    ];
    tests::entries().into_iter().chain(orders).collect()
}

/// The invariants that do not hold after `change` has changed what is stored.
fn broken(change: impl FnOnce(&mut Stored)) -> Vec<&'static str> {
    let mut stored = stored();
    change(&mut stored);
    invariants(&compared(&entries(), &stored))
}

#[test]
fn a_stage_that_did_everything_once_has_no_difference() {
    let comparison = compared(&entries(), &stored());
    assert_eq!(comparison.differences, []);
    assert_eq!((comparison.acknowledged, comparison.unknown), (10, 0));
}

#[test]
fn a_lost_purchase_is_detected() {
    let change = |stored: &mut Stored| drop(stored.purchases.remove(0));
    assert_eq!(broken(change), [PURCHASE_KEPT, ONE_CHARGE, CREDIT]);
}

#[test]
fn a_duplicate_purchase_is_detected() {
    let change = |stored: &mut Stored| stored.purchases.push(purchase("p9", 4, "FAILED"));
    assert_eq!(broken(change), [ONE_PURCHASE]);
}

#[test]
fn a_purchase_that_nobody_ordered_at_this_price_is_detected() {
    let change = |stored: &mut Stored| stored.purchases.push(purchase("p9", 77, "FAILED"));
    assert_eq!(broken(change), [OWN_PURCHASE]);
}

#[test]
fn a_purchase_that_is_paid_although_it_was_declined_or_refused_is_detected() {
    let paid = |stored: &mut Stored| {
        let last = stored.purchases.last_mut().unwrap();
        last.status = "PAID".into();
    };
    let expected = [
        NOT_CHARGED,
        SETTLED,
        ONE_SMS, // part: notify
    ];
    assert_eq!(broken(paid), expected);
    let refused = |stored: &mut Stored| stored.purchases.push(purchase("p9", 7, "FAILED"));
    assert_eq!(broken(refused), [NOT_CHARGED]);
}

#[test]
fn a_second_charge_is_detected_unless_it_is_refunded_and_recorded() {
    let charge_again = |stored: &mut Stored, refunded| {
        stored.intents.push(Intent {
            id: "pi_2".into(),
            purchase: "p1".into(),
            status: "succeeded".into(),
        });
        stored.charges.push(Charge {
            intent: "pi_2".into(),
            amount: 1_600,
            refunded,
        });
    };
    assert_eq!(broken(|stored| charge_again(stored, 0)), [ONE_CHARGE]);
    assert_eq!(broken(|stored| charge_again(stored, 1_600)), [ONE_CHARGE]);
    let recorded = |stored: &mut Stored| {
        charge_again(stored, 1_600);
        stored.purchases[0].surplus.insert("pi_2".into());
    };
    assert!(broken(recorded).is_empty());
}

#[test]
fn a_charge_without_a_purchase_is_detected() {
    let change = |stored: &mut Stored| {
        stored.charges.push(Charge {
            intent: "pi_9".into(),
            amount: 1,
            refunded: 0,
        });
    };
    assert_eq!(broken(change), [ONE_CHARGE]);
}

#[test]
fn an_unsettled_or_unannounced_purchase_is_detected() {
    let pending = |stored: &mut Stored| stored.purchases[0].status = "PENDING".into();
    assert_eq!(broken(pending), [PURCHASE_KEPT, SETTLED]);
    let outbox = |stored: &mut Stored| stored.purchases[0].has_work = true;
    assert_eq!(broken(outbox), [SETTLED]);
    let open = |stored: &mut Stored| stored.intents[2].status = "requires_action".into();
    assert_eq!(broken(open), [FINAL_INTENT]);
}

#[test]
fn a_lost_refund_and_a_wrong_credit_are_detected() {
    let refund = |stored: &mut Stored| stored.purchases[1].refunded = 0;
    assert_eq!(broken(refund), [SETTLED]);
    let credit = |stored: &mut Stored| {
        let storage = stored.storage.get_mut("ada").unwrap();
        storage.granted.insert("p2".into(), 5);
    };
    assert_eq!(broken(credit), [CREDIT]);
    let bought = |stored: &mut Stored| stored.storage.get_mut("ada").unwrap().bought = 9;
    assert_eq!(broken(bought), [CREDIT]);
}

// part: notify {
#[test]
fn a_lost_sms_and_a_second_one_without_an_interruption_are_detected() {
    assert_eq!(broken(|stored| drop(stored.sms.pop())), [ONE_SMS]);
    let repeat = |stored: &mut Stored| stored.sms.push(stored.sms[0].clone());
    assert_eq!(broken(repeat), [ONE_SMS]);
    let mut repeated = stored();
    repeat(&mut repeated);
    let early = compare(&entries(), &repeated, &[(0, 500)]);
    assert_eq!(invariants(&early), [ONE_SMS]);
    let during = compare(&entries(), &repeated, &[(1_500, 1_600)]);
    assert_eq!((during.differences.len(), during.repeated_sms), (0, 1));
}
// part: notify }

#[test]
fn an_order_without_an_acknowledgement_may_have_happened_or_not_but_not_half() {
    let mut entries = entries();
    entries.retain(|entry| !matches!(entry.what, What::Outcome(_)) || entry.operation < 3);
    // The update, the deletion and the orders are unknown.
    let happened = compared(&entries, &stored());
    assert_eq!(happened.differences, []);
    assert_eq!((happened.acknowledged, happened.unknown), (2, 8));
    let mut half = stored();
    half.notes[0].content = "1 third".into();
    half.charges.pop();
    let half = compared(&entries, &half);
    assert_eq!(invariants(&half), [NOTE_KEPT, SETTLED, CREDIT]);
}

#[test]
fn a_canceled_purchase_is_not_paid() {
    let mut entries = entries();
    let purchase = "p1".to_owned();
    entries.push(intent(11, Action::Cancel { purchase }));
    entries.push(outcome(11, Outcome::NotPaid { id: "p1".into() }));
    let comparison = compared(&entries, &stored());
    assert_eq!(invariants(&comparison), [NOT_CHARGED]);
}
