use metrics::{STORAGE_BOUGHT, STORAGE_REVOKED, Subject};

use super::Error;
use crate::{
    credit::Credit,
    note::UserId,
    service::{self, Credits},
};

/// The maximum number of attempts to store a credit. An attempt fails if another message stores a
/// credit of the same purchase between the attempt's read and its write.
const ATTEMPTS: usize = 20;

/// Stores the credit of a purchase of `user` if its revision is later than that of the stored credit.
/// So messages about the purchase can arrive in any order and more than once.
///
/// # Errors
/// Fails if a service call fails. Tries at most `ATTEMPTS` times, and fails as unavailable if another
/// message stores a credit of the same purchase during every attempt.
#[tracing::instrument(skip_all)]
pub async fn credit(storage: &impl Credits, user: &UserId, credit: &Credit) -> Result<(), Error> {
    Subject::Purchase.log(credit.purchase);
    for _ in 0..ATTEMPTS {
        let stored = storage.credit(user, credit.purchase).await?;
        // Messages of a release that did not grant storage have the revision 0, and are ignored.
        if credit.revision <= stored.map_or(0, |stored| stored.revision) {
            return Ok(());
        }
        if storage
            .replace_credit(user, stored.as_ref(), credit)
            .await?
        {
            let (before, after) = (stored.map_or(0, |stored| stored.granted), credit.granted);
            if after >= before {
                STORAGE_BOUGHT.add((after - before).into());
            } else {
                STORAGE_REVOKED.add((before - after).into());
            }
            return Ok(());
        }
    }
    let cause = "other messages keep changing the credit of the purchase";
    Err(service::Error::Unavailable(cause.into()).into())
}

#[cfg(test)]
mod tests {
    use metrics::Metric;

    use super::*;
    use crate::{
        controller::{Plan, create},
        credit::PurchaseId,
        service::{Storage as _, memory::*},
    };

    fn credits(purchase: PurchaseId) -> [Credit; 3] {
        [(1, 10), (2, 5), (3, 0)].map(|(revision, granted)| Credit {
            purchase,
            granted,
            revision,
        })
    }

    async fn bought(cloud: &Memory) -> u64 {
        cloud.usage(&ada()).await.unwrap().bought
    }

    #[tokio::test]
    async fn bought_and_revoked_storage_is_counted_once() {
        let cloud = Memory::default();
        let purchase = PurchaseId::generate();
        metrics::begin();
        for each in credits(purchase).iter().flat_map(|each| [each; 2]) {
            credit(&cloud, &ada(), each).await.unwrap();
        }
        let record = metrics::take().unwrap();
        assert_eq!(record.value(Metric::StorageBought), Some(10));
        assert_eq!(record.value(Metric::StorageRevoked), Some(10));
        let ids = Vec::from_iter(record.ids(Subject::Purchase));
        assert_eq!(ids, [purchase.to_string()]);
    }

    #[tokio::test]
    async fn the_credits_of_two_purchases_add_up() {
        let cloud = Memory::default();
        for _ in 0..2 {
            let [paid, ..] = credits(PurchaseId::generate());
            credit(&cloud, &ada(), &paid).await.unwrap();
        }
        assert_eq!(bought(&cloud).await, 20);
        assert_eq!(cloud.usage(&bob()).await.unwrap().bought, 0);
    }

    #[tokio::test]
    async fn the_credit_is_that_of_the_latest_revision_whatever_the_order_of_the_messages() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            for last in 0..3 {
                let cloud = Memory::default();
                let credits = credits(PurchaseId::generate());
                for next in order.into_iter().filter(|&next| next <= last) {
                    for _ in 0..3 {
                        credit(&cloud, &ada(), &credits[next]).await.unwrap();
                    }
                }
                let expected = u64::from(credits[last].granted);
                assert_eq!(bought(&cloud).await, expected, "{order:?}, {last}");
            }
        }
    }

    #[tokio::test]
    async fn a_message_of_a_release_without_revisions_grants_nothing() {
        let cloud = Memory::default();
        let old = Credit {
            purchase: PurchaseId::generate(),
            granted: 0,
            revision: 0,
        };
        credit(&cloud, &ada(), &old).await.unwrap();
        assert_eq!(cloud.writes(), 0);
    }

    #[tokio::test]
    async fn a_retry_stores_the_credit_once_after_a_failure_at_any_call() {
        for calls in 0.. {
            let cloud = Memory::default();
            let [paid, ..] = credits(PurchaseId::generate());
            cloud.fail_after(calls);
            let failed = credit(&cloud, &ada(), &paid).await.is_err();
            cloud.recover();
            credit(&cloud, &ada(), &paid).await.unwrap();
            assert_eq!(bought(&cloud).await, 10, "after {calls} calls");
            if !failed {
                assert_eq!(calls, 2);
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_full_storage_refuses_a_new_note_until_storage_is_bought() {
        let cloud = Memory::default();
        let (author, draft) = (author(), resolved("hello", None));
        let create = async || create(&cloud, &cloud, 1, &author, &draft, Plan::generate()).await;
        let refused = async |used| match create().await.unwrap_err() {
            Error::StorageFull {
                used: notes,
                allowed,
            } => assert_eq!((notes, allowed), (used, used)),
            other => panic!("{other}"),
        };
        create().await.unwrap();
        refused(1).await;
        let bought = Credit {
            purchase: PurchaseId::generate(),
            granted: 1,
            revision: 1,
        };
        credit(&cloud, &ada(), &bought).await.unwrap();
        create().await.unwrap();
        refused(2).await;
    }
}
