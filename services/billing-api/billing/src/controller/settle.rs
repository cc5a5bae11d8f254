use crate::{
    payment::Outcome,
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{self, PurchaseStore},
};

/// Settles a purchase whose payment is final: changes the status PENDING to PAID or FAILED. Does
/// not change a purchase that is already settled. Returns the purchase as it is stored after the
/// call, or None if it does not exist.
///
/// Every function that learns the outcome of a payment calls `settle`. The calls may be repeated,
/// and may come in any order.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(skip_all)]
pub async fn settle(
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Option<Purchase>, service::Error> {
    let settled = purchases.settle(key, outcome, now).await?;
    let purchase_id = key.purchase_id;
    match (settled.as_ref().map(|purchase| &purchase.status), outcome) {
        (Some(Status::Failed { .. }), Outcome::Paid { .. }) => {
            tracing::error!(%purchase_id, "card charged for a failed purchase");
        }
        (None, _) => tracing::warn!(%purchase_id, "payment for a missing purchase"),
        _ => (),
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::*, service::memory::*};

    #[tokio::test]
    async fn the_first_settlement_is_final() {
        for (first, later) in [(paid(), failed()), (failed(), paid())] {
            let cloud = Memory::default();
            let pending = cloud.with_pending("tok_visa").await;
            let now = pending.created_at;
            let settled = settle(&cloud, &pending.key, &first, now).await.unwrap();
            assert_eq!(settled.as_ref().unwrap().status, first.into());
            for outcome in [later, paid(), failed()] {
                let again = settle(&cloud, &pending.key, &outcome, now).await.unwrap();
                assert_eq!(again, settled);
            }
        }
    }

    #[tokio::test]
    async fn settling_a_missing_purchase_does_not_create_it() {
        let cloud = Memory::default();
        let settled = settle(&cloud, &key(), &paid(), NOON).await.unwrap();
        assert_eq!(settled, None);
        assert!(cloud.purchases().is_empty());
    }
}
