use resources::{Error, prelude::*};

use crate::specimens::specimen::{Specimen, SpecimenId};

/// Reads a specimen of `user`.
///
/// # Errors
/// Returns [`Error`] if `user` has no specimen with this id, or a service call fails.
#[tracing::instrument(name = "specimens_get", skip_all)]
pub async fn get(
    specimens: &impl Store<Specimen>,
    user: &UserId,
    id: SpecimenId,
) -> Result<Specimen, Error> {
    specimens.find(user, id).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimens::controller::fixtures::*;

    #[tokio::test]
    async fn a_specimen_of_another_user_is_not_found() {
        let memory = Memory::default();
        let created = specimen(&memory, &ada(), 1).await;
        let id = created.specimen_id;
        assert_eq!(get(&memory, &ada().id, id).await.unwrap(), created);
        let refused = get(&memory, &bob().id, id).await;
        assert!(matches!(refused, Err(Error::NotFound)));
    }
}
