use super::Error;
use crate::{
    purchase::{Purchase, Status},
    service::{NotePurchased, Publisher, stream::Change},
};

/// Announces a purchase that became PAID. Any other change is no news.
///
/// # Errors
/// When a service fails; the stream delivers the change again.
#[tracing::instrument(skip_all)]
pub async fn purchase_paid(announcer: &impl Publisher, change: &Change) -> Result<(), Error> {
    let is_paid = |purchase: &&Purchase| matches!(purchase.status, Status::Paid { .. });
    let before = change.before.as_ref().filter(is_paid);
    let after = change.after.as_ref().filter(is_paid);
    if let (None, Some(paid)) = (before, after) {
        announcer.announce(&NotePurchased::from(paid)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::memory::*;

    #[tokio::test]
    async fn a_purchase_is_announced_when_it_becomes_paid_and_at_no_other_change() {
        let cloud = Memory::default();
        let pending = cloud.ordered("tok_visa").await;
        let settled = |end: crate::payment::End| Purchase {
            status: end.into(),
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
        for (before, after, announced) in changes {
            let change = Change {
                before: before.cloned(),
                after: after.cloned(),
            };
            purchase_paid(&cloud, &change).await.unwrap();
            assert_eq!(cloud.announced().len(), announced, "{change:?}");
        }
        assert_eq!(cloud.announced(), [NotePurchased::from(&paid)]);
    }
}
