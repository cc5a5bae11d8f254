use std::time::Duration;

use metrics::Subject;

use super::{Error, Receipt, resume::complete};
use crate::{
    purchase::{
        Author, Order, Purchase, PurchaseId, PurchaseKey, RECONCILE_DELAY, Status, Timestamp,
    },
    service::{self, Buyer, Opened, OrderStore, Payments, PurchaseStore},
};

/// The number of declined orders within an hour after which the buyer's orders are refused. The limit
/// prevents card testing.
/// <https://docs.stripe.com/disputes/prevention/card-testing>
pub const MAX_DECLINES: usize = 10;

/// The period for which declined orders count.
const DECLINE_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The maximum number of attempts to store a new order. An attempt fails if the buyer has an earlier
/// order. The next attempt replaces that order if it is settled.
const ATTEMPTS: usize = 4;

/// Stores the order of `buyer` as a PENDING purchase, charges the card, and settles the purchase.
///
/// A call with the `id` of an earlier call continues where the earlier call stopped. It does not
/// charge a settled purchase again, and it charges a PENDING purchase with the same idempotency
/// key.
///
/// # Errors
/// Fails if the price has changed, the buyer has another open order or has had too many declines,
/// the outcome of the payment is not final, or a service call fails. If the purchase is still
/// PENDING after the failure, a repetition of the call, [`super::resume`], a webhook event or
/// reconcile settles it.
#[tracing::instrument(skip_all)]
pub async fn purchase(
    payments: &impl Payments,
    purchases: &impl PurchaseStore,
    orders: &impl OrderStore,
    buyer: Author,
    id: PurchaseId,
    order: Order,
    now: Timestamp,
) -> Result<Receipt, Error> {
    Subject::Purchase.log(id);
    let key = PurchaseKey {
        user_id: buyer.id,
        purchase_id: id,
    };
    let amount = order.storage.price();
    if order.amount.is_some_and(|agreed| agreed != amount) {
        // A repetition continues an order that was stored at the old price.
        let stored = purchases.get(&key).await?;
        let stored = stored.ok_or(Error::PriceChanged { amount })?;
        return complete(payments, purchases, stored, now).await;
    }
    let pending = Purchase::pending(key, order, now, now.after(RECONCILE_DELAY));
    let mut replaced = None;
    for _ in 0..ATTEMPTS {
        let opened = orders.open(&pending, buyer.sub, replaced.as_ref());
        let stored = match opened.await? {
            Opened::Created => pending,
            Opened::Existing(stored) => stored,
            Opened::Other(other) => {
                replaced = Some(replace(purchases, &pending.key, other, now).await?);
                continue;
            }
        };
        return complete(payments, purchases, stored, now).await;
    }
    let error = "the open order of the buyer has changed in each attempt";
    Err(Error::Service(service::Error::Unavailable(error.into())))
}

/// Checks that the order `key` may replace the open order in `other` of the same buyer. Returns `other`
/// with the declines that count at `now`, including the decline of the open order.
///
/// # Errors
/// Fails if the open order is PENDING, the buyer has had too many declines, or a service call fails.
async fn replace(
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    other: Buyer,
    now: Timestamp,
) -> Result<Buyer, Error> {
    let Buyer {
        open_order,
        mut declines,
    } = other;
    let open_key = PurchaseKey {
        user_id: key.user_id.clone(),
        purchase_id: open_order,
    };
    if let Some(open) = purchases.get(&open_key).await? {
        match &open.status {
            Status::Pending { .. } => {
                return Err(Error::OrderOpen {
                    purchase_id: open_order,
                });
            }
            Status::Failed { decline, .. } if decline.is_by_stripe() => {
                declines.push(open.updated_at);
            }
            _ => (),
        }
    }
    declines.retain(|time| now.since(*time) < DECLINE_PERIOD);
    declines.sort_unstable();
    let allowed_again = declines.len().checked_sub(MAX_DECLINES);
    if let Some(first) = allowed_again.and_then(|index| declines.get(index)) {
        return Err(Error::TooManyDeclines {
            retry_after: first.after(DECLINE_PERIOD).since(now),
        });
    }
    Ok(Buyer {
        open_order,
        declines,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchase::Cents;
    use crate::{
        controller::{ABANDON_AFTER, CHARGE_WINDOW, cancel},
        fixtures::*,
        payment::{IntentId, Payment},
        service::memory::*,
    };

    async fn buy(
        cloud: &Memory,
        id: PurchaseId,
        source: &str,
        now: Timestamp,
    ) -> Result<Receipt, Error> {
        purchase(cloud, cloud, cloud, buyer(), id, order(source), now).await
    }

    #[tokio::test]
    async fn a_valid_card_is_charged_the_price_and_the_purchase_is_paid() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_visa", NOON).await.unwrap();
        assert_eq!(receipt.purchase_id, id);
        assert_eq!(receipt.amount.get(), 4_000);
        assert_eq!(receipt.declined, None);
        assert_eq!(cloud.charges(), [(id, 4_000)]);
        assert!(matches!(only(&cloud).status, Status::Paid { .. }));
    }

    #[tokio::test]
    async fn a_purchase_stores_the_sub_of_the_buyer_if_the_buyer_has_one() {
        for buyer in [
            buyer(),
            Author {
                sub: None,
                ..buyer()
            },
        ] {
            let cloud = Memory::default();
            let (id, sub) = (PurchaseId::generate(), buyer.sub);
            let order = order("tok_visa");
            let receipt = purchase(&cloud, &cloud, &cloud, buyer, id, order, NOON).await;
            assert_eq!(receipt.unwrap().declined, None);
            assert_eq!(cloud.sub_of(id), sub);
        }
    }

    #[tokio::test]
    async fn a_repetition_is_not_charged_again_and_has_the_same_receipt() {
        for source in ["tok_visa", "tok_chargeDeclined"] {
            let cloud = Memory::default();
            let id = PurchaseId::generate();
            let first = buy(&cloud, id, source, NOON).await.unwrap();
            for later in [0, 1, 3_600, 90_000] {
                let now = NOON.after(std::time::Duration::from_secs(later));
                assert_eq!(buy(&cloud, id, source, now).await.unwrap(), first);
            }
            assert_eq!(cloud.calls_of("charge"), 1);
        }
    }

    #[tokio::test]
    async fn a_declined_purchase_fails_and_its_intent_is_canceled() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_chargeDeclined", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "card_declined");
        assert!(cloud.charges().is_empty());
        assert!(matches!(only(&cloud).status, Status::Failed { .. }));
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn a_purchase_with_an_unknown_source_fails_without_an_intent() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_nobody", NOON).await.unwrap();
        assert_eq!(receipt.declined.unwrap().code, "resource_missing");
        assert!(!cloud.can_still_charge());
    }

    #[tokio::test]
    async fn every_repetition_returns_the_client_secret_while_authentication_is_pending() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        for _ in 0..2 {
            let error = buy(&cloud, id, "pm_threeDSecure", NOON).await.unwrap_err();
            assert!(matches!(error, Error::RequiresAction { .. }), "{error:?}");
            assert!(matches!(only(&cloud).status, Status::Pending { .. }));
        }
        assert_eq!(cloud.intents().len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_charged_after_the_charge_window() {
        let cloud = Memory::default();
        cloud.fail("charge", Failure::Unsent, 0, 1);
        let id = PurchaseId::generate();
        let error = buy(&cloud, id, "tok_visa", NOON).await.unwrap_err();
        assert!(matches!(error, Error::Charge { .. }), "{error:?}");
        for later in [CHARGE_WINDOW, ABANDON_AFTER] {
            let late = buy(&cloud, id, "tok_visa", NOON.after(later)).await;
            assert!(matches!(late.unwrap_err(), Error::OutcomeUnknown { .. }));
        }
        assert!(cloud.charges().is_empty());
    }

    #[tokio::test]
    async fn debug_output_does_not_show_the_client_secret() {
        let cloud = Memory::default();
        let result = buy(&cloud, PurchaseId::generate(), "pm_threeDSecure", NOON).await;
        assert!(!format!("{result:?}").contains("_secret_"), "{result:?}");
    }

    /// An order of storage for 10 notes whose button showed `cents`.
    fn agreed(cents: u32) -> Order {
        Order {
            amount: Some(Cents::try_from(cents).unwrap()),
            ..order("tok_visa")
        }
    }

    #[tokio::test]
    async fn an_order_at_another_price_is_refused_with_the_current_price() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let order = |cents| purchase(&cloud, &cloud, &cloud, buyer(), id, agreed(cents), NOON);
        let error = order(3_000).await.unwrap_err();
        let Error::PriceChanged { amount } = error else {
            panic!("{error:?}")
        };
        assert_eq!(amount.get(), 4_000);
        assert!(cloud.purchases().is_empty() && cloud.charges().is_empty());
        assert_eq!(order(4_000).await.unwrap().declined, None);
    }

    #[tokio::test]
    async fn a_repetition_continues_an_order_that_was_stored_at_the_earlier_price() {
        let cloud = Memory::default();
        let cheaper = Purchase {
            amount: Cents::try_from(3_000).unwrap(),
            ..pending("tok_visa")
        };
        let id = cheaper.key.purchase_id;
        cloud.store(cheaper);
        let repeated = purchase(&cloud, &cloud, &cloud, buyer(), id, agreed(3_000), NOON).await;
        assert_eq!(repeated.unwrap().amount.get(), 3_000);
        assert_eq!(cloud.charges(), [(id, 3_000)]);
    }

    #[tokio::test]
    async fn a_buyer_with_an_open_order_cannot_order_again() {
        let cloud = Memory::default();
        let open = PurchaseId::generate();
        buy(&cloud, open, "pm_threeDSecure", NOON)
            .await
            .unwrap_err();
        for _ in 0..2 {
            let other = buy(&cloud, PurchaseId::generate(), "tok_visa", NOON).await;
            let Err(Error::OrderOpen { purchase_id }) = other else {
                panic!("{other:?}")
            };
            assert_eq!(purchase_id, open);
        }
        assert!(cloud.charges().is_empty());
        assert_eq!(cloud.purchases().len(), 1);
        let key = only(&cloud).key;
        cancel(&cloud, &cloud, &key, NOON).await.unwrap();
        let other = buy(&cloud, PurchaseId::generate(), "tok_visa", NOON).await;
        assert_eq!(other.unwrap().declined, None);
    }

    #[tokio::test]
    async fn orders_of_different_buyers_are_independent() {
        let cloud = Memory::default();
        let open = PurchaseId::generate();
        buy(&cloud, open, "pm_threeDSecure", NOON)
            .await
            .unwrap_err();
        let bob = Author {
            id: "us-east-1:bob".parse().unwrap(),
            sub: None,
        };
        let (id, order) = (PurchaseId::generate(), order("tok_visa"));
        let receipt = purchase(&cloud, &cloud, &cloud, bob, id, order, NOON).await;
        assert_eq!(receipt.unwrap().declined, None);
    }

    #[tokio::test]
    async fn after_ten_declines_within_an_hour_no_order_is_accepted() {
        let cloud = Memory::default();
        let minute = |minute: u64| NOON.after(Duration::from_secs(60 * minute));
        for number in 0..10 {
            let receipt = buy(&cloud, PurchaseId::generate(), "tok_stolen", minute(number)).await;
            assert!(receipt.unwrap().declined.is_some());
        }
        let refused = buy(&cloud, PurchaseId::generate(), "tok_visa", minute(10)).await;
        let Err(Error::TooManyDeclines { retry_after }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(retry_after, Duration::from_secs(50 * 60));
        assert_eq!(cloud.intents().len(), 10);
        // After an hour, the first decline no longer counts.
        let accepted = buy(&cloud, PurchaseId::generate(), "tok_stolen", minute(60)).await;
        assert!(accepted.unwrap().declined.is_some());
        let refused = buy(&cloud, PurchaseId::generate(), "tok_visa", minute(60)).await;
        assert!(matches!(refused, Err(Error::TooManyDeclines { .. })));
        let accepted = buy(&cloud, PurchaseId::generate(), "tok_visa", minute(61)).await;
        assert_eq!(accepted.unwrap().declined, None);
    }

    #[tokio::test]
    async fn orders_that_were_paid_or_not_finished_are_no_declines() {
        let cloud = Memory::default();
        for _ in 0..12 {
            let paid = buy(&cloud, PurchaseId::generate(), "tok_visa", NOON).await;
            assert_eq!(paid.unwrap().declined, None);
            let id = PurchaseId::generate();
            buy(&cloud, id, "pm_threeDSecure", NOON).await.unwrap_err();
            let key = PurchaseKey {
                user_id: ada(),
                purchase_id: id,
            };
            cancel(&cloud, &cloud, &key, NOON).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_receipt_does_not_say_that_a_card_is_stolen() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_stolen", NOON).await.unwrap();
        let shown = serde_json::to_string(&receipt).unwrap();
        assert!(shown.contains("generic_decline"), "{shown}");
        assert!(!shown.contains("stolen"), "{shown}");
    }

    #[tokio::test]
    async fn a_refused_source_fails_the_purchase_at_once() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let receipt = buy(&cloud, id, "tok_nobody", NOON).await.unwrap();
        assert!(receipt.declined.is_some());
        assert_eq!(cloud.calls_of("find_payments"), 1);
    }

    #[tokio::test]
    async fn a_refused_source_does_not_fail_a_purchase_whose_card_was_charged_before() {
        let cloud = Memory::default();
        let id = PurchaseId::generate();
        let stored = pending("tok_nobody");
        let stored = Purchase {
            key: PurchaseKey {
                purchase_id: id,
                ..stored.key
            },
            ..stored
        };
        // An earlier attempt has charged the card, and its response was lost.
        cloud.charge_again(&stored).unwrap();
        let receipt = buy(&cloud, id, "tok_nobody", NOON).await.unwrap();
        assert_eq!(receipt.declined, None);
        assert!(only(&cloud).paid_by().is_some());
    }

    #[tokio::test]
    async fn the_reason_of_a_decline_is_kept_if_the_settlement_fails_after_the_cancellation() {
        let cloud = Memory::default();
        cloud.fail("settle", Failure::Unsent, 0, 1);
        let id = PurchaseId::generate();
        buy(&cloud, id, "tok_chargeDeclined", NOON)
            .await
            .unwrap_err();
        let key = only(&cloud).key;
        let [intent] = cloud.intents().try_into().unwrap();
        let canceled = cloud.cancel(&intent).await.unwrap();
        assert!(matches!(canceled, Payment::Canceled { .. }), "{canceled:?}");
        let purchase = cancel(&cloud, &cloud, &key, NOON).await.unwrap();
        assert_eq!(purchase.decline().unwrap().code, "card_declined");
    }

    #[tokio::test]
    async fn the_id_of_a_payment_that_is_in_progress_is_stored() {
        for source in ["pm_threeDSecure", "pm_slow"] {
            let cloud = Memory::default();
            let id = PurchaseId::generate();
            buy(&cloud, id, source, NOON).await.unwrap_err();
            let [intent]: [IntentId; 1] = cloud.intents().try_into().unwrap();
            let Status::Pending {
                payment_intent_id, ..
            } = only(&cloud).status
            else {
                panic!("the purchase must be PENDING")
            };
            assert_eq!(payment_intent_id, Some(intent));
        }
    }

    #[tokio::test]
    async fn a_new_order_of_a_new_buyer_takes_three_calls() {
        let cloud = Memory::default();
        buy(&cloud, PurchaseId::generate(), "tok_visa", NOON)
            .await
            .unwrap();
        assert_eq!(cloud.calls(), 3, "open, charge, settle");
    }
}
