use resources::{Error, prelude::*};

use crate::specimens::specimen::{Specimen, SpecimenId};

/// Deletes a specimen of `user`, if it meets the precondition `expected`. Succeeds if it does not exist.
///
/// # Errors
/// Returns [`Error`] if the specimen does not meet `expected`, or a service call fails.
#[tracing::instrument(name = "specimens_delete", skip_all)]
pub async fn delete(
    specimens: &impl Store<Specimen>,
    user: &UserId,
    id: SpecimenId,
    expected: &Precondition,
) -> Result<(), Error> {
    specimens.remove(user, id, expected).await
}

#[cfg(test)]
mod tests {
    use resources::memory::Failure;

    use super::*;
    use crate::specimens::controller::fixtures::*;

    #[tokio::test]
    async fn a_deleted_specimen_can_be_deleted_again_and_its_unique_values_are_free() {
        let memory = Memory::default();
        let id = specimen(&memory, &ada(), 1).await.specimen_id;
        for _ in 0..2 {
            let deleted = delete(&memory, &ada().id, id, &Precondition::Any).await;
            deleted.unwrap();
            assert_eq!(memory.count(), 0);
        }
        specimen(&memory, &ada(), 1).await;
    }

    #[tokio::test]
    async fn a_specimen_of_another_user_is_not_deleted() {
        let memory = Memory::default();
        let id = specimen(&memory, &ada(), 1).await.specimen_id;
        let deleted = delete(&memory, &bob().id, id, &Precondition::Any).await;
        deleted.unwrap();
        assert_eq!(memory.count(), 1);
    }

    #[tokio::test]
    async fn a_specimen_with_another_version_is_not_deleted() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        let id = created.specimen_id;
        for versions in [vec![], vec![Version::generate()]] {
            let expected = Precondition::OneOf(versions);
            let refused = delete(&memory, &ada().id, id, &expected).await;
            assert!(matches!(refused, Err(Error::Changed)));
        }
        let expected = Precondition::OneOf(vec![Version::generate(), created.version]);
        delete(&memory, &ada().id, id, &expected).await.unwrap();
        assert_eq!(memory.count(), 0);
    }

    #[tokio::test]
    async fn a_retry_completes_a_delete_that_failed_at_any_call() {
        for failure in [Failure::Unsent, Failure::ResponseLost] {
            for calls in 0.. {
                let memory = Memory::default();
                let id = specimen(&memory, &ada(), 1).await.specimen_id;
                memory.fail_after(calls, failure);
                let first = delete(&memory, &ada().id, id, &Precondition::Any).await;
                memory.recover();
                let second = delete(&memory, &ada().id, id, &Precondition::Any).await;
                second.unwrap();
                assert_eq!(memory.count(), 0, "{failure:?} after {calls} calls");
                if first.is_ok() {
                    assert!(calls > 0);
                    break;
                }
            }
        }
    }
}
