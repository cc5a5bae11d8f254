//! External services: one trait per service, and its implementation with AWS.

pub mod attachments;
pub mod bucket;
pub mod credits; // part: billing
#[cfg(test)]
pub(crate) mod memory;
pub mod notes;
pub mod storage;

pub use attachments::{AttachmentRecords, AttachmentsTable};
pub use bucket::{AttachmentsBucket, FileStore, FileUrls, UrlSigner};
pub use credits::Credits; // part: billing
pub use domain::ServiceError as Error;
use dynamodb::Dynamodb;
use function::StartError;
pub use notes::{NoteStore, NotesTable};
pub use storage::{CountedNotes, CountedTables, Storage, StorageTable};

/// The services of a function that reads notes.
#[derive(Debug)]
pub struct ReadServices {
    /// The client of the table Notes.
    pub notes: NotesTable,
    /// The client of the table Attachments.
    pub records: AttachmentsTable,
    /// The signer of download URLs.
    pub urls: UrlSigner,
}

impl ReadServices {
    /// Creates the clients of the services. Environment variables contain the names of the tables
    /// and the bucket.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        let dynamodb = Dynamodb::new(&aws);
        let services = Self {
            notes: NotesTable::from_env(&dynamodb)?,
            records: AttachmentsTable::from_env(&dynamodb)?,
            urls: UrlSigner::from_env(&aws)?,
        };
        aws.warm_up("dynamodb").await;
        Ok(services)
    }
}

/// The services of a function that updates or deletes notes.
#[derive(Debug)]
pub struct WriteServices {
    /// The client of the table Notes.
    pub notes: NotesTable,
    /// The client of the table Attachments.
    pub records: AttachmentsTable,
    /// The client of the bucket of attached files.
    pub files: AttachmentsBucket,
}

impl WriteServices {
    /// Creates the clients of the services. Environment variables contain the names of the tables
    /// and the bucket.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        Self::new(&aws, &Dynamodb::new(&aws)).await
    }

    /// Creates the clients of the services from `aws` and `dynamodb`. Environment variables contain
    /// the names of the tables and the bucket.
    ///
    /// # Errors
    /// Fails if a variable is missing or malformed. The error names the variable.
    pub async fn new(aws: &aws::Stack, dynamodb: &Dynamodb) -> Result<Self, StartError> {
        let services = Self {
            notes: NotesTable::from_env(dynamodb)?,
            records: AttachmentsTable::from_env(dynamodb)?,
            files: AttachmentsBucket::from_env(aws)?,
        };
        aws.warm_up("dynamodb").await;
        Ok(services)
    }
}
