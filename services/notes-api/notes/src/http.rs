//! What the routes' handlers share: how a note looks in JSON, and what a client is told when a
//! rule says no.

use api::{Body, Fields, IfMatch, List, Page, Problem, Request, Response, StatusCode};
use serde::Serialize;

use crate::{
    controller::{Draft, Error, FileView, Listed, View},
    file::{AttachmentName, Declaration, Upload},
    note::{Content, NoteId, Precondition, Timestamp, UserId},
    service,
};

impl Body for Draft {
    fn read(fields: &mut Fields) -> Option<Self> {
        let content = fields.required("content");
        let attachment = fields.optional("attachment");
        Some(Self {
            content: content?,
            attachment: attachment?,
        })
    }
}

impl Body for Declaration {
    fn read(fields: &mut Fields) -> Option<Self> {
        let filename = fields.required("filename");
        let content_type = fields.required("contentType");
        let size = fields.required("size");
        Some(Self {
            filename: filename?,
            content_type: content_type?,
            size: size?,
        })
    }
}

/// A note in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoteBody<'a> {
    user_id: &'a UserId,
    note_id: NoteId,
    content: &'a Content,
    attachment: Option<&'a AttachmentName>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment_url: Option<&'a str>,
}

impl<'a> From<&'a View> for NoteBody<'a> {
    fn from(View { note, file }: &'a View) -> Self {
        let file = file.as_ref();
        Self {
            user_id: &note.user_id,
            note_id: note.note_id,
            content: &note.content,
            attachment: note.attachment.as_ref(),
            created_at: note.created_at,
            updated_at: note.updated_at,
            attachment_type: file.map(|FileView { file, .. }| file.content_type.as_str()),
            attachment_size: file.map(|FileView { file, .. }| file.size),
            attachment_url: file.map(|FileView { url, .. }| url.as_str()),
        }
    }
}

/// An upload in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadBody<'a> {
    attachment: &'a str,
    upload_url: &'a str,
    headers: std::collections::BTreeMap<&'a str, &'a str>,
    expires_at: Timestamp,
}

/// 200 with a note, or 201 with a new one's address.
///
/// # Errors
/// 500 when the note cannot be written as JSON.
pub fn note(status: StatusCode, view: &View) -> api::Result {
    let response = Response::json(status, &NoteBody::from(view))?.etag(view.note.version)?;
    match status {
        StatusCode::CREATED => response.location(format!("./notes/{}", view.note.note_id)),
        _ => Ok(response),
    }
}

/// The caller's list of notes, for their pages.
pub fn list(user: &UserId) -> List<'_> {
    List::of("notes", user.as_str())
}

/// 200 with as many of the notes as one answer carries, and where the others are.
///
/// # Errors
/// 500 when a note cannot be written as JSON.
pub fn page(listed: &Listed, user: &UserId, page: Page) -> api::Result {
    let bodies: Vec<_> = listed.notes.iter().map(NoteBody::from).collect();
    let id = |body: &NoteBody| *body.note_id.as_bytes();
    list(user).answer(&bodies, id, listed.more, page)
}

/// 201 with leave to upload.
///
/// # Errors
/// 500 when it cannot be written as JSON.
pub fn upload(upload: &Upload) -> api::Result {
    let headers = upload
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let body = UploadBody {
        attachment: upload.key.as_str(),
        upload_url: &upload.url,
        headers: headers.collect(),
        expires_at: upload.expires_at,
    };
    Response::json(StatusCode::CREATED, &body)
}

/// What the caller says the note must still be.
///
/// # Errors
/// 400 when the header is no list of entity tags.
pub fn precondition(request: &Request) -> api::Result<Precondition> {
    Ok(match request.if_match()? {
        IfMatch::Absent | IfMatch::Any => Precondition::Exists,
        // A tag that we did not give matches nothing.
        IfMatch::Tags(tags) => {
            Precondition::OneOf(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
        }
    })
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found("You have no note with this id."),
            Error::Changed => Self::precondition_failed(
                "The note was changed since you read it. Read it again, and repeat your change.",
            ),
            Error::ForeignAttachment => Self::invalid("attachment", "must be a file of your own"),
            Error::Service(error @ service::Error::Unavailable(_)) => Self::unavailable(error),
            Error::Service(error @ service::Error::Failed(_)) => Self::internal(error),
        }
    }
}
