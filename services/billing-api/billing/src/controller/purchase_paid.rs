use super::{Error, announce::announce, settle::revise};
use crate::{
    purchase::Timestamp,
    service::{Publisher, PurchaseStore, stream::Change},
};

/// Announces the purchase if `change` added a revision: publishes the revision with the notices of
/// the outbox, and then empties the outbox. Ignores every other change, and a purchase that was
/// created with a status other than PENDING, for example by an import.
///
/// # Errors
/// Fails if the purchase cannot be published. The stream then delivers the change again.
#[tracing::instrument(skip_all)]
pub async fn purchase_paid(
    publisher: &impl Publisher,
    purchases: &impl PurchaseStore,
    change: &Change,
    now: Timestamp,
) -> Result<(), Error> {
    let Change {
        before: Some(before),
        after: Some(after),
    } = change
    else {
        return Ok(());
    };
    if after.outbox.is_some() {
        if (before.revision, &before.outbox) != (after.revision, &after.outbox) {
            announce(publisher, purchases, after).await?;
        }
    } else if before.is_pending() && after.paid_by().is_some() && after.revision == 0 {
        // A function of a release without an outbox has settled the purchase during a deployment.
        // The new revision is a change of its own, and is announced like every other one.
        revise(purchases, after.clone(), |purchase| {
            purchase.unannounced(now)
        })
        .await?;
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
