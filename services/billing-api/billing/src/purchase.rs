//! A purchase of storage, and the types of its attributes. These types cannot hold invalid values.

use std::{borrow::Cow, fmt, str, time::Duration};

pub use domain::{
    Author, Sub, Timestamp, UserId,
    events::{Notice, PurchaseId},
};
use serde::{Deserialize, Serialize};

use crate::payment::{Decline, IntentId, is_stripe_id};

/// The prices, from `prices.json`. The unit tests have prices of their own, so that they hold for all prices.
mod prices {
    #[cfg(not(test))]
    include!(concat!(env!("OUT_DIR"), "/prices.rs"));
    #[cfg(test)]
    include!("sample_prices.rs");
    pub(super) const SOLD_IN: [u8; 3] = CURRENCY;
    pub(super) const PRICES: &[(u32, u32)] = &TIERS;
    pub(super) const MOST: u32 = LIMIT;
}

/// The minimum time between the creation of a purchase and its first check by reconcile, and
/// between two checks of a purchase. After this time, the invocation that charges the card has
/// ended.
pub const RECONCILE_DELAY: Duration = Duration::from_secs(2 * 60);

/// A purchase of storage, as stored in the table Purchases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purchase {
    /// The primary key: the id of the buyer and the id of the purchase.
    #[serde(flatten)]
    pub key: PurchaseKey,
    /// The number of notes for which storage is bought.
    pub storage: Storage,
    /// The price, in the minor unit of the currency.
    pub amount: Cents,
    /// The currency of all amounts of the purchase. Purchases of earlier releases do not have the
    /// attribute.
    #[serde(default)]
    pub currency: Currency,
    /// A description for the customer, such as `storage for 10 notes`.
    pub description: String,
    /// The time of the order.
    pub created_at: Timestamp,
    /// The time at which the purchase was settled or got its last revision. The time of the order if
    /// the purchase is PENDING.
    pub updated_at: Timestamp,
    /// The status of the purchase, with the attributes of this status.
    #[serde(flatten)]
    pub status: Status,
    /// What was refunded of the payment of the purchase. None if nothing was ever refunded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Refunded>,
    /// The last dispute of the payment. None if the payment was never disputed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute: Option<Dispute>,
    /// The refunded charges other than the one that paid for the purchase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surplus: Vec<Surplus>,
    /// The number of changes that are announced to the subscribers of the topic Purchases.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// The notices that are not announced yet. None if the last revision is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<Vec<Notice>>,
    /// The time from which reconcile handles the purchase: the sort key of the index `unsettled`.
    /// None if no work is due: the purchase is settled, and its last revision is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
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
        /// The id of the PaymentIntent. None if it is not known yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_intent_id: Option<IntentId>,
    },
    /// The card was charged once.
    Paid {
        /// The id of the PaymentIntent that charged the card.
        payment_intent_id: IntentId,
    },
    /// The payment failed, and no known payment of the purchase can charge the card. If a charge
    /// succeeds later, it is refunded, and is in [`Purchase::surplus`].
    Failed {
        /// The id of the PaymentIntent. None if Stripe created no PaymentIntent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payment_intent_id: Option<IntentId>,
        /// Why the card was not charged.
        decline: Decline,
    },
    /// The card was charged, and the whole amount was refunded.
    Refunded {
        /// The id of the PaymentIntent that charged the card.
        payment_intent_id: IntentId,
    },
    /// The card was charged, and the cardholder disputes the charge, or has won a dispute.
    Disputed {
        /// The id of the PaymentIntent that charged the card.
        payment_intent_id: IntentId,
    },
}

impl Status {
    /// The name of the status, as stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "PENDING",
            Self::Paid { .. } => "PAID",
            Self::Failed { .. } => "FAILED",
            Self::Refunded { .. } => "REFUNDED",
            Self::Disputed { .. } => "DISPUTED",
        }
    }
}

/// What was refunded of the payment of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refunded {
    /// The sum of all refunds, in the minor unit of the currency.
    pub amount: u32,
    /// The creation time of the event that reported the refunds. The sum is at least as recent.
    pub as_of: Timestamp,
}

/// A dispute of the payment of a purchase. <https://docs.stripe.com/api/disputes/object>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dispute {
    /// Stripe's id of the dispute.
    pub id: String,
    /// The disputed amount, in the minor unit of the currency.
    pub amount: u32,
    /// The reason that the cardholder gave, such as `fraudulent`.
    pub reason: String,
    /// Whether the dispute is open, won or lost.
    pub status: DisputeStatus,
    /// The time at which the dispute was opened.
    pub opened_at: Timestamp,
    /// The creation time of the event that reported this state.
    pub as_of: Timestamp,
}

/// The state of a dispute, as far as it matters for the purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisputeStatus {
    /// The dispute is not decided.
    Open,
    /// The bank decided for the shop, or the cardholder withdrew the dispute.
    Won,
    /// The bank decided for the cardholder.
    Lost,
}

impl DisputeStatus {
    /// The name of the status, as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// A refunded charge that did not pay for its purchase: the purchase had already failed, or another
/// PaymentIntent had paid for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surplus {
    /// The id of the PaymentIntent that charged the card.
    pub payment_intent_id: IntentId,
    /// The refunded amount, in the minor unit of the currency.
    pub amount: u32,
    /// The time at which the refund was recorded.
    pub refunded_at: Timestamp,
}

/// What Stripe reported about a payment after the sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterSale {
    /// The sum of the refunds of the payment.
    Refund(Refunded),
    /// A state of a dispute of the payment.
    Dispute(Dispute),
}

/// What a customer orders: the storage to buy, and the card to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The storage to buy.
    pub storage: Storage,
    /// The token or payment method to charge.
    pub source: PaymentSource,
    /// The price that the customer agreed to. None if the client does not send it.
    pub amount: Option<Cents>,
}

impl Purchase {
    /// Creates a PENDING purchase for `order` with the creation time `now`. Reconcile checks the
    /// purchase after `due_at`.
    pub fn pending(key: PurchaseKey, order: Order, now: Timestamp, due_at: Timestamp) -> Self {
        let Order {
            storage, source, ..
        } = order;
        Self {
            key,
            storage,
            amount: storage.price(),
            currency: Currency::default(),
            description: storage.to_string(),
            created_at: now,
            updated_at: now,
            status: Status::Pending {
                source,
                payment_intent_id: None,
            },
            refunded: None,
            dispute: None,
            surplus: Vec::new(),
            revision: 0,
            outbox: None,
            due_at: Some(due_at),
        }
    }

    /// Whether the purchase is not settled yet.
    pub fn is_pending(&self) -> bool {
        matches!(self.status, Status::Pending { .. })
    }

    /// The id of the PaymentIntent that paid for the purchase. None if the purchase is PENDING or
    /// FAILED.
    pub fn paid_by(&self) -> Option<&IntentId> {
        match &self.status {
            Status::Paid { payment_intent_id }
            | Status::Refunded { payment_intent_id }
            | Status::Disputed { payment_intent_id } => Some(payment_intent_id),
            Status::Pending { .. } | Status::Failed { .. } => None,
        }
    }

    /// Whether the purchase is FAILED, and `intent` is its PaymentIntent.
    pub fn failed_with(&self, intent: &IntentId) -> bool {
        let Status::Failed {
            payment_intent_id, ..
        } = &self.status
        else {
            return false;
        };
        payment_intent_id.as_ref() == Some(intent)
    }

    /// The number of notes for which the buyer has storage through this purchase: what was bought,
    /// less the refunded share, rounded up. A lost dispute revokes everything.
    pub fn granted(&self) -> u32 {
        let lost = |dispute: &Dispute| dispute.status == DisputeStatus::Lost;
        if self.paid_by().is_none() || self.dispute.as_ref().is_some_and(lost) {
            return 0;
        }
        let amount = u64::from(self.amount.get());
        let refunded = self.refunded.map_or(0, |refunded| refunded.amount);
        let kept = amount.saturating_sub(u64::from(refunded));
        let granted = (u64::from(self.storage.notes()) * kept).div_ceil(amount);
        u32::try_from(granted).unwrap_or(u32::MAX)
    }

    /// Why the purchase failed, for the customer. None if it did not fail.
    pub fn decline(&self) -> Option<Cow<'_, Decline>> {
        let Status::Failed { decline, .. } = &self.status else {
            return None;
        };
        if self.surplus.is_empty() {
            return Some(decline.for_customer());
        }
        Some(Cow::Owned(Decline::refunded()))
    }

    /// The sum of the refunded surplus charges, in the minor unit of the currency.
    pub fn surplus_refunded(&self) -> u32 {
        let amounts = self.surplus.iter().map(|surplus| surplus.amount);
        amounts.fold(0, u32::saturating_add)
    }

    /// Applies what Stripe reported about the payment that paid for the purchase. Returns the
    /// changed purchase, or None if the report says nothing new.
    ///
    /// The result does not depend on the order or the number of the reports: the report with the
    /// latest time counts, and a dispute that was decided stays decided.
    pub fn after(&self, report: AfterSale, now: Timestamp) -> Option<Self> {
        let intent = self.paid_by()?;
        let mut changed = self.clone();
        let mut notice = None;
        match report {
            AfterSale::Refund(refunded) => {
                let order = |refunded: Refunded| (refunded.as_of, refunded.amount);
                if self.refunded.map(order) >= Some(order(refunded)) {
                    return None;
                }
                changed.refunded = Some(refunded);
            }
            AfterSale::Dispute(dispute) => {
                let known = self.dispute.as_ref();
                if known.map(Dispute::rank) >= Some(dispute.rank()) {
                    return None;
                }
                if known.is_none_or(|known| known.id != dispute.id) {
                    notice = Some(Notice::Disputed {
                        dispute_id: dispute.id.clone(),
                        amount: dispute.amount,
                        reason: dispute.reason.clone(),
                    });
                }
                changed.dispute = Some(dispute);
            }
        }
        let payment_intent_id = intent.clone();
        let is_disputed = |dispute: &Dispute| dispute.status != DisputeStatus::Won;
        let is_refunded = |refunded: &Refunded| refunded.amount >= self.amount.get();
        changed.status = if changed.dispute.as_ref().is_some_and(is_disputed) {
            Status::Disputed { payment_intent_id }
        } else if changed.refunded.as_ref().is_some_and(is_refunded) {
            Status::Refunded { payment_intent_id }
        } else {
            Status::Paid { payment_intent_id }
        };
        changed.revise(notice, now);
        Some(changed)
    }

    /// Adds a refunded surplus charge. Returns the changed purchase, or None if the charge is already
    /// recorded.
    pub fn with_surplus(&self, surplus: Surplus) -> Option<Self> {
        let id = &surplus.payment_intent_id;
        if self
            .surplus
            .iter()
            .any(|known| known.payment_intent_id == *id)
        {
            return None;
        }
        let notice = Notice::SurplusRefunded {
            payment_intent_id: id.as_str().to_owned(),
            amount: surplus.amount,
        };
        let now = surplus.refunded_at;
        let mut changed = self.clone();
        changed.surplus.push(surplus);
        changed.revise(Some(notice), now);
        Some(changed)
    }

    /// Adds the first revision to a purchase that a release without an outbox settled as PAID. Returns
    /// None if the purchase has a revision or was not paid.
    pub fn unannounced(&self, now: Timestamp) -> Option<Self> {
        if self.revision > 0 || self.paid_by().is_none() {
            return None;
        }
        let mut changed = self.clone();
        changed.revise(Some(Notice::Paid), now);
        Some(changed)
    }

    /// Starts a new revision with the notice `notice`, which is to be announced.
    fn revise(&mut self, notice: Option<Notice>, now: Timestamp) {
        self.revision += 1;
        self.outbox.get_or_insert_default().extend(notice);
        self.updated_at = now;
        self.due_at = Some(now.after(RECONCILE_DELAY));
    }
}

impl Dispute {
    /// The order of the reports about disputes; the greatest one counts. A lost dispute is greater than
    /// all others, and then the dispute that was opened last. For one dispute, a decision is greater
    /// than an open state, whatever the times of the reports are.
    fn rank(&self) -> impl PartialOrd {
        let Self {
            id,
            status,
            opened_at,
            as_of,
            ..
        } = self;
        let is_decided = *status != DisputeStatus::Open;
        let is_lost = *status == DisputeStatus::Lost;
        (is_lost, *opened_at, id.clone(), is_decided, *as_of, *status)
    }
}

/// The amount of a charge in the minor unit of its currency, such as cents: 1 to 99,999,999, the
/// maximum of a Stripe charge.
/// <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32")]
pub struct Cents(u32);

impl Cents {
    /// The maximum amount.
    pub const LIMIT: u32 = 99_999_999;

    /// The amount as a number.
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

/// Stripe's code of a currency: three lower-case letters, such as `usd`.
/// <https://docs.stripe.com/currencies>
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The currency of the price table.
impl Default for Currency {
    fn default() -> Self {
        Self(prices::SOLD_IN)
    }
}

impl TryFrom<&str> for Currency {
    type Error = &'static str;

    fn try_from(code: &str) -> Result<Self, Self::Error> {
        let code = <[u8; 3]>::try_from(code.as_bytes()).ok();
        let code = code.filter(|code| code.iter().all(u8::is_ascii_lowercase));
        code.map(Self).ok_or("must be three lower-case letters")
    }
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::try_from(&*code)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number of notes to buy storage for: from 1 to the limit of the price table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Storage(u32);

impl Storage {
    /// The maximum number of notes in one purchase.
    pub const LIMIT: u32 = prices::MOST;

    /// The number of notes.
    pub fn notes(self) -> u32 {
        self.0
    }

    /// The total price: the number of notes times the price per note. The price per note depends on
    /// the number of notes.
    pub fn price(self) -> Cents {
        let reached = prices::PRICES.iter().filter(|(from, _)| *from <= self.0);
        let each = reached.fold(0, |_, (_, cents)| *cents);
        Cents(self.0 * each)
    }
}

impl TryFrom<i64> for Storage {
    type Error = &'static str;

    fn try_from(notes: i64) -> Result<Self, Self::Error> {
        let notes = u32::try_from(notes).ok();
        let notes = notes.filter(|notes| (1..=Self::LIMIT).contains(notes));
        notes
            .map(Self)
            .ok_or("must be an integer from 1 to the limit of the price table")
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
    /// The number of shards. Before you decrease this number, make sure that no purchase is in
    /// a shard that would be removed: reconcile reads only the shards below this number.
    pub const COUNT: u8 = 4;

    /// The shard to which the purchase `id` belongs.
    pub fn of(id: PurchaseId) -> Self {
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
    use crate::fixtures::*;

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
    fn every_price_is_an_amount_that_stripe_charges() {
        // <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>
        let charged = 50..=99_999_999;
        for notes in 1..=i64::from(Storage::LIMIT) {
            let price = storage(notes).unwrap().price().get();
            assert!(charged.contains(&price), "{notes}: {price}");
        }
    }

    #[test]
    fn a_currency_is_three_lower_case_letters() {
        assert_eq!(Currency::default().as_str(), "usd");
        assert!(Currency::try_from("eur").is_ok());
        for bad in ["", "us", "usdt", "USD", "u5d", "é"] {
            assert!(Currency::try_from(bad).is_err(), "{bad}");
        }
    }

    fn refund(amount: u32, seconds: u64) -> AfterSale {
        AfterSale::Refund(Refunded {
            amount,
            as_of: NOON.after(std::time::Duration::from_secs(seconds)),
        })
    }

    /// Applies `reports` to a paid purchase of 10 notes for 4000 cents.
    fn after(reports: &[AfterSale]) -> Purchase {
        let paid = settled(pending("tok_visa"));
        let paid = Purchase {
            key: PurchaseKey {
                purchase_id: PurchaseId::from_bytes([7; 16]),
                ..paid.key
            },
            ..paid
        };
        reports.iter().fold(paid, |purchase, report| {
            purchase.after(report.clone(), NOON).unwrap_or(purchase)
        })
    }

    #[test]
    fn what_was_bought_and_not_refunded_is_granted() {
        for (refunded, granted, status) in [
            (0, 10, "PAID"),
            (1, 10, "PAID"),
            (400, 9, "PAID"),
            (401, 9, "PAID"),
            (3_999, 1, "PAID"),
            (4_000, 0, "REFUNDED"),
        ] {
            let purchase = after(&[refund(refunded, 1)]);
            assert_eq!(purchase.granted(), granted, "{refunded}");
            assert_eq!(purchase.status.name(), status, "{refunded}");
        }
        assert_eq!(pending("tok_visa").granted(), 0);
        let most = Purchase {
            storage: storage(999_999).unwrap(),
            amount: Cents::try_from(99_999_900).unwrap(),
            ..after(&[])
        };
        assert_eq!(most.granted(), 999_999);
    }

    #[test]
    fn a_refund_during_a_dispute_is_shown_after_the_dispute() {
        let open = AfterSale::Dispute(dispute("dp_1", DisputeStatus::Open, 1));
        let won = AfterSale::Dispute(dispute("dp_1", DisputeStatus::Won, 3));
        let purchase = after(&[open.clone(), refund(4_000, 2)]);
        assert_eq!(
            (purchase.status.name(), purchase.granted()),
            ("DISPUTED", 0)
        );
        let purchase = after(&[open, refund(4_000, 2), won]);
        assert_eq!(
            (purchase.status.name(), purchase.granted()),
            ("REFUNDED", 0)
        );
    }

    /// All orders of the numbers below `length`.
    fn orders(length: usize) -> Vec<Vec<usize>> {
        let Some(last) = length.checked_sub(1) else {
            return vec![Vec::new()];
        };
        let shorter = orders(last);
        let longer = shorter.iter().flat_map(|order| {
            (0..length).map(|position| {
                let mut order = order.clone();
                order.insert(position, last);
                order
            })
        });
        longer.collect()
    }

    #[test]
    fn the_order_and_the_number_of_reports_do_not_matter() {
        use DisputeStatus::{Lost, Open, Won};
        let dispute = |status, seconds| AfterSale::Dispute(dispute("dp_1", status, seconds));
        for end in [Won, Lost] {
            let reports = [
                refund(1_000, 1),
                refund(3_000, 4),
                // A refund has failed.
                refund(1_000, 6),
                dispute(Open, 2),
                dispute(end, 5),
                // A report that Stripe created in the same second as the last one.
                dispute(Open, 5),
            ];
            let states: Vec<_> = orders(reports.len())
                .into_iter()
                .map(|order| {
                    let reports: Vec<_> = order
                        .into_iter()
                        .flat_map(|index| [reports[index].clone(), reports[index].clone()])
                        .collect();
                    let Purchase {
                        status,
                        refunded,
                        dispute,
                        ..
                    } = after(&reports);
                    (status, refunded, dispute)
                })
                .collect();
            assert_eq!(states.len(), 720);
            let [(status, refunded, dispute), ..] = &states[..] else {
                panic!("there are orders")
            };
            assert!(states.iter().all(|state| *state == states[0]));
            assert_eq!(refunded.unwrap().amount, 1_000);
            assert_eq!(dispute.as_ref().unwrap().status, end);
            let expected = if end == Won { "PAID" } else { "DISPUTED" };
            assert_eq!(status.name(), expected);
        }
    }

    #[test]
    fn a_dispute_is_noticed_once() {
        use DisputeStatus::{Lost, Open};
        for order in orders(3) {
            let reports = [(Open, 1), (Open, 2), (Lost, 3)];
            let reports = order.into_iter().map(|index| {
                let (status, seconds) = reports[index];
                AfterSale::Dispute(dispute("dp_1", status, seconds))
            });
            let reports: Vec<_> = reports.collect();
            let notices = after(&reports).outbox.unwrap();
            assert_eq!(notices.len(), 2, "paid, disputed: {notices:?}");
        }
    }

    #[test]
    fn a_later_dispute_replaces_one_that_was_won_but_not_one_that_was_lost() {
        use DisputeStatus::{Lost, Open, Won};
        let second = Dispute {
            opened_at: NOON.after(std::time::Duration::from_secs(60)),
            ..dispute("dp_2", Open, 60)
        };
        for (first, current) in [(Won, "dp_2"), (Lost, "dp_1")] {
            let first = AfterSale::Dispute(dispute("dp_1", first, 90));
            let second = AfterSale::Dispute(second.clone());
            for reports in [[first.clone(), second.clone()], [second, first]] {
                assert_eq!(after(&reports).dispute.unwrap().id, current);
            }
        }
    }

    #[test]
    fn a_purchase_that_was_not_paid_has_no_refunds() {
        let failed = Purchase {
            status: Status::Failed {
                payment_intent_id: None,
                decline: Decline::not_made(),
            },
            ..pending("tok_visa")
        };
        for purchase in [pending("tok_visa"), failed] {
            assert_eq!(purchase.after(refund(1, 1), NOON), None);
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
