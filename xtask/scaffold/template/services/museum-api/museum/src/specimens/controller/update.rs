use resources::{Error, prelude::*};

use crate::specimens::specimen::{Specimen, SpecimenFields, SpecimenId};

/// Replaces the fields of a specimen of `author`, if the specimen meets the precondition `expected`. Returns its new
/// version.
///
/// # Errors
/// Returns [`Error`] if `author` has no specimen with this id, if it does not meet `expected`, if another
/// specimen of `author` has the same value of a unique field, or if a service call fails.
#[tracing::instrument(name = "specimens_update", skip_all)]
pub async fn update(
    specimens: &impl Store<Specimen>,
    author: &Author,
    id: SpecimenId,
    fields: SpecimenFields,
    expected: &Precondition,
) -> Result<Version, Error> {
    let change = Change::new(fields, author);
    specimens.replace(&author.id, id, &change, expected).await?;
    Ok(change.version)
}

#[cfg(test)]
mod tests {
    use resources::memory::Failure;

    use super::*;
    use crate::specimens::controller::fixtures::*;

    async fn put(
        memory: &Memory,
        author: &Author,
        id: SpecimenId,
        number: u32,
        expected: Precondition,
    ) -> Result<Version, Error> {
        update(memory, author, id, fields(number), &expected).await
    }

    #[tokio::test]
    async fn an_update_replaces_the_fields_and_the_version_and_keeps_the_rest() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        let id = created.specimen_id;
        let version = put(&memory, &ada(), id, 2, Precondition::Any)
            .await
            .unwrap();
        assert_ne!(version, created.version);
        let found = memory.find(&ada().id, id).await.unwrap();
        let expected = Specimen {
            fields: fields(2),
            updated_at: found.updated_at,
            version,
            ..created
        };
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn a_second_write_over_the_same_version_is_refused() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        let id = created.specimen_id;
        let expected = Precondition::OneOf(vec![created.version]);
        put(&memory, &ada(), id, 2, expected.clone()).await.unwrap();
        for expected in [expected, Precondition::OneOf(vec![])] {
            let refused = put(&memory, &ada(), id, 3, expected).await;
            assert!(matches!(refused, Err(Error::Changed)));
        }
        assert_eq!(memory.find(&ada().id, id).await.unwrap().fields, fields(2));
    }

    #[tokio::test]
    async fn an_update_neither_creates_a_specimen_nor_changes_one_of_another_user() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        for id in [created.specimen_id, SpecimenId::generate()] {
            let refused = put(&memory, &bob(), id, 2, Precondition::Any).await;
            assert!(matches!(refused, Err(Error::NotFound)));
        }
        assert_eq!(memory.count(), 1);
        let found = memory.find(&ada().id, created.specimen_id).await;
        assert_eq!(found.unwrap(), created);
    }

    #[tokio::test]
    async fn an_update_without_a_sub_keeps_the_stored_sub() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        let author = Author { sub: None, ..ada() };
        let id = created.specimen_id;
        put(&memory, &author, id, 2, Precondition::Any)
            .await
            .unwrap();
        assert_eq!(memory.sub(&ada().id, id), ada().sub);
    }

    #[tokio::test]
    async fn a_repeated_update_succeeds_whichever_call_failed() {
        for failure in [Failure::Unsent, Failure::ResponseLost] {
            for calls in 0.. {
                let memory = Memory::default();
                let id = specimen(&memory, &ada(), 1).await.specimen_id;
                memory.fail_after(calls, failure);
                let first = put(&memory, &ada(), id, 2, Precondition::Any).await;
                memory.recover();
                put(&memory, &ada(), id, 2, Precondition::Any)
                    .await
                    .unwrap();
                let found = memory.find(&ada().id, id).await.unwrap();
                assert_eq!(found.fields, fields(2), "{failure:?} after {calls} calls");
                if first.is_ok() {
                    assert!(calls > 0);
                    break;
                }
            }
        }
    }

    // if unique {
    #[tokio::test]
    async fn a_taken_unique_value_is_refused_until_its_holder_frees_it() {
        let memory = Memory::default();
        let first = specimen(&memory, &ada(), 1).await.specimen_id;
        let second = specimen(&memory, &ada(), 2).await.specimen_id;
        let refused = put(&memory, &ada(), second, 1, Precondition::Any).await;
        assert!(matches!(refused, Err(Error::Taken(_))));
        put(&memory, &ada(), first, 3, Precondition::Any)
            .await
            .unwrap();
        put(&memory, &ada(), second, 1, Precondition::Any)
            .await
            .unwrap();
        specimen(&memory, &ada(), 2).await;
    }
    // }
}
