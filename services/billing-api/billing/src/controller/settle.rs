use crate::{
    payment::End,
    purchase::{Purchase, PurchaseKey, Status, Timestamp},
    service::{self, PurchaseStore},
};

/// Settles a purchase whose payment has ended: PENDING becomes PAID or FAILED, anything else stays
/// as it is. Returns what the purchase is then, and None when there is none.
///
/// All that hear of an end call it, in any order and any number of times.
///
/// # Errors
/// When a service fails.
#[tracing::instrument(skip_all)]
pub async fn settle(
    purchases: &impl PurchaseStore,
    key: &PurchaseKey,
    end: &End,
    now: Timestamp,
) -> Result<Option<Purchase>, service::Error> {
    let settled = purchases.settle(key, end, now).await?;
    let purchase_id = key.purchase_id;
    match (settled.as_ref().map(|purchase| &purchase.status), end) {
        (Some(Status::Failed { .. }), End::Paid { .. }) => {
            tracing::error!(%purchase_id, "a card was charged for a purchase that had failed");
        }
        (None, _) => tracing::warn!(%purchase_id, "a payment is for a purchase that is not there"),
        _ => (),
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn the_first_end_stays_whatever_comes_later() {
        for (first, later) in [(paid(), failed()), (failed(), paid())] {
            let cloud = Memory::default();
            let ordered = cloud.ordered("tok_visa").await;
            let now = ordered.created_at;
            let settled = settle(&cloud, &ordered.key, &first, now).await.unwrap();
            assert_eq!(settled.as_ref().unwrap().status, first.into());
            for end in [later, paid(), failed()] {
                let again = settle(&cloud, &ordered.key, &end, now).await.unwrap();
                assert_eq!(again, settled);
            }
        }
    }

    #[tokio::test]
    async fn a_purchase_that_is_not_there_is_not_made() {
        let cloud = Memory::default();
        let settled = settle(&cloud, &key(), &paid(), NOON).await.unwrap();
        assert_eq!(settled, None);
        assert!(cloud.purchases().is_empty());
    }
}
