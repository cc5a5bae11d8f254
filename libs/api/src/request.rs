//! What a handler may ask of a request. Each question parses, and answers with a problem that the
//! client can act on.

use std::{
    fmt::Display,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use lambda_http::{RequestExt as _, request::RequestContext};

use crate::{Body, IfMatch, Problem, fields::Fields};

/// Bytes that a body may have.
const BODY_LIMIT: usize = 2_000_000;

/// A request that API Gateway let through.
#[derive(Debug)]
pub struct Request(lambda_http::Request);

impl Request {
    /// A request as Lambda delivers it.
    pub fn new(request: lambda_http::Request) -> Self {
        Self(request)
    }

    /// When Lambda stops the function, whether it has answered or not. The epoch outside of Lambda.
    pub fn deadline(&self) -> SystemTime {
        self.0
            .lambda_context_ref()
            .map_or(UNIX_EPOCH, function::Context::deadline)
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

    /// The `If-Match` header.
    ///
    /// # Errors
    /// 400 when it is no list of entity tags.
    pub fn if_match(&self) -> Result<IfMatch, Problem> {
        let header = self.0.headers().get(http::header::IF_MATCH);
        IfMatch::parse(header.map(|value| value.to_str().unwrap_or_default()))
    }

    /// A header, parsed, if it is there.
    ///
    /// # Errors
    /// 400 when it cannot be used.
    pub fn header<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let refuse = |why: &dyn Display| Problem::bad_request(format!("{name}: {why}."));
        let Some(value) = self.0.headers().get(name) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| refuse(&"must be ASCII"))?;
        text.parse().map(Some).map_err(|error| refuse(&error))
    }

    /// The body's bytes as the client sent them.
    pub fn body(&self) -> &[u8] {
        match self.0.body() {
            lambda_http::Body::Text(text) => text.as_bytes(),
            lambda_http::Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// The body, parsed from JSON into a type that cannot be wrong.
    ///
    /// # Errors
    /// 400 when there is no body or it is not JSON, 413 when it is too long, 415 when it is
    /// declared as something else, 422 naming every field that cannot be used.
    pub fn json<T: Body>(&self) -> Result<T, Problem> {
        let body = self.body();
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
        Fields::parse(body)
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

    #[derive(Debug, PartialEq)]
    struct Person {
        name: String,
        age: u8,
    }

    impl Body for Person {
        fn read(fields: &mut Fields) -> Option<Self> {
            let (name, age) = (fields.required("name"), fields.required("age"));
            let (name, age) = (name?, age?);
            Some(Self { name, age })
        }
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

    #[derive(Debug)]
    struct Words;

    impl Body for Words {
        fn read(fields: &mut Fields) -> Option<Self> {
            let first = fields.required::<Word>("first");
            let second = fields.required::<Word>("secondWord");
            let third = fields.optional::<Word>("third");
            first.and(second).and(third).map(|_| Self)
        }
    }

    fn refused(event: serde_json::Value) -> Problem {
        request(event).json::<Person>().unwrap_err()
    }

    #[test]
    fn a_good_body_is_parsed() {
        let body = json!({"body": r#"{"name":"Ada","age":36,"other":[1]}"#});
        assert_eq!(
            request(body).json::<Person>().unwrap(),
            Person {
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
        assert_eq!(fields, ["name", "age"]);
        assert_eq!(problem.errors()[0].detail, "is missing");
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
                vec!["first", "third"],
            ),
            (
                r#"{"third":5,"first":[]}"#,
                vec!["first", "secondWord", "third"],
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
                .json::<Person>()
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
    fn the_body_is_what_the_client_sent_whether_it_came_as_text_or_in_base64() {
        assert_eq!(request(json!({"body": " {} "})).body(), b" {} ");
        let binary = json!({"body": "/wA=", "isBase64Encoded": true});
        assert_eq!(request(binary).body(), [0xff, 0]);
        assert_eq!(request(json!({})).body(), b"");
    }

    #[test]
    fn a_header_is_parsed_if_it_is_there_and_named_if_it_cannot_be_used() {
        let header = |value: &str| {
            let headers = json!({"multiValueHeaders": {"X-Count": [value]}});
            request(headers).header::<u8>("X-Count")
        };
        assert_eq!(header("7").unwrap(), Some(7));
        assert_eq!(request(json!({})).header::<u8>("X-Count").unwrap(), None);
        for wrong in ["", "x", "300"] {
            let problem = header(wrong).unwrap_err();
            assert_eq!(problem.status(), 400, "{wrong}");
            assert!(problem.document("r-1").contains("X-Count: "), "{wrong}");
        }
    }

    #[test]
    fn the_deadline_is_that_of_the_invocation() {
        let mut context = function::Context::default();
        context.deadline = 1_700_000_000_123;
        let Request(inner) = request(json!({}));
        let deadline = Request(inner.with_lambda_context(context)).deadline();
        let since = deadline.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since.as_millis(), 1_700_000_000_123);
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
