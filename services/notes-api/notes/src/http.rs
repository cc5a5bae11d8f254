//! Converts between HTTP and the domain types: parses request bodies, and builds response bodies
//! and problem documents (RFC 9457).

use api::{
    Body, Fields, IfMatch, List, PageRequest, Problem, Request, Response, StatusCode, integer,
    string,
};
use domain::Page;
use serde::Serialize;

use crate::{
    controller::{Draft, Error, FileView, View},
    file::{AttachmentName, PresignedUpload, UploadRequest},
    note::{Content, NoteId, Precondition, Timestamp, UserId},
    service,
    storage::Usage,
};

impl Body for Draft {
    fn read(fields: &mut Fields) -> Option<Self> {
        let content = fields.required("content", string);
        let attachment = fields.optional("attachment", string);
        Some(Self {
            content: content?,
            attachment: attachment?,
        })
    }
}

impl Body for UploadRequest {
    fn read(fields: &mut Fields) -> Option<Self> {
        let filename = fields.required("filename", string);
        let content_type = fields.required("contentType", string);
        let size = fields.required("size", integer);
        Some(Self {
            filename: filename?,
            content_type: content_type?,
            size: size?,
        })
    }
}

/// The JSON of a note in a response.
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

/// The JSON of a presigned upload in a response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UploadBody<'a> {
    attachment: &'a str,
    upload_url: &'a str,
    headers: std::collections::BTreeMap<&'a str, &'a str>,
    expires_at: Timestamp,
}

/// Builds a response with a note and its `ETag` header. A response with the status 201 also has a
/// `Location` header with the URL of the note.
///
/// # Errors
/// Returns a problem with the status 500 if the note cannot be serialized.
pub fn note(status: StatusCode, view: &View) -> api::Result {
    let response = Response::json(status, &NoteBody::from(view))?.etag(view.note.version)?;
    match status {
        StatusCode::CREATED => response.location(format!("./notes/{}", view.note.note_id)),
        _ => Ok(response),
    }
}

/// The paginated list of the notes of `user`. It parses requests for a page, and creates the
/// responses.
pub fn list(user: &UserId) -> List<'_> {
    List::of("notes", user.as_str())
}

/// Builds a response with the status 200: as many of the notes `found` as fit into one response,
/// and a `Link` header with the URL of the next page if there is one.
///
/// # Errors
/// Returns a problem with the status 500 if a note cannot be serialized.
pub fn page(found: &Page<View>, user: &UserId, page: PageRequest) -> api::Result {
    let bodies: Vec<_> = found.items.iter().map(NoteBody::from).collect();
    let id = |body: &NoteBody| *body.note_id.as_bytes();
    list(user).response(&bodies, id, found.more, page)
}

/// Builds a response with the status 201 and a presigned upload.
///
/// # Errors
/// Returns a problem with the status 500 if the upload cannot be serialized.
pub fn upload(upload: &PresignedUpload) -> api::Result {
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

/// The JSON of a user's storage in a response. All members are numbers of notes.
#[derive(Serialize)]
struct StorageBody {
    used: u64,
    allowed: u64,
    free: u64,
    bought: u64, // part: billing
}

/// Builds a response with the status 200: how many notes a user has and may have. `free` is the
/// number of notes that every user may have.
///
/// # Errors
/// Returns a problem with the status 500 if the response cannot be serialized.
pub fn storage(usage: &Usage, free: u64) -> api::Result {
    let body = StorageBody {
        used: usage.used,
        allowed: usage.allowed(free),
        free,
        bought: usage.bought, // part: billing
    };
    Response::json(StatusCode::OK, &body)
}

/// Parses the precondition in the `If-Match` header of a request. If the header is absent or `*`,
/// the precondition is only that the note exists.
///
/// # Errors
/// Returns a problem with the status 400 if the header is neither `*` nor a list of entity tags.
pub fn precondition(request: &Request) -> api::Result<Precondition> {
    Ok(match request.if_match()? {
        IfMatch::Absent | IfMatch::Any => Precondition::Exists,
        // A tag that is not a version matches no note, so it is dropped.
        IfMatch::Tags(tags) => {
            Precondition::OneOf(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
        }
    })
}

/// What a user can do whose storage is full.
const MAKE_ROOM: &str = "Delete notes, or buy storage."; // part: billing
// part: without billing {
// const MAKE_ROOM: &str = "Delete notes.";
// part: without billing }

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found("You have no note with this id."),
            Error::Changed => Self::precondition_failed(
                "The note has changed since you read it. Read it again, and repeat your change.",
            ),
            Error::ForeignAttachment => {
                Self::invalid("attachment", "must be one of your own files")
            }
            Error::StorageFull { used, allowed } => Self::conflict(format!(
                "You have {used} notes and may have {allowed}. {MAKE_ROOM}"
            ))
            .with("code", "storage_full")
            .with("used", used)
            .with("allowed", allowed),
            Error::Service(error @ service::Error::Unavailable(_)) => Self::unavailable(error),
            Error::Service(error @ service::Error::Failed(_)) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Replaces the field `field` of the valid body `valid` with `value`, and parses the changed
    /// body. Returns the name of the field and the detail of each error.
    fn errors<T: Body>(valid: &Value, field: &str, value: Value) -> Vec<(String, String)> {
        let mut body = valid.clone();
        body[field] = value;
        let event = json!({
            "resource": "/notes", "path": "/notes", "httpMethod": "POST", "headers": {},
            "multiValueHeaders": {}, "isBase64Encoded": false, "body": body.to_string(),
            "requestContext": {"identity": {}, "httpMethod": "POST"},
        });
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        match Request::new(request).json::<T>() {
            Ok(_) => vec![],
            Err(problem) => {
                let errors = problem.errors().iter();
                errors
                    .map(|error| (error.field.clone(), error.detail.clone()))
                    .collect()
            }
        }
    }

    fn one(field: &str, detail: &str) -> Vec<(String, String)> {
        vec![(field.to_owned(), detail.to_owned())]
    }

    #[test]
    fn the_error_for_a_note_field_says_which_values_the_field_accepts() {
        let valid = json!({"content": "hello", "attachment": "cat.png"});
        let errors = |field, value| errors::<Draft>(&valid, field, value);
        for value in [json!(5), json!(1.5), json!(true), json!(["x"]), json!({})] {
            for field in ["content", "attachment"] {
                assert_eq!(errors(field, value.clone()), one(field, "must be a string"));
            }
        }
        let null = errors("content", json!(null));
        assert_eq!(null, one("content", "must be a string"));
        assert_eq!(errors("attachment", json!(null)), []);
        let empty = errors("content", json!(""));
        assert_eq!(empty, one("content", "must not be empty"));
    }

    #[test]
    fn the_error_for_an_upload_field_says_which_values_the_field_accepts() {
        let valid = json!({"filename": "cat.png", "contentType": "image/png", "size": 3});
        let errors = |field, value| errors::<UploadRequest>(&valid, field, value);
        for value in [json!(null), json!(5), json!(true), json!(["x"]), json!({})] {
            for field in ["filename", "contentType"] {
                assert_eq!(errors(field, value.clone()), one(field, "must be a string"));
            }
        }
        for value in [json!(null), json!("3"), json!(1.5), json!(true), json!([3])] {
            assert_eq!(errors("size", value), one("size", "must be an integer"));
        }
        for value in [json!(0), json!(-1), json!(5_000_001), json!(1e300)] {
            let detail = "must be an integer from 1 to 5000000";
            assert_eq!(errors("size", value), one("size", detail));
        }
    }

    #[test]
    fn the_problem_of_a_full_storage_has_the_numbers_of_notes() {
        let full = Error::StorageFull {
            used: 112,
            allowed: 110,
        };
        let problem = Problem::from(full);
        assert_eq!(problem.status(), StatusCode::CONFLICT);
        let problem = format!("{problem:?}");
        for part in [
            "You have 112 notes and may have 110.",
            r#""code": String("storage_full")"#,
            r#""used": Number(112)"#,
            r#""allowed": Number(110)"#,
        ] {
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn a_size_with_a_zero_fraction_is_an_integer() {
        let valid = json!({"filename": "cat.png", "contentType": "image/png"});
        let size = json!(402_989.0);
        assert_eq!(errors::<UploadRequest>(&valid, "size", size), []);
    }
}
