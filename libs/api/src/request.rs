//! What a handler may ask of a request. Each question parses, and answers with a problem that the
//! client can act on.

use std::{fmt::Display, str::FromStr};

use eserde::{DeserializationError, DeserializationErrors, EDeserialize};
use lambda_http::{Body, RequestExt as _, request::RequestContext};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{FieldError, IfMatch, Problem};

/// Bytes that a body may have.
const BODY_LIMIT: usize = 2_000_000;

/// A request that API Gateway let through.
#[derive(Debug)]
pub struct Request(lambda_http::Request);

impl Request {
    pub(crate) fn new(request: lambda_http::Request) -> Self {
        Self(request)
    }

    /// The signed-in caller: the identity that API Gateway found behind the request's signature.
    ///
    /// # Errors
    /// 401 when the request was not signed with the credentials of a Cognito identity.
    pub fn caller<T: FromStr>(&self) -> Result<T, Problem> {
        let context = self.0.request_context_ref();
        let Some(RequestContext::ApiGatewayV1(context)) = context else {
            return Err(nobody());
        };
        let identity = context.identity.cognito_identity_id.as_deref();
        identity
            .and_then(|identity| identity.parse().ok())
            .ok_or_else(nobody)
    }

    /// A parameter of the path.
    ///
    /// # Errors
    /// 404 when it cannot name anything.
    pub fn path<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let parameters = self.0.path_parameters_ref();
        parameters
            .and_then(|parameters| parameters.first(name))
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Problem::not_found("There is nothing at this address."))
    }

    /// A parameter of the query string, if it is there.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.0
            .query_string_parameters_ref()
            .and_then(|parameters| parameters.first(name))
    }

    /// A parameter of the query string, parsed, if it is there.
    ///
    /// # Errors
    /// 422 when it cannot be used.
    pub fn parsed_query<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parsed = self.query(name).map(str::parse).transpose();
        parsed.map_err(|error| Problem::invalid(name, format!("{error}")))
    }

    /// The `If-Match` header.
    ///
    /// # Errors
    /// 400 when it is no list of entity tags.
    pub fn if_match(&self) -> Result<IfMatch, Problem> {
        let header = self.0.headers().get(http::header::IF_MATCH);
        IfMatch::parse(header.map(|value| value.to_str().unwrap_or_default()))
    }

    /// The body, parsed from JSON into a type that cannot be wrong.
    ///
    /// # Errors
    /// 400 when there is no body or it is not JSON, 413 when it is too long, 415 when it is
    /// declared as something else, 422 naming every field that cannot be used.
    pub fn json<T: for<'de> EDeserialize<'de>>(&self) -> Result<T, Problem> {
        let body: &[u8] = match self.0.body() {
            Body::Text(text) => text.as_bytes(),
            Body::Binary(bytes) => bytes,
            _ => &[],
        };
        if body.is_empty() {
            return Err(Problem::bad_request(
                "The body is missing. Send a JSON object.",
            ));
        }
        if body.len() > BODY_LIMIT {
            return Err(Problem::too_large(BODY_LIMIT));
        }
        if !self.declares_json() {
            return Err(Problem::unsupported_media_type());
        }
        let text = std::str::from_utf8(body)
            .map_err(|_| Problem::bad_request("The body is not UTF-8. Send JSON in UTF-8."))?;
        // eserde stops at the end of the object, whatever comes after.
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|error| Problem::bad_request(format!("The body is not JSON: {error}.")))?;
        // serde would take the fields from a list too, by their places.
        if !text.trim_start().starts_with('{') {
            return Err(Problem::invalid("", "The body must be a JSON object."));
        }
        eserde::json::from_str(text)
            .map_err(|errors| Problem::unprocessable(named::<T>(text, &errors)))
    }

    /// A body without a declared type is taken for JSON, as the original API did.
    fn declares_json(&self) -> bool {
        let Some(declared) = self.0.headers().get(http::header::CONTENT_TYPE) else {
            return true;
        };
        let declared = declared
            .to_str()
            .ok()
            .and_then(|text| text.parse::<mime::Mime>().ok());
        declared.is_some_and(|mime| mime.essence_str() == mime::APPLICATION_JSON.essence_str())
    }
}

fn nobody() -> Problem {
    Problem::unauthorized("Sign in, and sign the request with the identity's credentials.")
}

/// Every field that cannot be used.
///
/// A list or an object in place of a text makes eserde lose its place: what comes after is read
/// once more, with a null there.
fn named<T: for<'de> EDeserialize<'de>>(
    text: &str,
    errors: &DeserializationErrors,
) -> Vec<FieldError> {
    let errors = errors.iter().map(FieldError::from);
    let (mut named, lost): (Vec<_>, Vec<_>) = errors.partition(|error| !error.field.is_empty());
    let Some(last) = named.last() else {
        return lost;
    };
    let read = serde_json::from_str::<serde_json::Map<_, _>>(text);
    if !lost.is_empty()
        && let Ok(mut object) = read
        && let Some(value @ (Value::Array(_) | Value::Object(_))) = object.get_mut(&last.field)
    {
        *value = Value::Null;
        let text = Value::from(object).to_string();
        if let Err(errors) = eserde::json::from_str::<T>(&text) {
            let more = self::named::<T>(&text, &errors).into_iter();
            let known: Vec<_> = named.iter().map(|error| error.field.clone()).collect();
            named.extend(more.filter(|error| !known.contains(&error.field)));
        }
    }
    named
}

impl From<&DeserializationError> for FieldError {
    fn from(error: &DeserializationError) -> Self {
        // The body as a whole has no name; eserde calls it ".".
        let path = error.path().filter(|path| !path.is_empty());
        let path = path.map(ToString::to_string).unwrap_or_default();
        let message = error.message();
        // The place in the text says nothing that the field's name does not.
        let detail = message.split(" at line ").next().unwrap_or(message);
        // A missing field is named in the message, not in the path, and as Rust has it.
        let missing = detail.strip_prefix("missing field `");
        match missing.and_then(|rest| rest.strip_suffix('`')) {
            Some(missing) => Self {
                field: match path.as_str() {
                    "" => camel_case(missing),
                    path => format!("{path}.{}", camel_case(missing)),
                },
                detail: "is missing".into(),
            },
            None => Self {
                field: path,
                detail: detail.into(),
            },
        }
    }
}

/// The name in JSON of a field of ours.
fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A request as the runtime makes it of API Gateway's event.
    fn request(event: serde_json::Value) -> Request {
        let mut full = json!({
            "resource": "/notes", "path": "/notes", "httpMethod": "POST", "headers": {},
            "multiValueHeaders": {}, "requestContext": {"identity": {}, "httpMethod": "POST"},
            "isBase64Encoded": false,
        });
        for (name, value) in event.as_object().unwrap() {
            full[name] = value.clone();
        }
        Request::new(lambda_http::request::from_str(&full.to_string()).unwrap())
    }

    #[derive(Debug, PartialEq, eserde::Deserialize)]
    struct Body {
        name: String,
        age: u8,
    }

    /// A type with a rule of its own, as bodies have them.
    #[derive(Debug, serde::Deserialize)]
    #[serde(try_from = "String")]
    struct Word(#[expect(dead_code, reason = "what it holds is not the point")] String);

    impl TryFrom<String> for Word {
        type Error = &'static str;

        fn try_from(word: String) -> Result<Self, Self::Error> {
            let good = !word.is_empty();
            good.then_some(Self(word)).ok_or("must not be empty")
        }
    }

    #[derive(Debug, eserde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "what they hold is not the point")]
    struct Words {
        #[eserde(compat)]
        first: Word,
        #[eserde(compat)]
        second_word: Word,
        #[serde(default)]
        #[eserde(compat)]
        third: Option<Word>,
    }

    fn refused(event: serde_json::Value) -> Problem {
        request(event).json::<Body>().unwrap_err()
    }

    #[test]
    fn a_good_body_is_parsed() {
        let body = json!({"body": r#"{"name":"Ada","age":36,"other":[1]}"#});
        assert_eq!(
            request(body).json::<Body>().unwrap(),
            Body {
                name: "Ada".into(),
                age: 36
            }
        );
    }

    #[test]
    fn every_field_that_cannot_be_used_is_named() {
        let problem = refused(json!({"body": r#"{"age":"x"}"#}));
        assert_eq!(problem.status(), 422);
        let fields: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
        assert_eq!(fields, ["age", "name"]);
        assert_eq!(problem.errors()[1].detail, "is missing");
    }

    #[test]
    fn a_field_has_one_name_whatever_else_is_wrong() {
        for (body, expected) in [
            ("{}", vec!["name", "age"]),
            (r#"{"age":1}"#, vec!["name"]),
            (r#"{"name":"Ada","age":300}"#, vec!["age"]),
            ("[]", vec![""]),
            ("null", vec![""]),
        ] {
            let problem = refused(json!({"body": body}));
            let fields: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
            assert_eq!(fields, expected, "{body}");
        }
    }

    #[test]
    fn fields_are_named_as_in_json_and_each_once_whatever_is_in_them() {
        for (body, expected) in [
            (r#"{}"#, vec!["first", "secondWord"]),
            (
                r#"{"first":["x"],"secondWord":{"x":[{}]},"third":[[]]}"#,
                vec!["first", "secondWord", "third"],
            ),
            (
                r#"{"third":{"a":1},"secondWord":"x","first":""}"#,
                vec!["third", "first"],
            ),
            (
                r#"{"third":5,"first":[]}"#,
                vec!["third", "first", "secondWord"],
            ),
        ] {
            let body = json!({"body": body});
            let problem = request(body.clone()).json::<Words>().unwrap_err();
            assert_eq!(problem.status(), 422, "{body}");
            let fields: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
            assert_eq!(fields, expected, "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_a_bad_request() {
        for body in [
            "{",
            "hello",
            r#"{"name":}"#,
            "\u{0}",
            r#"{"name":"Ada","age":36} and more"#,
        ] {
            assert_eq!(refused(json!({"body": body})).status(), 400, "{body}");
        }
        assert_eq!(refused(json!({})).status(), 400, "no body");
        assert_eq!(
            refused(json!({"body": "/w==", "isBase64Encoded": true})).status(),
            400
        );
    }

    #[test]
    fn json_that_is_no_object_is_unprocessable() {
        for body in ["[]", r#"["Ada",36]"#, "5", "null", r#""text""#] {
            assert_eq!(refused(json!({"body": body})).status(), 422, "{body}");
        }
    }

    #[test]
    fn a_body_declared_as_something_else_is_refused() {
        let typed = |kind: &str| json!({"body": r#"{"name":"Ada","age":1}"#, "multiValueHeaders": {"Content-Type": [kind]}});
        assert_eq!(refused(typed("text/plain")).status(), 415);
        assert_eq!(refused(typed("nonsense")).status(), 415);
        assert!(
            request(typed("application/json; charset=UTF-8"))
                .json::<Body>()
                .is_ok()
        );
    }

    #[test]
    fn a_body_over_two_megabytes_is_refused() {
        assert_eq!(
            refused(json!({"body": " ".repeat(BODY_LIMIT + 1)})).status(),
            413
        );
    }

    #[test]
    fn a_request_without_an_identity_has_no_caller() {
        assert_eq!(
            request(json!({})).caller::<String>().unwrap_err().status(),
            401
        );
        let signed = json!({"requestContext": {
            "identity": {"cognitoIdentityId": "us-east-1:ada"}, "httpMethod": "GET"
        }});
        assert_eq!(request(signed).caller::<String>().unwrap(), "us-east-1:ada");
    }
}
