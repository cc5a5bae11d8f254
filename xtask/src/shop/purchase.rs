//! A stored purchase, as support sees it. Unlike the functions, support must also see a purchase that has unexpected
//! attributes, so this type keeps the whole item.

use anyhow::Result;
use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::{Value, json};

use super::json::{number, text};

/// The number of partitions of the index `unsettled`: `Shard::COUNT` in the library billing.
pub(super) const SHARDS: u8 = 4;

/// An item of the table Purchases.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Purchase(pub(super) Value);

impl Purchase {
    pub(super) fn id(&self) -> &str {
        text(&self.0, "/purchaseId")
    }

    pub(super) fn user_id(&self) -> &str {
        text(&self.0, "/userId")
    }

    pub(super) fn status(&self) -> &str {
        text(&self.0, "/status")
    }

    /// The time of the order, in milliseconds since the Unix epoch.
    pub(super) fn created_at(&self) -> u64 {
        number(&self.0, "/createdAt")
    }

    pub(super) fn updated_at(&self) -> u64 {
        number(&self.0, "/updatedAt")
    }

    pub(super) fn revision(&self) -> u64 {
        number(&self.0, "/revision")
    }

    /// Whether the latest revision is not announced.
    pub(super) fn has_outbox(&self) -> bool {
        self.0.get("outbox").is_some()
    }

    pub(super) fn amount(&self) -> u64 {
        number(&self.0, "/amount")
    }

    pub(super) fn refunded(&self) -> u64 {
        number(&self.0, "/refunded/amount")
    }

    pub(super) fn currency(&self) -> &str {
        match text(&self.0, "/currency") {
            "" => "usd",
            currency => currency,
        }
    }

    /// The id of the PaymentIntent of the purchase. Empty if it is not known.
    pub(super) fn intent(&self) -> &str {
        text(&self.0, "/paymentIntentId")
    }

    /// The ids of all PaymentIntents that the purchase names.
    pub(super) fn intents(&self) -> Vec<&str> {
        let own = Some(self.intent()).filter(|intent| !intent.is_empty());
        let surplus = self.surplus().iter();
        own.into_iter()
            .chain(surplus.map(|surplus| text(surplus, "/paymentIntentId")))
            .collect()
    }

    /// The refunded charges other than the one that paid for the purchase.
    pub(super) fn surplus(&self) -> &[Value] {
        let surplus = self.0.get("surplus").and_then(Value::as_array);
        surplus.map_or(&[], Vec::as_slice)
    }

    /// Whether the purchase was paid. A surplus charge does not pay for it.
    pub(super) fn was_paid(&self) -> bool {
        ["PAID", "REFUNDED", "DISPUTED"].contains(&self.status())
    }

    /// The number of notes for which the buyer has storage through this purchase, as `Purchase::granted` in the library
    /// billing calculates it.
    pub(super) fn granted(&self) -> u64 {
        if !self.was_paid() || text(&self.0, "/dispute/status") == "lost" || self.amount() == 0 {
            return 0;
        }
        let kept = self.amount().saturating_sub(self.refunded());
        (number(&self.0, "/storage") * kept).div_ceil(self.amount())
    }

    /// All notices that the owner of the product got or should have got.
    pub(super) fn notices(&self) -> Vec<Value> {
        let mut notices = Vec::new();
        if self.was_paid() {
            notices.push(json!({"type": "paid"}));
        }
        if let Some(dispute) = self.0.get("dispute") {
            notices.push(json!({
                "type": "disputed", "disputeId": dispute.get("id"), "amount": dispute.get("amount"),
                "reason": dispute.get("reason"),
            }));
        }
        for surplus in self.surplus() {
            notices.push(json!({
                "type": "surplusRefunded", "paymentIntentId": surplus.get("paymentIntentId"),
                "amount": surplus.get("amount"),
            }));
        }
        notices
    }

    /// The partition of the index `unsettled` to which the purchase belongs, as `Shard::of` in the library billing
    /// calculates it.
    ///
    /// # Errors
    /// Fails if the id of the purchase is not a UUID.
    pub(super) fn shard(&self) -> Result<u8> {
        let [.., last] = uuid::Uuid::parse_str(self.id())?.into_bytes();
        Ok(last % SHARDS)
    }

    /// An amount of the purchase's currency.
    pub(super) fn money(&self, amount: u64) -> String {
        money(amount, self.currency())
    }

    /// A line that shows the purchase in a list.
    pub(super) fn line(&self) -> String {
        let refunded = match self.refunded() {
            0 => String::new(),
            amount => format!(", {} refunded", self.money(amount)),
        };
        let dispute = match text(&self.0, "/dispute/status") {
            "" => String::new(),
            status => format!(", dispute {status}"),
        };
        format!(
            "{}  {}  {:<8}  {:>12}  {:>6} notes  {}{refunded}{dispute}",
            self.id(),
            time(self.created_at()),
            self.status(),
            self.money(self.amount()),
            number(&self.0, "/storage"),
            self.user_id(),
        )
    }
}

/// An amount in the minor unit of a currency that has cents, as all currencies of the price table.
pub(super) fn money(amount: u64, currency: &str) -> String {
    format!(
        "{}.{:02} {}",
        amount / 100,
        amount % 100,
        currency.to_uppercase()
    )
}

/// A time in UTC with seconds. `at` is in milliseconds since the Unix epoch.
pub(super) fn time(at: u64) -> String {
    let seconds = i64::try_from(at / 1000).unwrap_or(i64::MAX);
    let time = DateTime::from_secs(seconds).fmt(Format::DateTime);
    time.unwrap_or_else(|_| at.to_string())
}

#[cfg(test)]
mod tests {
    use billing::purchase as billing;

    use super::*;

    fn purchase(more: &Value) -> Value {
        let mut purchase = json!({
            "userId": "us-east-1:ada", "purchaseId": "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a", "storage": 10,
            "amount": 4000, "description": "storage for 10 notes", "createdAt": 1, "updatedAt": 2, "status": "PAID",
            "paymentIntentId": "pi_1", "revision": 1,
        });
        let fields = more.as_object().unwrap().clone();
        purchase.as_object_mut().unwrap().extend(fields);
        purchase
    }

    #[test]
    fn the_granted_storage_is_that_of_the_library_billing() {
        let dispute = |status: &str| {
            json!({"dispute": {
                "id": "dp_1", "amount": 4000, "reason": "fraudulent", "status": status, "openedAt": 3, "asOf": 4,
            }})
        };
        let refunded = |amount: u32| json!({"refunded": {"amount": amount, "asOf": 3}});
        let cases = [
            json!({}),
            refunded(1),
            refunded(399),
            refunded(400),
            refunded(4000),
            dispute("open"),
            dispute("won"),
            dispute("lost"),
            json!({"storage": 3, "amount": 7}),
        ];
        for more in &cases {
            let item = purchase(more);
            let theirs: billing::Purchase = serde_json::from_value(item.clone()).unwrap();
            assert_eq!(
                Purchase(item).granted(),
                u64::from(theirs.granted()),
                "{more}"
            );
        }
    }

    #[test]
    fn the_notices_and_the_shard_can_be_read_by_the_library_billing() {
        let item = purchase(&json!({
            "dispute": {
                "id": "dp_1", "amount": 4000, "reason": "fraudulent", "status": "open", "openedAt": 3, "asOf": 4,
            },
            "surplus": [{"paymentIntentId": "pi_2", "amount": 4000, "refundedAt": 5}],
        }));
        let notices = Purchase(item.clone()).notices();
        let read: Vec<billing::Notice> = serde_json::from_value(json!(notices)).unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0], billing::Notice::Paid);
        assert_eq!(SHARDS, billing::Shard::COUNT);
        assert!(Purchase(item).shard().unwrap() < SHARDS);
    }

    #[test]
    fn amounts_and_times_are_readable() {
        assert_eq!(money(4005, "usd"), "40.05 USD");
        assert_eq!(time(1_763_632_801_999), "2025-11-20T10:00:01Z");
    }
}
