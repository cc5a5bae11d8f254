use resources::{Error, prelude::*};

use crate::specimens::specimen::{Specimen, SpecimenId};

/// Reads the specimens of `user` that are older than the specimen `before`, newest first. If `before` is None, starts
/// with the newest specimen. Returns at most `limit` specimens, and fewer if the specimens are large.
///
/// # Errors
/// Fails if a service call fails.
#[tracing::instrument(name = "specimens_list", skip_all)]
pub async fn list(
    specimens: &impl Store<Specimen>,
    user: &UserId,
    before: Option<SpecimenId>,
    limit: usize,
) -> Result<Page<Specimen>, Error> {
    specimens.page(user, before, limit).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimens::controller::fixtures::*;

    #[tokio::test]
    async fn the_pages_have_each_specimen_exactly_once_newest_first() {
        let memory = Memory::default();
        let mut created = Vec::new();
        for number in 0..25 {
            created.insert(0, specimen(&memory, &ada(), number).await);
            specimen(&memory, &bob(), number).await;
        }
        let mut listed: Vec<Specimen> = Vec::new();
        loop {
            let before = listed.last().map(|specimen| specimen.specimen_id);
            let page = list(&memory, &ada().id, before, 10).await.unwrap();
            listed.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(listed, created);
    }
}
