//! Purchases, orders, outcomes and other values that the tests of several modules use.

use crate::{
    controller::purchase,
    payment::{Decline, IntentId, Outcome},
    purchase::{
        Author, Dispute, DisputeStatus, Notice, Order, PaymentSource, Purchase, PurchaseId,
        PurchaseKey, RECONCILE_DELAY, Status, Storage, Timestamp, UserId,
    },
    service::{OrderStore as _, memory::Memory},
};

pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

/// The user `ada` as the author of an order, with a `sub`.
pub(crate) fn buyer() -> Author {
    Author {
        id: ada(),
        sub: Some("2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62".parse().unwrap()),
    }
}

/// Returns the key of a purchase of the user `ada`, with a new id.
pub(crate) fn key() -> PurchaseKey {
    PurchaseKey {
        user_id: ada(),
        purchase_id: PurchaseId::generate(),
    }
}

/// An order of storage for 10 notes, paid with `source`. The price is 4000 cents.
pub(crate) fn order(source: &str) -> Order {
    Order {
        storage: Storage::try_from(10).unwrap(),
        source: PaymentSource::try_from(source.to_owned()).unwrap(),
        amount: None,
    }
}

/// A PENDING purchase that was created at [`NOON`] and is due [`RECONCILE_DELAY`] later.
pub(crate) fn pending(source: &str) -> Purchase {
    Purchase::pending(key(), order(source), NOON, NOON.after(RECONCILE_DELAY))
}

pub(crate) fn intent(number: usize) -> IntentId {
    IntentId::try_from(format!("pi_{number}")).unwrap()
}

pub(crate) fn paid() -> Outcome {
    Outcome::Paid { intent: intent(1) }
}

/// Stores a PENDING purchase in `cloud` without charging the card, and returns the purchase.
pub(crate) async fn with_pending(cloud: &Memory, source: &str) -> Purchase {
    let purchase = pending(source);
    cloud.open(&purchase, None, None).await.unwrap();
    cloud.store(purchase.clone());
    purchase
}

/// `purchase` after it was settled as PAID by [`paid`] at [`NOON`], before it is announced.
pub(crate) fn settled(purchase: Purchase) -> Purchase {
    Purchase {
        status: Status::Paid {
            payment_intent_id: intent(1),
        },
        revision: 1,
        outbox: Some(vec![Notice::Paid]),
        ..purchase
    }
}

/// Returns the only purchase in `cloud`. Panics if there is not exactly one purchase.
pub(crate) fn only(cloud: &Memory) -> Purchase {
    let [purchase] = cloud.purchases().try_into().unwrap();
    purchase
}

/// The state `status` of the dispute `id` of 4000 cents, as reported `seconds` after [`NOON`].
pub(crate) fn dispute(id: &str, status: DisputeStatus, seconds: u64) -> Dispute {
    Dispute {
        id: id.into(),
        amount: 4_000,
        reason: "fraudulent".into(),
        status,
        opened_at: NOON,
        as_of: NOON.after(std::time::Duration::from_secs(seconds)),
    }
}

pub(crate) fn failed() -> Outcome {
    Outcome::Failed {
        intent: Some(intent(1)),
        decline: Decline::unfinished(),
    }
}

/// Orders storage with `source` for the user `ada`, and ignores the response. Returns the key of the
/// purchase.
pub(crate) async fn ordered(cloud: &Memory, source: &str) -> PurchaseKey {
    let (key, order) = (key(), order(source));
    let _ = purchase(cloud, cloud, cloud, buyer(), key.purchase_id, order, NOON).await;
    key
}
