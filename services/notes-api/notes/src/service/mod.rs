//! What is outside: one trait per thing, and its AWS implementation beside it.

pub mod attachments;
pub mod bucket;
#[cfg(test)]
pub(crate) mod memory;
pub mod notes;

pub use attachments::{AttachmentRecords, AttachmentsTable};
pub use bucket::{AttachmentsBucket, FileStore, FileUrls, UrlSigner};
pub use domain::ServiceError as Error;
use dynamodb::Dynamodb;
use function::StartError;
pub use notes::{NoteStore, NotesTable};

/// What a route that shows notes works with: the notes, and leave to read their files.
#[derive(Debug)]
pub struct ReadServices {
    /// The notes.
    pub notes: NotesTable,
    /// What is known of their files.
    pub records: AttachmentsTable,
    /// Where the files can be read.
    pub urls: UrlSigner,
}

impl ReadServices {
    /// By the function's settings.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        Self::new(&aws, &Dynamodb::new(&aws)).await
    }

    /// By the function's settings, beside what else uses the client stack.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn new(aws: &aws::Stack, dynamodb: &Dynamodb) -> Result<Self, StartError> {
        let services = Self {
            notes: NotesTable::from_env(dynamodb)?,
            records: AttachmentsTable::from_env(dynamodb)?,
            urls: UrlSigner::from_env(aws)?,
        };
        aws.warm_up("dynamodb").await;
        Ok(services)
    }
}

/// What a route that takes notes or their files away works with.
#[derive(Debug)]
pub struct WriteServices {
    /// The notes.
    pub notes: NotesTable,
    /// What is known of their files.
    pub records: AttachmentsTable,
    /// The files.
    pub files: AttachmentsBucket,
}

impl WriteServices {
    /// By the function's settings.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed.
    pub async fn from_env() -> Result<Self, StartError> {
        let aws = aws::Stack::from_env()?;
        let dynamodb = Dynamodb::new(&aws);
        let services = Self {
            notes: NotesTable::from_env(&dynamodb)?,
            records: AttachmentsTable::from_env(&dynamodb)?,
            files: AttachmentsBucket::from_env(&aws)?,
        };
        aws.warm_up("dynamodb").await;
        Ok(services)
    }
}
