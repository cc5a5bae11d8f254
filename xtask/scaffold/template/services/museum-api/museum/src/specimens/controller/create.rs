use resources::{Error, prelude::*};

use crate::specimens::specimen::{Specimen, SpecimenFields, SpecimenKind};

/// Creates a specimen of `author`, with the id, version and time from `plan`. Does nothing if it already exists.
/// Returns the plan, from which [`Specimen::new`] builds the specimen again.
///
/// # Errors
/// Returns [`Error`] if another specimen of `author` has the same value of a unique field, or a service call
/// fails.
#[tracing::instrument(name = "specimens_create", skip_all)]
pub async fn create(
    specimens: &impl Store<Specimen>,
    author: &Author,
    fields: &SpecimenFields,
    plan: Plan<SpecimenKind>,
) -> Result<Plan<SpecimenKind>, Error> {
    let specimen = Specimen::new(&author.id, plan, fields.clone());
    specimens.insert(&specimen, author.sub).await?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use resources::memory::Failure;

    use super::*;
    use crate::specimens::controller::fixtures::*;

    #[tokio::test]
    async fn a_new_specimen_can_be_read_and_stores_the_sub_of_its_author() {
        for author in [ada(), bob()] {
            let memory = Memory::default();
            let created = specimen(&memory, &author, 1).await;
            let found = memory.find(&author.id, created.specimen_id).await;
            assert_eq!(found.unwrap(), created);
            let sub = memory.sub(&author.id, created.specimen_id);
            assert_eq!(sub, author.sub);
        }
    }

    #[tokio::test]
    async fn repeated_creation_with_the_same_plan_creates_one_specimen() {
        let memory = Memory::default();
        let plan = Plan::generate();
        for _ in 0..3 {
            let created = create(&memory, &ada(), &fields(1), plan).await;
            assert_eq!(created.unwrap(), plan);
        }
        assert_eq!(memory.count(), 1);
    }

    #[tokio::test]
    async fn a_repetition_creates_the_specimen_whichever_call_failed() {
        for failure in [Failure::Unsent, Failure::ResponseLost] {
            for calls in 0.. {
                let memory = Memory::default();
                let plan = Plan::generate();
                memory.fail_after(calls, failure);
                let first = create(&memory, &ada(), &fields(1), plan).await;
                memory.recover();
                create(&memory, &ada(), &fields(1), plan).await.unwrap();
                assert_eq!(memory.count(), 1, "{failure:?} after {calls} calls");
                if first.is_ok() {
                    assert!(calls > 0);
                    break;
                }
            }
        }
    }

    // if unique {
    #[tokio::test]
    async fn a_specimen_with_a_taken_unique_value_is_refused_unless_another_user_has_it() {
        let memory = Memory::default();
        specimen(&memory, &ada(), 1).await;
        let refused = create(&memory, &ada(), &fields(1), Plan::generate()).await;
        let names: Vec<_> = SpecimenFields::UNIQUE
            .iter()
            .map(|(name, _)| *name)
            .collect();
        let Err(Error::Taken(taken)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(taken, names);
        specimen(&memory, &bob(), 1).await;
        specimen(&memory, &ada(), 2).await;
        assert_eq!(memory.count(), 3);
    }
    // }
}
