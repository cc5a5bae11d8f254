use super::{Error, announce::announce, settle::revise};
use crate::{
    purchase::Timestamp,
    service::{Publisher, PurchaseStore, stream::Change},
};

/// Announces the purchase if `change` added a revision: publishes the revision with the notices of
/// the outbox, and then removes the outbox. Ignores every other change. Also ignores a new item, so that
/// an import announces nothing.
///
/// # Errors
/// Fails if a service call fails. The stream then delivers the change again.
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
        // During a deployment, a function of a release without an outbox settled the purchase. The
        // stream reports the revision that is added here, and a later call announces it.
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
    use crate::{
        fixtures::*,
        payment::Outcome,
        purchase::{Notice, Purchase},
        service::{NotePurchased, SettleIf, memory::*},
    };

    /// Delivers the records of the stream from the record `from` on.
    async fn deliver(cloud: &Memory, from: usize) -> Vec<bool> {
        let mut handled = Vec::new();
        for change in &cloud.stream()[from..] {
            handled.push(purchase_paid(cloud, cloud, change, NOON).await.is_ok());
        }
        handled
    }

    async fn settle_as(cloud: &Memory, outcome: Outcome) -> Purchase {
        let pending = with_pending(cloud, "tok_visa").await;
        let condition = SettleIf::Pending;
        cloud
            .settle(&pending.key, &outcome, condition, NOON)
            .await
            .unwrap();
        only(cloud)
    }

    #[tokio::test]
    async fn a_payment_is_announced_once_and_then_no_work_is_due() {
        let cloud = Memory::default();
        let paid = settle_as(&cloud, paid()).await;
        assert!(paid.due_at.is_some());
        deliver(&cloud, 0).await;
        assert_eq!(cloud.published(), [NotePurchased::from(&paid)]);
        let announced = only(&cloud);
        assert_eq!((&announced.outbox, announced.due_at), (&None, None));
        // The record of the emptied outbox announces nothing.
        deliver(&cloud, 2).await;
        assert_eq!(cloud.published().len(), 1);
    }

    #[tokio::test]
    async fn the_message_says_what_is_granted_and_in_which_currency() {
        let cloud = Memory::default();
        settle_as(&cloud, paid()).await;
        deliver(&cloud, 0).await;
        let [message] = cloud.published().try_into().unwrap();
        assert_eq!((message.granted, message.revision), (10, 1));
        assert_eq!((message.amount, &*message.currency), (4_000, "usd"));
        assert_eq!(message.notices, [Notice::Paid]);
    }

    #[tokio::test]
    async fn a_failed_purchase_is_not_announced() {
        let cloud = Memory::default();
        settle_as(&cloud, failed()).await;
        deliver(&cloud, 0).await;
        assert!(cloud.published().is_empty());
    }

    #[tokio::test]
    async fn a_purchase_whose_announcement_fails_is_delivered_again() {
        let cloud = Memory::default();
        settle_as(&cloud, paid()).await;
        cloud.fail("publish", Failure::Unsent, 0, 1);
        assert_eq!(deliver(&cloud, 0).await, [true, false]);
        assert!(only(&cloud).outbox.is_some());
        assert_eq!(deliver(&cloud, 1).await, [true]);
        assert_eq!(cloud.published().len(), 1);
        assert_eq!(only(&cloud).outbox, None);
    }

    #[tokio::test]
    async fn an_import_announces_nothing() {
        let cloud = Memory::default();
        let paid = settle_as(&cloud, paid()).await;
        let imported = Purchase {
            outbox: None,
            due_at: None,
            ..paid.clone()
        };
        for after in [Some(imported), Some(paid), None] {
            let change = Change {
                before: None,
                after,
            };
            purchase_paid(&cloud, &cloud, &change, NOON).await.unwrap();
        }
        assert!(cloud.published().is_empty());
    }

    #[tokio::test]
    async fn a_later_revision_keeps_the_notices_that_are_not_announced_yet() {
        let cloud = Memory::default();
        let paid = settle_as(&cloud, paid()).await;
        let dispute = dispute("dp_1", crate::purchase::DisputeStatus::Open, 0);
        let disputed = paid
            .after(crate::purchase::AfterSale::Dispute(dispute), NOON)
            .unwrap();
        assert!(cloud.revise(&disputed, 1).await.unwrap());
        // The announcement of the first revision must not remove the notices of the second.
        deliver(&cloud, 0).await;
        let revisions: Vec<_> = cloud
            .published()
            .iter()
            .map(|message| (message.revision, message.notices.len()))
            .collect();
        assert_eq!(revisions, [(1, 1), (2, 2)]);
        assert_eq!(only(&cloud).outbox, None);
    }

    #[tokio::test]
    async fn a_purchase_that_an_earlier_release_settled_is_announced() {
        let cloud = Memory::default();
        let pending = with_pending(&cloud, "tok_visa").await;
        cloud.store(Purchase {
            revision: 0,
            outbox: None,
            due_at: None,
            ..settled(pending)
        });
        for _ in 0..3 {
            deliver(&cloud, 0).await;
        }
        assert!(!cloud.published().is_empty());
        let is_first = |message: &NotePurchased| (message.revision, message.granted) == (1, 10);
        assert!(cloud.published().iter().all(is_first));
        assert_eq!(only(&cloud).outbox, None);
    }
}
