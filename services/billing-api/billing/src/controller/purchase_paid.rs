use super::Error;
use crate::{
    purchase::{Purchase, Status},
    service::{NotePurchased, Publisher, stream::Change},
};

/// Publishes the purchase if `change` made it PAID. Ignores every other change.
///
/// # Errors
/// Fails if the purchase cannot be published. The stream then delivers the change again.
#[tracing::instrument(skip_all)]
pub async fn purchase_paid(publisher: &impl Publisher, change: &Change) -> Result<(), Error> {
    let is_paid = |purchase: &&Purchase| matches!(purchase.status, Status::Paid { .. });
    let before = change.before.as_ref().filter(is_paid);
    let after = change.after.as_ref().filter(is_paid);
    if let (None, Some(paid)) = (before, after) {
        publisher.publish(&NotePurchased::from(paid)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::*, payment::Outcome, service::memory::*};

    #[tokio::test]
    async fn a_purchase_is_published_when_it_becomes_paid_and_on_no_other_change() {
        let cloud = Memory::default();
        let pending = cloud.with_pending("tok_visa").await;
        let settled = |outcome: Outcome| Purchase {
            status: outcome.into(),
            ..pending.clone()
        };
        let (paid, failed) = (settled(paid()), settled(failed()));
        let changes = [
            (None, Some(&pending), 0),
            (Some(&pending), Some(&failed), 0),
            (Some(&pending), Some(&paid), 1),
            (Some(&paid), Some(&paid), 1),
            (Some(&paid), None, 1),
        ];
        for (before, after, published) in changes {
            let change = Change {
                before: before.cloned(),
                after: after.cloned(),
            };
            purchase_paid(&cloud, &change).await.unwrap();
            assert_eq!(cloud.published().len(), published, "{change:?}");
        }
        assert_eq!(cloud.published(), [NotePurchased::from(&paid)]);
    }
}
