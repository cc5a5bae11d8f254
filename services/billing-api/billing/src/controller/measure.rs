//! Records the metrics of purchases, where a change of a purchase is stored.

use metrics::{
    AMOUNT_CHARGED, AMOUNT_REFUNDED, DISPUTES_OPENED, PURCHASES_CANCELED, PURCHASES_DECLINED,
    PURCHASES_NOT_MADE, PURCHASES_PAID,
};

use crate::{
    payment::{Decline, Outcome},
    purchase::{Purchase, PurchaseKey, Timestamp},
    service::{Error, PurchaseStore, SettleIf, Settled},
};

/// Calls [`PurchaseStore::settle`], and records the outcome if this call stored it.
///
/// # Errors
/// Fails if the service call fails.
pub(super) async fn settle_and_count(
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    outcome: &Outcome,
    condition: SettleIf,
    now: Timestamp,
) -> Result<Settled, Error> {
    let settled = purchases.settle(key, outcome, condition, now).await?;
    if let Settled::Done(purchase) = &settled {
        match outcome {
            Outcome::Paid { .. } => {
                PURCHASES_PAID.add(1);
                AMOUNT_CHARGED.add(purchase.amount.get().into());
            }
            Outcome::Failed { decline, .. } if decline.is_by_stripe() => PURCHASES_DECLINED.add(1),
            Outcome::Failed { decline, .. } if *decline == Decline::not_made() => {
                PURCHASES_NOT_MADE.add(1);
            }
            Outcome::Failed { .. } => PURCHASES_CANCELED.add(1),
        }
    }
    Ok(settled)
}

/// Records the refunds and disputes that `after` has in addition to `before`.
pub(super) fn count_revision(before: &Purchase, after: &Purchase) {
    let refunded = refunded(after).saturating_sub(refunded(before));
    if refunded > 0 {
        AMOUNT_REFUNDED.add(refunded);
    }
    let dispute = |purchase: &Purchase| purchase.dispute.as_ref().map(|dispute| dispute.id.clone());
    if dispute(before) != dispute(after) {
        DISPUTES_OPENED.add(1);
    }
}

/// The refunded amount of all charges of `purchase`.
fn refunded(purchase: &Purchase) -> u64 {
    let surplus = purchase.surplus.iter().map(|surplus| surplus.amount);
    let paid = purchase.refunded.iter().map(|refunded| refunded.amount);
    surplus.chain(paid).map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use metrics::Metric::{self, *};

    use super::*;
    use crate::{
        controller::{settle::settle, webhook},
        event::Event,
        fixtures::*,
        purchase::{Currency, DisputeStatus},
        report::{DisputeReport, RefundReport, Report},
        service::memory::*,
    };

    /// Returns the values of `metrics` after `work`, as of one invocation.
    async fn measured<const N: usize>(
        metrics: [Metric; N],
        work: impl Future<Output = ()>,
    ) -> [Option<u64>; N] {
        metrics::begin();
        work.await;
        let record = metrics::take().unwrap();
        metrics.map(|metric| record.value(metric))
    }

    #[tokio::test]
    async fn a_settlement_is_counted_once_by_its_outcome() {
        let failed_with = |decline| Outcome::Failed {
            intent: None,
            decline,
        };
        let declined = Decline {
            code: "card_declined".into(),
            decline_code: None,
            message: "Your card was declined.".into(),
        };
        for (outcome, metric) in [
            (paid(), PurchasesPaid),
            (failed_with(declined), PurchasesDeclined),
            (failed_with(Decline::canceled()), PurchasesCanceled),
            (failed_with(Decline::unfinished()), PurchasesCanceled),
            (failed_with(Decline::not_made()), PurchasesNotMade),
        ] {
            let cloud = Memory::default();
            let key = with_pending(&cloud, "tok_visa").await.key;
            let all = [
                PurchasesPaid,
                PurchasesDeclined,
                PurchasesCanceled,
                PurchasesNotMade,
            ];
            let counted = measured(all, async {
                for _ in 0..3 {
                    settle(&cloud, &cloud, &key, &outcome, NOON).await.unwrap();
                }
            });
            let expected = all.map(|each| (each == metric).then_some(1));
            assert_eq!(counted.await, expected, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn the_amount_of_a_paid_purchase_is_charged() {
        let cloud = Memory::default();
        let key = with_pending(&cloud, "tok_visa").await.key;
        let [charged] = measured([AmountCharged], async {
            settle(&cloud, &cloud, &key, &paid(), NOON).await.unwrap();
        })
        .await;
        assert_eq!(charged, Some(4_000));
    }

    #[tokio::test]
    async fn a_surplus_charge_and_its_refund_are_counted() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        settle(&cloud, &cloud, &pending.key, &failed(), NOON)
            .await
            .unwrap();
        let intent = cloud.charge_again(&pending).unwrap();
        let counted = measured([SurplusCharges, AmountRefunded], async {
            let outcome = Outcome::Paid { intent };
            for _ in 0..2 {
                settle(&cloud, &cloud, &pending.key, &outcome, NOON)
                    .await
                    .unwrap();
            }
        });
        assert_eq!(counted.await, [Some(1), Some(4_000)]);
    }

    #[tokio::test]
    async fn refunds_and_disputes_of_repeated_events_are_counted_once() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        let intent = cloud.charge_again(&pending).unwrap();
        let outcome = Outcome::Paid {
            intent: intent.clone(),
        };
        settle(&cloud, &cloud, &pending.key, &outcome, NOON)
            .await
            .unwrap();
        cloud.set_refunded(&intent, 1_500);
        let currency = Some(Currency::default());
        let reports = [
            Report::Refund(RefundReport {
                intent: intent.clone(),
                amount_refunded: Some(1_500),
                currency,
            }),
            Report::Dispute(DisputeReport {
                intent,
                dispute: dispute("dp_1", DisputeStatus::Open, 1),
                currency,
            }),
        ];
        let counted = measured([AmountRefunded, DisputesOpened], async {
            for report in [&reports[..], &reports[..]].concat() {
                let event = Event::new("evt_1".into(), NOON, false, report);
                webhook(&cloud, &cloud, &event, NOON).await.unwrap();
            }
        });
        assert_eq!(counted.await, [Some(1_500), Some(1)]);
    }
}
