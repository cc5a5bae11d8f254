use std::fmt::{Debug, Display};

use domain::{Author, Id, Sub, Timestamp, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// An item that belongs to one user. Serde writes and reads it as an item of the table, so its attributes include
/// `userId`, [`Resource::ID`], `createdAt`, `updatedAt`, `version` and those of its fields.
pub trait Resource:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The type of the resource's id.
    type Id: Copy + Debug + Display + Send + Sync;
    /// The fields that clients write.
    type Fields: Fields;

    /// The name of the attribute with the id: the sort key of the table.
    const ID: &'static str;

    /// The id of the user who owns the resource.
    fn user_id(&self) -> &UserId;
    /// The id of the resource.
    fn id(&self) -> Self::Id;
    /// The fields that clients write.
    fn fields(&self) -> &Self::Fields;
    /// The id of the write that created or last changed the resource.
    fn version(&self) -> Version;
    /// Applies an update: replaces the fields, the time of the last update and the version.
    fn apply(&mut self, change: &Change<Self::Fields>);
}

/// The fields of a resource that clients write.
pub trait Fields:
    Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The unique fields. No two resources of a user have the same value of such a field, however many requests run
    /// at the same time.
    const UNIQUE: UniqueFields<Self>;

    /// The values that fields have in resources that were stored before the fields were added.
    const DEFAULTS: Defaults = &[];
}

/// The name of each unique field in JSON, and a function that returns the value as a text, or None if the resource has
/// no value.
pub type UniqueFields<F> = &'static [(&'static str, fn(&F) -> Option<String>)];

/// The name of each field with a default value in JSON, and the value as JSON, such as `("shelf", "\"A1\"")`.
pub type Defaults = &'static [(&'static str, &'static str)];

/// Marks an [`Id`] as the id of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WriteKind {}

/// The id of a write of a resource.
///
/// The id of the last write is the resource's entity tag. If the SDK sends one write twice, both requests have the
/// same id, so a repeated request can be distinguished from a second write.
pub type Version = Id<WriteKind>;

/// What is generated for a new resource, whose ids have the type `Id<Kind>`. A retry with the same plan creates the same
/// resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Plan<Kind> {
    /// The id of the resource.
    pub id: Id<Kind>,
    /// The first version of the resource.
    pub version: Version,
    /// The time at which the resource is created.
    pub created_at: Timestamp,
}

impl<Kind> Plan<Kind> {
    /// Generates a plan.
    pub fn generate() -> Self {
        Self {
            id: Id::generate(),
            version: Version::generate(),
            created_at: Timestamp::now(),
        }
    }
}

/// What an update of a resource writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<F> {
    /// The new values of all fields that clients write.
    pub fields: F,
    /// The time of the update.
    pub updated_at: Timestamp,
    /// The id of the update. It becomes the version of the resource.
    pub version: Version,
    /// The `sub` of the user who updates the resource. None to keep the stored `sub`.
    pub sub: Option<Sub>,
}

impl<F> Change<F> {
    /// Creates a change of `author`, with a new version and the current time.
    pub fn new(fields: F, author: &Author) -> Self {
        Self {
            fields,
            updated_at: Timestamp::now(),
            version: Version::generate(),
            sub: author.sub,
        }
    }
}

/// The condition that a resource must meet to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The resource may have any version.
    Any,
    /// The version of the resource is in this list. If the list is empty, no resource meets the condition.
    OneOf(Vec<Version>),
}

impl Precondition {
    /// Whether a resource with the version `version` meets the condition.
    pub fn allows(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}
