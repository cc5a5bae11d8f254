//! Specimens and their fields. These types cannot hold invalid values.

use resources::prelude::*;
use serde::{Deserialize, Serialize};

/// A specimen, as the table Specimens stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Specimen {
    /// The id of the specimen's owner: the partition key.
    pub user_id: UserId,
    /// The id of the specimen: the sort key. Newer specimens have greater ids.
    pub specimen_id: SpecimenId,
    /// The fields that the owner writes.
    #[serde(flatten)]
    pub fields: SpecimenFields,
    /// The time at which the specimen was created.
    pub created_at: Timestamp,
    /// The time at which the specimen was created or last updated.
    pub updated_at: Timestamp,
    /// The id of the write that created or last updated the specimen: its entity tag.
    pub version: Version,
}

/// The fields of a specimen that its owner writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecimenFields {
    // each field {
    /// The epithet of the specimen.
    pub epithet: Text<200>,
    // each optional field:
    /// The provenance of the specimen.
    pub provenance: Option<Text<100>>,
    // the others:
    /// The accession of the specimen.
    pub accession: Text<40>,
    /// The quantity of the specimen.
    pub quantity: Integer,
    /// The weight of the specimen.
    pub weight: Option<Decimal>,
    /// The on display of the specimen.
    pub on_display: bool,
    /// The found on of the specimen.
    pub found_on: Option<Date>,
    /// The examined at of the specimen.
    pub examined_at: Option<Time>,
    /// The website of the specimen.
    pub website: Option<Url>,
    /// The curator of the specimen.
    pub curator: Option<Email>,
    // }
}

impl Fields for SpecimenFields {
    const UNIQUE: UniqueFields<Self> = &[
        // each unique field {
        ("accession", |fields| fields.accession.text()),
        // }
    ];

    const DEFAULTS: Defaults = &[
        // each field with a default {
        ("epithet", "\"An epithet\""),
        // }
    ];
}

/// Marks an [`Id`] as the id of a specimen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecimenKind {}

/// The id of a specimen.
pub type SpecimenId = Id<SpecimenKind>;

impl Specimen {
    /// Creates a specimen of `user` with the id, version and time from `plan`.
    pub fn new(user: &UserId, plan: Plan<SpecimenKind>, fields: SpecimenFields) -> Self {
        Self {
            user_id: user.clone(),
            specimen_id: plan.id,
            fields,
            created_at: plan.created_at,
            updated_at: plan.created_at,
            version: plan.version,
        }
    }
}

impl Resource for Specimen {
    type Id = SpecimenId;
    type Fields = SpecimenFields;

    const ID: &'static str = "specimenId";

    fn user_id(&self) -> &UserId {
        &self.user_id
    }

    fn id(&self) -> SpecimenId {
        self.specimen_id
    }

    fn fields(&self) -> &SpecimenFields {
        &self.fields
    }

    fn version(&self) -> Version {
        self.version
    }

    fn apply(&mut self, change: &Change<SpecimenFields>) {
        self.fields = change.fields.clone();
        self.updated_at = change.updated_at;
        self.version = change.version;
    }
}
