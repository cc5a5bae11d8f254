//! HTTP requests. Each method of [`Request`] parses one part of the request. Its error is a
//! [`Problem`] that tells the client what to change.

use std::{
    fmt::Display,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use lambda_http::{
    RequestExt as _, aws_lambda_events::apigw::ApiGatewayRequestIdentity, request::RequestContext,
};

use crate::{
    IfMatch, Problem,
    fields::{Body, Fields},
};

/// The maximum size of a request's body, in bytes.
const BODY_LIMIT: usize = 2_000_000;

/// A request from API Gateway.
#[derive(Debug)]
pub struct Request(lambda_http::Request);

impl Request {
    /// Wraps a request that `lambda_http` created from an event of API Gateway.
    pub fn new(request: lambda_http::Request) -> Self {
        Self(request)
    }

    /// The time at which Lambda stops the invocation. The Unix epoch if the request has no Lambda
    /// context.
    pub fn deadline(&self) -> SystemTime {
        self.0
            .lambda_context_ref()
            .map_or(UNIX_EPOCH, function::Context::deadline)
    }

    /// The caller: the Cognito identity whose credentials signed the request. API Gateway has
    /// verified the signature.
    ///
    /// # Errors
    /// 401 if the request was not signed with the credentials of a Cognito identity.
    pub fn caller<T: FromStr>(&self) -> Result<T, Problem> {
        let identity = self
            .identity()
            .and_then(|identity| identity.cognito_identity_id.as_deref());
        identity
            .and_then(|identity| identity.parse().ok())
            .ok_or_else(unauthorized)
    }

    /// The caller's `sub` in the user pool through which the caller signed in. Each call parses the
    /// `sub`, so only routes that need it parse it.
    ///
    /// Returns None if the caller did not sign in through exactly one user pool, or if the `sub`
    /// cannot be parsed. A request without a `sub` is still valid: [`Request::caller`] identifies
    /// the caller. Our identity pool causes no such requests: its only provider is our user pool,
    /// and it gives no credentials to users who have not signed in. Such requests occur if the
    /// identity pool gets another provider, such as developer-authenticated identities, SAML or
    /// Google.
    pub fn sub<T: FromStr>(&self) -> Option<T> {
        let providers = self.identity()?.cognito_authentication_provider.as_deref();
        user_pool_sub(providers?)?.parse().ok()
    }

    /// The caller, as API Gateway describes it in the request context.
    fn identity(&self) -> Option<&ApiGatewayRequestIdentity> {
        match self.0.request_context_ref()? {
            RequestContext::ApiGatewayV1(context) => Some(&context.identity),
            _ => None,
        }
    }

    /// Parses the path parameter `name`, such as `id` in `/notes/{id}`.
    ///
    /// # Errors
    /// 404 if the parameter cannot be parsed, because then no resource has this URL.
    pub fn path<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        let parameters = self.0.path_parameters_ref();
        parameters
            .and_then(|parameters| parameters.first(name))
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Problem::not_found("There is no resource at this URL."))
    }

    /// The first value of the query parameter `name`. None if the request does not have this
    /// parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.0
            .query_string_parameters_ref()
            .and_then(|parameters| parameters.first(name))
    }

    /// Parses the `If-Match` header.
    ///
    /// # Errors
    /// 400 if the header is neither `*` nor a list of entity tags.
    pub fn if_match(&self) -> Result<IfMatch, Problem> {
        let header = self.0.headers().get(http::header::IF_MATCH);
        IfMatch::parse(header.map(|value| value.to_str().unwrap_or_default()))
    }

    /// Parses the header `name`. Returns None if the request does not have this header.
    ///
    /// # Errors
    /// 400 with the error text of `T` if the header cannot be parsed.
    pub fn header<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let invalid = |why: &dyn Display| Problem::bad_request(format!("{name}: {why}."));
        let Some(value) = self.0.headers().get(name) else {
            return Ok(None);
        };
        let text = value.to_str().map_err(|_| invalid(&"must be ASCII"))?;
        text.parse().map(Some).map_err(|error| invalid(&error))
    }

    /// The bytes of the body, as the client sent them. A body that API Gateway encoded in Base64 is
    /// already decoded.
    pub fn body(&self) -> &[u8] {
        match self.0.body() {
            lambda_http::Body::Text(text) => text.as_bytes(),
            lambda_http::Body::Binary(bytes) => bytes,
            _ => &[],
        }
    }

    /// Parses the body from JSON.
    ///
    /// # Errors
    /// 400 if the body is missing, not JSON or not UTF-8. 413 if the body is too long. 415 if the
    /// `Content-Type` is not JSON. 422 if fields are missing or invalid. The problem then names
    /// each of these fields.
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
        let text = match self.0.body() {
            lambda_http::Body::Text(text) => Some(text.as_str()),
            _ => str::from_utf8(body).ok(),
        };
        let text = text.ok_or_else(|| {
            Problem::bad_request("The body is not valid UTF-8. Encode its text as UTF-8.")
        })?;
        Fields::parse(text)
    }

    /// Returns whether the `Content-Type` is JSON. A request without a `Content-Type` counts as
    /// JSON, because clients of the original API (the notes API of the SST guide) do not send this
    /// header.
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

/// Finds the `sub` of a user in the list of the authentication providers of the user's identity.
/// Returns None if the list contains no user pool, or more than one.
///
/// The list is separated by commas. For a user pool, it contains the name of the provider, and the
/// same name with the `sub`:
/// `cognito-idp.REGION.amazonaws.com/POOL,cognito-idp.REGION.amazonaws.com/POOL:CognitoSignIn:SUB`.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html>
fn user_pool_sub(providers: &str) -> Option<&str> {
    let mut subs = providers.split(',').filter_map(|provider| {
        let (pool, sub) = provider.split_once(":CognitoSignIn:")?;
        pool.starts_with("cognito-idp.").then_some(sub)
    });
    let first = subs.next()?;
    subs.next().is_none().then_some(first)
}

fn unauthorized() -> Problem {
    Problem::unauthorized("Sign in, and sign the request with the credentials of the identity.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::{integer, string};

    /// Creates a request from an event of API Gateway, as `lambda_http` does. `event` contains only
    /// the fields that differ from the event of a request `POST /notes` without a body.
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
        name: Word,
        age: Age,
    }

    impl Body for Person {
        fn read(fields: &mut Fields) -> Option<Self> {
            let name = fields.required("name", string);
            let age = fields.required("age", integer);
            let (name, age) = (name?, age?);
            Some(Self { name, age })
        }
    }

    #[derive(Debug, PartialEq)]
    struct Age(i64);

    impl TryFrom<i64> for Age {
        type Error = &'static str;

        fn try_from(age: i64) -> Result<Self, Self::Error> {
            let is_valid = (0..=255).contains(&age);
            is_valid.then_some(Self(age)).ok_or("must be 0 to 255")
        }
    }

    #[derive(Debug, PartialEq)]
    struct Word(String);

    impl TryFrom<String> for Word {
        type Error = &'static str;

        fn try_from(word: String) -> Result<Self, Self::Error> {
            let is_valid = !word.is_empty();
            is_valid.then_some(Self(word)).ok_or("must not be empty")
        }
    }

    #[derive(Debug)]
    struct Words;

    impl Body for Words {
        fn read(fields: &mut Fields) -> Option<Self> {
            let first = fields.required::<Word>("first", string);
            let second = fields.required::<Word>("secondWord", string);
            let third = fields.optional::<Word>("third", string);
            first.and(second).and(third).map(|_| Self)
        }
    }

    fn problem(event: serde_json::Value) -> Problem {
        request(event).json::<Person>().unwrap_err()
    }

    #[test]
    fn a_valid_body_is_parsed() {
        let body = json!({"body": r#"{"name":"Ada","age":36,"other":[1]}"#});
        assert_eq!(
            request(body).json::<Person>().unwrap(),
            Person {
                name: Word("Ada".into()),
                age: Age(36)
            }
        );
    }

    #[test]
    fn every_invalid_field_is_named() {
        let problem = problem(json!({"body": r#"{"age":"x"}"#}));
        assert_eq!(problem.status(), 422);
        let fields: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
        assert_eq!(fields, ["name", "age"]);
        assert_eq!(problem.errors()[0].detail, "is required");
    }

    #[test]
    fn a_problem_names_invalid_fields_in_the_order_of_their_declaration() {
        for (body, expected) in [
            ("{}", vec!["name", "age"]),
            (r#"{"age":1}"#, vec!["name"]),
            (r#"{"name":"Ada","age":300}"#, vec!["age"]),
            ("[]", vec![""]),
            ("null", vec![""]),
        ] {
            let problem = problem(json!({"body": body}));
            let fields: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
            assert_eq!(fields, expected, "{body}");
        }
    }

    #[test]
    fn each_invalid_field_is_named_once_by_its_json_name() {
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
            assert_eq!(problem(json!({"body": body})).status(), 400, "{body}");
        }
        assert_eq!(problem(json!({})).status(), 400, "no body");
        assert_eq!(
            problem(json!({"body": "/w==", "isBase64Encoded": true})).status(),
            400
        );
    }

    #[test]
    fn a_body_that_is_not_utf8_is_refused_with_a_problem_that_names_utf8() {
        // {"name":"\xff","age":36}
        for body in ["/w==", "eyJuYW1lIjoi/yIsImFnZSI6MzZ9"] {
            let problem = problem(json!({"body": body, "isBase64Encoded": true}));
            assert_eq!(problem.status(), 400);
            let document = problem.document("r-1");
            assert!(document.contains("not valid UTF-8"), "{document}");
        }
        // {"name":"\u00e9","age":36}
        let utf8 = json!({"body": "eyJuYW1lIjoiw6kiLCJhZ2UiOjM2fQ==", "isBase64Encoded": true});
        let Person { name, .. } = request(utf8).json().unwrap();
        assert_eq!(name, Word("\u{e9}".into()));
    }

    #[test]
    fn the_position_of_a_syntax_error_is_in_the_problem() {
        for (body, detail) in [
            ("{", "ends too early"),
            ("{\n \"name\": x}", "line 2, column 10"),
            (r#"{"age":1e400}"#, "line 1, column"),
            (&"[".repeat(200), "line 1, column 128"),
        ] {
            let document = problem(json!({"body": body})).document("r-1");
            assert!(document.contains(detail), "{document}");
        }
    }

    #[test]
    fn json_that_is_not_an_object_is_unprocessable() {
        for body in ["[]", r#"["Ada",36]"#, "5", "null", r#""text""#] {
            assert_eq!(problem(json!({"body": body})).status(), 422, "{body}");
        }
    }

    #[test]
    fn a_body_whose_content_type_is_not_json_is_refused() {
        let typed = |kind: &str| json!({"body": r#"{"name":"Ada","age":1}"#, "multiValueHeaders": {"Content-Type": [kind]}});
        assert_eq!(problem(typed("text/plain")).status(), 415);
        assert_eq!(problem(typed("nonsense")).status(), 415);
        assert!(
            request(typed("application/json; charset=UTF-8"))
                .json::<Person>()
                .is_ok()
        );
    }

    #[test]
    fn a_body_over_two_megabytes_is_refused() {
        assert_eq!(
            problem(json!({"body": " ".repeat(BODY_LIMIT + 1)})).status(),
            413
        );
    }

    #[test]
    fn a_text_body_is_unchanged_and_a_base64_body_is_decoded() {
        assert_eq!(request(json!({"body": " {} "})).body(), b" {} ");
        let binary = json!({"body": "/wA=", "isBase64Encoded": true});
        assert_eq!(request(binary).body(), [0xff, 0]);
        assert_eq!(request(json!({})).body(), b"");
    }

    #[test]
    fn a_valid_header_is_parsed_and_a_malformed_header_is_named_in_the_problem() {
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
    fn a_request_has_the_deadline_of_its_lambda_invocation() {
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

    const SUB: &str = "2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e62";

    /// A request from a signed-in user. `providers` is the list of authentication providers in the
    /// request context.
    fn signed_in_with(providers: serde_json::Value) -> Request {
        request(json!({"requestContext": {
            "identity": {
                "cognitoIdentityId": "us-east-1:ada", "cognitoAuthenticationProvider": providers,
            },
            "httpMethod": "POST",
        }}))
    }

    #[test]
    fn the_sub_comes_from_the_user_pool_even_if_there_are_other_providers() {
        let pool = "cognito-idp.us-east-1.amazonaws.com/us-east-1_Example00";
        let user_pool = format!("{pool},{pool}:CognitoSignIn:{SUB}");
        let developer = "login.example.com,login.example.com:us-east-1:pool:ada";
        for providers in [
            user_pool.clone(),
            format!("{developer},{user_pool}"),
            format!("{user_pool},{developer}"),
        ] {
            let request = signed_in_with(json!(providers));
            assert_eq!(request.sub::<String>().unwrap(), SUB, "{providers}");
        }
    }

    #[test]
    fn a_request_without_a_valid_sub_from_exactly_one_user_pool_still_has_a_caller() {
        let pool = "cognito-idp.us-east-1.amazonaws.com/us-east-1_Example00";
        let other = "cognito-idp.us-east-1.amazonaws.com/us-east-1_Example01";
        for providers in [
            json!(null),
            json!(""),
            json!(","),
            json!("cognito-identity.amazonaws.com"),
            json!("login.example.com,login.example.com:us-east-1:pool:ada"),
            json!("accounts.google.com"),
            json!("graph.facebook.com,www.amazon.com"),
            json!("arn:aws:iam::111111111111:saml-provider/Example"),
            json!(format!("example.com:CognitoSignIn:{SUB}")),
            json!(pool),
            json!(format!("{pool}:{SUB}")),
            json!(format!("{pool},{pool}:CognitoSignIn:")),
            json!(format!("{pool},{pool}:CognitoSignIn:300")),
            json!(format!("{pool},{pool}:CognitoSignIn:7:CognitoSignIn:7")),
            json!(format!("{pool}:CognitoSignIn:7,{other}:CognitoSignIn:7")),
        ] {
            let request = signed_in_with(providers.clone());
            assert_eq!(request.sub::<u8>(), None, "{providers}");
            assert_eq!(request.caller::<String>().unwrap(), "us-east-1:ada");
        }
        assert_eq!(request(json!({})).sub::<String>(), None);
    }
}
