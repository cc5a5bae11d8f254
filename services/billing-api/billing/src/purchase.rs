//! A purchase of storage, and the types of its attributes. These types cannot hold invalid values.

use std::fmt;

pub use domain::{Author, Sub, Timestamp, UserId, events::PurchaseId};
use serde::{Deserialize, Serialize};

use crate::payment::{Decline, IntentId, Outcome, is_stripe_id};

/// A purchase of storage, as stored in the table Purchases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// The primary key: the id of the buyer and the id of the purchase.
    #[serde(flatten)]
    pub key: PurchaseKey,
    /// The number of notes for which storage is bought.
    pub storage: Storage,
    /// The price in US cents.
    pub amount: Cents,
    /// A description for the customer, such as `storage for 10 notes`.
    pub description: String,
    /// The time of the order.
    pub created_at: Timestamp,
    /// The time at which the purchase was settled, or the time of the order if the purchase is
    /// PENDING.
    pub updated_at: Timestamp,
    /// The status of the purchase, with the attributes of this status.
    #[serde(flatten)]
    pub status: Status,
}

/// The primary key of a purchase. It is also in the metadata of the purchase's PaymentIntent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseKey {
    /// The id of the buyer: the partition key.
    pub user_id: UserId,
    /// The id of the purchase: the sort key. Newer purchases have greater ids.
    pub purchase_id: PurchaseId,
}

/// The status of a purchase, with the attributes that a purchase has only in this status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "UPPERCASE",
    rename_all_fields = "camelCase"
)]
pub enum Status {
    /// The purchase is not settled yet. The card may or may not have been charged.
    Pending {
        /// The token or payment method to charge.
        source: PaymentSource,
        /// The partition key of the index `unsettled`. Only PENDING purchases have this attribute,
        /// so the index contains only PENDING purchases (a sparse index).
        unsettled_shard: Shard,
        /// The time from which reconcile may check the purchase: the sort key of the index
        /// `unsettled`.
        due_at: Timestamp,
    },
    /// The card was charged once.
    Paid {
        /// The id of the PaymentIntent that charged the card.
        payment_intent_id: IntentId,
    },
    /// The card was not charged, and will not be charged.
    Failed {
        /// The id of the PaymentIntent. None if Stripe created no PaymentIntent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_intent_id: Option<IntentId>,
        /// Why the card was not charged.
        decline: Decline,
    },
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Paid { intent } => Self::Paid {
                payment_intent_id: intent,
            },
            Outcome::Failed { intent, decline } => Self::Failed {
                payment_intent_id: intent,
                decline,
            },
        }
    }
}

/// What a customer orders: the storage to buy, and the card to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The storage to buy.
    pub storage: Storage,
    /// The token or payment method to charge.
    pub source: PaymentSource,
}

impl Purchase {
    /// Creates a PENDING purchase for `order` with the creation time `now`. Reconcile checks the
    /// purchase after `due_at`.
    pub fn pending(key: PurchaseKey, order: Order, now: Timestamp, due_at: Timestamp) -> Self {
        let Order { storage, source } = order;
        let unsettled_shard = Shard::of(key.purchase_id);
        Self {
            key,
            storage,
            amount: storage.price(),
            description: storage.to_string(),
            created_at: now,
            updated_at: now,
            status: Status::Pending {
                source,
                unsettled_shard,
                due_at,
            },
        }
    }
}

/// An amount in US cents: 1 to 99,999,999, the maximum of a Stripe charge.
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Cents(u32);

impl Cents {
    /// The maximum amount in cents.
    pub const LIMIT: u32 = 99_999_999;

    /// The number of cents.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Cents {
    type Error = &'static str;

    fn try_from(cents: u32) -> Result<Self, Self::Error> {
        if (1..=Self::LIMIT).contains(&cents) {
            Ok(Self(cents))
        } else {
            Err("must be 1 to 99999999 cents")
        }
    }
}

/// Storage for 1 to 999,999 notes. Storage for 1,000,000 notes would cost 100,000,000 cents, which
/// exceeds [`Cents::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Storage(u32);

/// The price tiers. Each tier has the minimum number of notes in a purchase, and the price per note
/// in cents.
const PRICES: [(u32, u32); 3] = [(1, 400), (11, 200), (101, 100)];

impl Storage {
    /// The maximum number of notes in one purchase.
    pub const LIMIT: u32 = 999_999;

    /// The number of notes.
    pub fn notes(self) -> u32 {
        self.0
    }

    /// The total price: the number of notes times the price per note. The price per note depends on
    /// the number of notes.
    pub fn price(self) -> Cents {
        let reached = PRICES.iter().filter(|(from, _)| *from <= self.0);
        let each = reached.fold(0, |_, (_, cents)| *cents);
        Cents(self.0 * each)
    }
}

impl TryFrom<i64> for Storage {
    type Error = &'static str;

    fn try_from(notes: i64) -> Result<Self, Self::Error> {
        let notes = u32::try_from(notes).ok();
        let notes = notes.filter(|notes| (1..=Self::LIMIT).contains(notes));
        notes.map(Self).ok_or("must be an integer from 1 to 999999")
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("storage for 1 note"),
            notes => write!(f, "storage for {notes} notes"),
        }
    }
}

/// The id of a token (`tok_…`) or of a payment method (`pm_…`) that Stripe.js created in the
/// browser. The id stands for a card, and contains none of the card's data.
/// <https://docs.stripe.com/api/tokens>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PaymentSource(String);

impl PaymentSource {
    /// The id of the token or payment method as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PaymentSource {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        if ["tok_", "pm_"].iter().any(|kind| is_stripe_id(&id, kind)) {
            Ok(Self(id))
        } else {
            Err("must be a Stripe token (tok_…) or payment method (pm_…)")
        }
    }
}

/// A shard: one of the partitions of the index `unsettled`. Purchases are spread evenly over the
/// shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard(u8);

impl Shard {
    /// The number of shards. Before you decrease this number, make sure that no PENDING purchase is
    /// in a shard that would be removed: reconcile reads only the shards below this number.
    pub const COUNT: u8 = 4;

    /// The shard to which the purchase `id` belongs.
    fn of(id: PurchaseId) -> Self {
        // The last byte of a version 7 UUID is random; the first bytes are the time.
        let [.., last] = *id.as_bytes();
        Self(last % Self::COUNT)
    }

    /// All shards of the index `unsettled`.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The number of the shard, from 0: the value of the partition key.
    pub fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(notes: i64) -> Result<Storage, &'static str> {
        Storage::try_from(notes)
    }

    #[test]
    fn the_price_per_note_decreases_as_the_number_of_notes_increases() {
        let prices = [
            (1, 400),
            (10, 4_000),
            (11, 2_200),
            (100, 20_000),
            (101, 10_100),
            (999_999, 99_999_900),
        ];
        for (notes, cents) in prices {
            assert_eq!(storage(notes).unwrap().price().get(), cents, "{notes}");
        }
    }

    #[test]
    fn every_price_is_a_valid_amount() {
        for notes in (1..=i64::from(Storage::LIMIT)).step_by(7) {
            let price = storage(notes).unwrap().price();
            assert_eq!(Cents::try_from(price.get()), Ok(price));
        }
    }

    #[test]
    fn storage_out_of_range_is_rejected() {
        for notes in [i64::MIN, -1, 0, 1_000_000, 1 << 32, i64::MAX] {
            assert!(storage(notes).is_err(), "{notes}");
        }
    }

    #[test]
    fn a_source_is_a_token_or_a_payment_method() {
        let source = |id: &str| PaymentSource::try_from(id.to_owned());
        for good in ["tok_visa", "tok_1Nxyz", "pm_card_visa"] {
            assert_eq!(source(good).unwrap().as_str(), good);
        }
        let long = format!("tok_{}", "x".repeat(252));
        for bad in [
            "",
            "tok_",
            "pm_",
            "card_1",
            "tok-visa",
            "tok_vi sa",
            "4242424242424242",
            "tok_é",
            &long,
        ] {
            assert!(source(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn purchases_are_spread_over_all_shards() {
        let mut found: Vec<_> = (0..1000)
            .map(|_| Shard::of(PurchaseId::generate()))
            .collect();
        found.sort();
        found.dedup();
        assert!(found.into_iter().eq(Shard::all()));
    }
}
