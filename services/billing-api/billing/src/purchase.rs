//! A purchase and the types that it is made of. None of them can hold a wrong value.

use std::fmt;

pub use domain::{Timestamp, UserId, events::PurchaseId};
use serde::{Deserialize, Serialize};

use crate::payment::{Decline, End, IntentId, is_stripe_id};

/// A purchase of storage, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// Whose it is, and which.
    #[serde(flatten)]
    pub key: PurchaseKey,
    /// Notes that it makes room for.
    pub storage: Storage,
    /// What it costs.
    pub amount: Cents,
    /// What it is, for people.
    pub description: String,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// How far it is.
    #[serde(flatten)]
    pub status: Status,
}

/// What a purchase is found by. Its payment carries it as metadata.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PurchaseKey {
    /// Whose it is.
    pub user_id: UserId,
    /// Its name. Newer purchases have greater ids.
    pub purchase_id: PurchaseId,
}

/// How far a purchase is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "status",
    rename_all = "UPPERCASE",
    rename_all_fields = "camelCase"
)]
pub enum Status {
    /// Ordered. The card may be charged or not.
    Pending {
        /// What is to be charged.
        source: PaymentSource,
        /// Where the index of the unsettled has it. Only the unsettled have this attribute, so
        /// that the index holds nothing else.
        unsettled_shard: Shard,
        /// When to look after it.
        due_at: Timestamp,
    },
    /// The card is charged, once.
    Paid {
        /// What charged it.
        payment_intent_id: IntentId,
    },
    /// The card is not charged, and will not be.
    Failed {
        /// What was to charge it, if that was ever made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_intent_id: Option<IntentId>,
        /// Why.
        decline: Decline,
    },
}

impl From<End> for Status {
    fn from(end: End) -> Self {
        match end {
            End::Paid { intent } => Self::Paid {
                payment_intent_id: intent,
            },
            End::Failed { intent, decline } => Self::Failed {
                payment_intent_id: intent,
                decline,
            },
        }
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Room for how many notes.
    pub storage: Storage,
    /// What pays for it.
    pub source: PaymentSource,
}

impl Purchase {
    /// What `order` comes to, before its card is charged; to be looked after from `due_at` on.
    pub fn ordered(key: PurchaseKey, order: Order, now: Timestamp, due_at: Timestamp) -> Self {
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

/// An amount in cents of a US dollar: 1 to 99,999,999, the most that Stripe charges at once.
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Cents(u32);

impl Cents {
    /// The greatest amount.
    pub const LIMIT: u32 = 99_999_999;

    /// How many cents.
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

/// Room for a number of notes: 1 to 999,999. One more would cost 100,000,000 cents, which is above
/// [`Cents::LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Storage(u32);

/// From how many notes on, how many cents each of them costs.
const PRICES: [(u32, u32); 3] = [(1, 400), (11, 200), (101, 100)];

impl Storage {
    /// The most that one purchase can make room for.
    pub const LIMIT: u32 = 999_999;

    /// How many notes.
    pub fn notes(self) -> u32 {
        self.0
    }

    /// What it costs.
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

/// What pays: a token (`tok_…`) or a payment method (`pm_…`) that Stripe gave the browser. It
/// stands for a card and says nothing of it. <https://docs.stripe.com/api/tokens>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PaymentSource(String);

impl PaymentSource {
    /// The id as text.
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

/// A part of the index of unsettled purchases, which are spread over the parts evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard(u8);

impl Shard {
    /// How many parts there are. More can be added; to take one away, let it empty first.
    pub const COUNT: u8 = 4;

    /// The part that has this purchase.
    fn of(id: PurchaseId) -> Self {
        // The id's end is random, its beginning is time.
        let [.., last] = *id.as_bytes();
        Self(last % Self::COUNT)
    }

    /// All parts.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Which part, counted from 0.
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
    fn the_price_of_a_note_falls_with_their_number() {
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
    fn every_price_is_an_amount_that_stripe_charges() {
        for notes in (1..=i64::from(Storage::LIMIT)).step_by(7) {
            let price = storage(notes).unwrap().price();
            assert_eq!(Cents::try_from(price.get()), Ok(price));
        }
    }

    #[test]
    fn storage_whose_price_stripe_would_not_charge_is_refused() {
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
