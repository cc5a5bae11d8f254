//! Handles the request header `Idempotency-Key`
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).

use std::{future::Future, time::Duration};

use api::{Problem, Request};
use function::chain;
use serde::{Serialize, de::DeserializeOwned};

use crate::{ClaimOutcome, Error, Idempotency, IdempotencyKey, Scope, store::Store};

/// The maximum value of the header `Retry-After` while another request is in progress. It is
/// shorter than a lease, because most requests are completed long before their lease ends.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Runs `work`, the work of a request, once per `Idempotency-Key`. If the request does not have
/// this header, always runs `work`.
///
/// Parse the request before you call this function, so that a malformed request does not claim its
/// key. `work` receives a plan, such as the id of the item to create. In the first attempt, the
/// plan is `proposed`. If the first attempt fails and a later attempt takes over, `work` receives
/// the plan of the first attempt, and must not repeat an effect that an earlier attempt had.
///
/// The result of `work` decides what a repeated request with the same key receives:
///
/// - `Ok` is stored, and every repeated request receives it. Return every final result as `Ok`,
///   even a negative result such as a declined offer.
/// - `Err` is not stored. The claim is released, so that a repeated request runs `work` at once,
///   with the same plan.
///
/// The value of `Ok` is stored, not the HTTP response. The route builds the HTTP response from this
/// value and the request, so a repeated request receives the same bytes as the first one. The value
/// need not contain the content of the request. This content can be too large for a DynamoDB item.
///
/// ```
/// # use api::{Problem, Request, Response, StatusCode};
/// # use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct ItemId(String);
/// # impl ItemId { fn generate() -> Self { Self("1".into()) } }
/// # impl api::Body for Draft { fn read(fields: &mut api::Fields) -> Option<Self> { Some(Self { size: fields.required("size", |value| api::to_integer(&value).ok_or("must be an integer".into()))? }) } }
/// # struct Draft { size: i64 }
/// # #[derive(Serialize, Deserialize)]
/// # struct Created { size: u32 }
/// # async fn create(_: &str, _: Draft, _: ItemId) -> Result<Created, Problem> {
/// #     Ok(Created { size: 4000 })
/// # }
/// async fn handle(idempotency: &Idempotency<IdempotencyTable>, request: Request) -> api::Result {
///     let user: String = request.caller()?;
///     let draft: Draft = request.json()?;
///     let scope = Scope::of("POST /items", &user);
///     let work = |id: ItemId| create(&user, draft, id);
///     let created = once(idempotency, &request, scope, ItemId::generate(), work).await?;
///     Response::json(StatusCode::OK, &created)
/// }
/// ```
///
/// # Errors
/// 400 if the key is malformed. 409 with `Retry-After` if another request with the key is in
/// progress. 422 if the key was used with a different body. 503 or 500 if the claim cannot be
/// stored. Otherwise returns the error of `work`.
pub async fn once<S, P, R, E, Fut>(
    idempotency: &Idempotency<S>,
    request: &Request,
    scope: Scope<'_>,
    proposed: P,
    work: impl FnOnce(P) -> Fut,
) -> api::Result<R>
where
    S: Store,
    P: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
    E: Into<Problem>,
    Fut: Future<Output = Result<R, E>>,
{
    let key = request.header::<IdempotencyKey>(IdempotencyKey::HEADER)?;
    let Some(key) = key else {
        return work(proposed).await.map_err(Into::into);
    };
    let operation = scope.operation(&key, request.body());
    let claim = idempotency.claim(&operation, request.deadline(), proposed);
    let (guard, plan) = match claim.await? {
        ClaimOutcome::Start { guard, plan } => (guard, plan),
        ClaimOutcome::Replay(response) => return Ok(response),
        ClaimOutcome::InProgress { retry_after } => {
            return Err(Problem::conflict(
                "A request with this Idempotency-Key is in progress. Retry in a moment.",
            )
            .retry_after(retry_after.min(MAX_RETRY_AFTER)));
        }
        ClaimOutcome::PayloadMismatch => {
            return Err(Problem::invalid(
                IdempotencyKey::HEADER,
                "was used with a different body; use a new key for a new request",
            ));
        }
    };
    let result = work(plan).await;
    let recorded = match &result {
        Ok(response) => guard.complete(response).await,
        Err(_) => guard.release().await,
    };
    // The work is done, so its result is returned even if it cannot be recorded. A repetition then
    // takes over with the same plan.
    if let Err(error) = recorded {
        tracing::warn!(error = chain(&error), "idempotency record not updated");
    }
    result.map_err(Into::into)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) => Self::unavailable(error),
            Error::Failed(_) | Error::LeaseLost | Error::TooLarge(_) | Error::Json(_) => {
                Self::internal(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use api::StatusCode;
    use lambda_http::request::from_str;

    use super::*;
    use crate::{
        IdempotencyTable,
        memory::{Clock, Failure, Memory},
    };

    const SCOPE: Scope = Scope::of("POST /notes", "ada");

    fn request(key: Option<&str>, body: &str) -> Request {
        let headers = match key {
            Some(key) => serde_json::json!({"idempotency-key": [key]}),
            None => serde_json::json!({}),
        };
        let event = serde_json::json!({
            "resource": "/notes", "path": "/notes", "httpMethod": "POST", "headers": {},
            "multiValueHeaders": headers, "body": body, "isBase64Encoded": false,
            "requestContext": {"identity": {}, "httpMethod": "POST"},
        });
        Request::new(from_str(&event.to_string()).unwrap())
    }

    /// A route for tests. The response contains the plan, and the number of times that the work of
    /// this route ran.
    struct Route {
        idempotency: Idempotency<Memory>,
        clock: Clock,
        runs: Cell<usize>,
    }

    impl Route {
        fn new() -> Self {
            let (idempotency, clock) = Idempotency::in_memory();
            Self {
                idempotency,
                clock,
                runs: Cell::new(0),
            }
        }

        async fn post(&self, key: Option<&str>, body: &str) -> api::Result<String> {
            self.post_with_work(key, body, async || Ok(())).await
        }

        async fn post_with_work(
            &self,
            key: Option<&str>,
            body: &str,
            work: impl AsyncFnOnce() -> Result<(), Problem>,
        ) -> api::Result<String> {
            let proposed = self.runs.get();
            let work = async |plan: usize| {
                self.runs.set(self.runs.get() + 1);
                work().await?;
                Ok::<_, Problem>(format!("plan {plan}, done {}", self.runs.get()))
            };
            let request = request(key, body);
            once(&self.idempotency, &request, SCOPE, proposed, work).await
        }
    }

    fn unavailable() -> Problem {
        Problem::unavailable("the table is down")
    }

    #[tokio::test]
    async fn without_a_key_every_request_runs_the_work() {
        let route = Route::new();
        assert_eq!(route.post(None, "{}").await.unwrap(), "plan 0, done 1");
        assert_eq!(route.post(None, "{}").await.unwrap(), "plan 1, done 2");
        assert_eq!(route.idempotency.store().calls(), 0);
    }

    #[tokio::test]
    async fn with_a_key_the_first_response_is_replayed() {
        let route = Route::new();
        for _ in 0..3 {
            let response = route.post(Some("k"), "{}").await.unwrap();
            assert_eq!(response, "plan 0, done 1");
        }
        assert_eq!(route.runs.get(), 1);
        assert_eq!(
            route.post(Some("other"), "{}").await.unwrap(),
            "plan 1, done 2"
        );
    }

    #[tokio::test]
    async fn a_malformed_key_is_a_400_that_names_the_header() {
        let route = Route::new();
        for key in ["", &"k".repeat(256), "a\tb"] {
            let problem = route.post(Some(key), "{}").await.unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{key:?}");
            assert!(format!("{problem:?}").contains("Idempotency-Key"));
        }
        assert_eq!(route.runs.get(), 0);
    }

    #[tokio::test]
    async fn the_same_key_with_a_different_body_is_a_422() {
        let route = Route::new();
        route.post(Some("k"), "{}").await.unwrap();
        let problem = route.post(Some("k"), "other").await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem.errors()[0].field, "Idempotency-Key");
        assert_eq!(route.runs.get(), 1);
    }

    #[tokio::test]
    async fn a_concurrent_request_with_the_same_key_is_a_409_with_retry_after() {
        let route = Route::new();
        let concurrent = async || {
            let second = route.post(Some("k"), "{}").await.unwrap_err();
            assert_eq!(second.status(), StatusCode::CONFLICT);
            assert_eq!(second.headers()["retry-after"], "2");
            Ok(())
        };
        let first = route.post_with_work(Some("k"), "{}", concurrent).await;
        assert_eq!(first.unwrap(), "plan 0, done 1");
        assert_eq!(route.runs.get(), 1);
    }

    #[tokio::test]
    async fn failed_work_can_be_retried_at_once_with_the_same_plan() {
        let route = Route::new();
        let failing = async || Err(unavailable());
        let failed = route.post_with_work(Some("k"), "{}", failing).await;
        assert_eq!(failed.unwrap_err().status(), 503);
        for _ in 0..2 {
            let response = route.post(Some("k"), "{}").await.unwrap();
            assert_eq!(response, "plan 0, done 2");
        }
    }

    #[tokio::test]
    async fn the_response_is_returned_even_if_it_cannot_be_recorded() {
        for failure in [Failure::Unsent, Failure::ResponseLost] {
            let route = Route::new();
            let fail_the_record = async || {
                route.idempotency.store().fail_after(0, failure);
                Ok(())
            };
            let first = route.post_with_work(Some("k"), "{}", fail_the_record).await;
            assert_eq!(first.unwrap(), "plan 0, done 1");
            route.idempotency.store().recover();
            route.clock.advance(Duration::from_secs(60));
            let again = route.post(Some("k"), "{}").await.unwrap();
            assert!(again.starts_with("plan 0"), "{again}");
        }
    }

    #[tokio::test]
    async fn no_work_runs_if_the_claim_cannot_be_stored() {
        let route = Route::new();
        route.idempotency.store().fail_after(0, Failure::Unsent);
        let problem = route.post(Some("k"), "{}").await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(route.runs.get(), 0);
    }

    #[tokio::test]
    async fn a_response_that_reports_a_decline_is_replayed() {
        let (idempotency, _clock) = Idempotency::in_memory();
        let runs = AtomicUsize::new(0);
        for _ in 0..2 {
            let request = request(Some("k"), "{}");
            let work = async |()| {
                runs.fetch_add(1, SeqCst);
                Ok::<_, Problem>(Err("insufficient_funds".to_owned()))
            };
            let response: Result<(), String> =
                once(&idempotency, &request, SCOPE, (), work).await.unwrap();
            assert_eq!(response, Err("insufficient_funds".into()));
        }
        assert_eq!(runs.load(SeqCst), 1);
    }

    /// Compiles only if the future of a handler that calls `once` is `Send`. Lambda's runtime
    /// requires such a future.
    #[expect(dead_code, reason = "the test is that this compiles")]
    fn a_handler_that_calls_once_is_send(
        idempotency: &'static Idempotency<IdempotencyTable>,
        request: Request,
    ) {
        fn assert_send(_: impl Future<Output = api::Result<String>> + Send + 'static) {}
        assert_send(async move {
            let user: String = request.caller()?;
            let work = |plan: String| async { Ok::<_, Problem>(plan + &user) };
            let scope = Scope::of("POST /notes", &user);
            once(idempotency, &request, scope, String::new(), work).await
        });
    }
}
