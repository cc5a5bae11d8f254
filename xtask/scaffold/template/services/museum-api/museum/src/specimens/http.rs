//! The bodies of the routes of specimens.

use api::{Body, Fields, List, PageRequest, Response, StatusCode};
use domain::{Page, Timestamp, UserId};
use serde::Serialize;

use crate::specimens::specimen::{Specimen, SpecimenFields, SpecimenId};

impl Body for SpecimenFields {
    fn read(fields: &mut Fields) -> Option<Self> {
        // each field {
        let epithet = fields.required("epithet", api::value);
        // each optional field:
        let provenance = fields.optional("provenance", api::value);
        // the others:
        let accession = fields.required("accession", api::value);
        let quantity = fields.required("quantity", api::value);
        let weight = fields.optional("weight", api::value);
        let on_display = fields.required("onDisplay", api::value);
        let found_on = fields.optional("foundOn", api::value);
        let examined_at = fields.optional("examinedAt", api::value);
        let website = fields.optional("website", api::value);
        let curator = fields.optional("curator", api::value);
        // }
        Some(Self {
            // each field {
            epithet: epithet?,
            // the others:
            provenance: provenance?,
            accession: accession?,
            quantity: quantity?,
            weight: weight?,
            on_display: on_display?,
            found_on: found_on?,
            examined_at: examined_at?,
            website: website?,
            curator: curator?,
            // }
        })
    }
}

/// The JSON of a specimen in a response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecimenBody<'a> {
    user_id: &'a UserId,
    specimen_id: SpecimenId,
    #[serde(flatten)]
    fields: &'a SpecimenFields,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a Specimen> for SpecimenBody<'a> {
    fn from(specimen: &'a Specimen) -> Self {
        Self {
            user_id: &specimen.user_id,
            specimen_id: specimen.specimen_id,
            fields: &specimen.fields,
            created_at: specimen.created_at,
            updated_at: specimen.updated_at,
        }
    }
}

/// Builds a response with a specimen and its `ETag` header. A response with the status 201 also has a `Location` header
/// with the URL of the specimen.
///
/// # Errors
/// Returns a problem with the status 500 if the specimen cannot be serialized.
pub fn specimen(status: StatusCode, specimen: &Specimen) -> api::Result {
    let response = Response::json(status, &SpecimenBody::from(specimen))?.etag(specimen.version)?;
    match status {
        StatusCode::CREATED => response.location(format!("./specimens/{}", specimen.specimen_id)),
        _ => Ok(response),
    }
}

/// The paginated list of the specimens of `user`. It parses requests for a page, and creates the responses.
pub fn list(user: &UserId) -> List<'_> {
    List::of("specimens", user.as_str())
}

/// Builds a response with the status 200: as many of the specimens `found` as fit into one response, and a `Link` header
/// with the URL of the next page if there is one.
///
/// # Errors
/// Returns a problem with the status 500 if a specimen cannot be serialized.
pub fn page(found: &Page<Specimen>, user: &UserId, page: PageRequest) -> api::Result {
    let bodies: Vec<_> = found.items.iter().map(SpecimenBody::from).collect();
    let id = |body: &SpecimenBody| *body.specimen_id.as_bytes();
    list(user).response(&bodies, id, found.more, page)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};
    use test_support::samples;

    use super::*;

    /// Each field: whether it is required, and the error for a value of the wrong type.
    fn fields() -> Map<String, Value> {
        let fields = json!({
            // each field {
            "epithet": [true, "must be a string"],
            // each optional field:
            "provenance": [false, "must be a string"],
            // the others:
            "accession": [true, "must be a string"],
            "quantity": [true, "must be an integer"],
            "weight": [false, "must be a number"],
            "onDisplay": [true, "must be true or false"],
            "foundOn": [false, "must be a date such as 2026-01-31"],
            "examinedAt": [false, "must be a time in milliseconds since 1970"],
            "website": [false, "must be a URL that begins with https:// or http://"],
            "curator": [false, "must be an email address"],
            // }
        });
        serde_json::from_value(fields).unwrap()
    }

    /// Parses a body. Returns the name of the field and the detail of each error.
    fn errors(body: &Value) -> Vec<(String, String)> {
        match Fields::parse::<SpecimenFields>(&body.to_string()) {
            Ok(_) => vec![],
            Err(problem) => {
                let errors = problem.errors().iter();
                errors
                    .map(|error| (error.field.clone(), error.detail.clone()))
                    .collect()
            }
        }
    }

    #[test]
    fn the_sample_has_every_field_and_is_valid() {
        let sample = samples::body("museum-specimens-create");
        assert_eq!(errors(&sample), []);
        assert!(sample.as_object().unwrap().keys().eq(fields().keys()));
    }

    #[test]
    fn the_error_for_a_field_says_which_values_it_accepts() {
        let sample = samples::body("museum-specimens-create");
        for (field, rule) in fields() {
            let is_required = rule[0] == true;
            let error = |detail: &str| vec![(field.clone(), detail.to_owned())];
            let if_required = |detail: &str| if is_required { error(detail) } else { vec![] };
            let detail = rule[1].as_str().unwrap();
            let mut body = sample.clone();
            body[&field] = json!([]);
            assert_eq!(errors(&body), error(detail));
            body[&field] = json!(null);
            assert_eq!(errors(&body), if_required(detail));
            body.as_object_mut().unwrap().remove(&field);
            assert_eq!(errors(&body), if_required("is required"));
        }
    }

    #[test]
    fn one_response_names_all_invalid_fields() {
        let invalid = fields().into_iter().map(|(field, _)| (field, json!([])));
        let mut named = errors(&Value::Object(invalid.collect()));
        named.sort();
        assert!(named.iter().map(|(field, _)| field).eq(fields().keys()));
    }
}
