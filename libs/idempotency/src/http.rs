//! `Idempotency-Key` on a route: <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.

use std::{future::Future, time::Duration};

use api::{Problem, Request};
use function::chain;
use serde::{Serialize, de::DeserializeOwned};

use crate::{ClaimOutcome, Error, Idempotency, IdempotencyKey, Scope, store::Store};

/// The longest that a client is told to wait. A lease says how long work can last at most: nearly
/// all of it is over long before.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Does a request's `work` once per `Idempotency-Key`, or as often as it is asked for without one.
///
/// Call it once the request is parsed: what cannot be read is never remembered. `work` gets the
/// plan of the first attempt, which is `proposed` unless this attempt takes over, and must do
/// nothing twice that it did under the same plan before.
///
/// What it returns decides what a repetition gets, as with Stripe:
///
/// - `Ok` is an answer, stored and given to every repetition. What is settled belongs here even if
///   it is bad news, such as a card that was declined.
/// - `Err` is not stored. The claim is released, so that a repetition tries again at once, with the
///   same plan.
///
/// An answer is a value of the route's, not an HTTP response. The route makes its response of that
/// value and of the request, new or repeated alike, so it is the same to the byte; and it need not
/// store what the request says already, which may be more than an item of DynamoDB takes.
///
/// ```
/// # use api::{Problem, Request, Response, StatusCode};
/// # use idempotency::{Idempotency, IdempotencyTable, Scope, http::once};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # struct PurchaseId(String);
/// # impl PurchaseId { fn generate() -> Self { Self("1".into()) } }
/// # impl api::Body for Order { fn read(fields: &mut api::Fields) -> Option<Self> { Some(Self { storage: fields.required("storage", |value| api::to_integer(&value).ok_or("must be an integer".into()))? }) } }
/// # struct Order { storage: i64 }
/// # #[derive(Serialize, Deserialize)]
/// # struct Receipt { amount: u32 }
/// # async fn purchase(_: &str, _: Order, _: PurchaseId) -> Result<Receipt, Problem> {
/// #     Ok(Receipt { amount: 4000 })
/// # }
/// async fn handle(idempotency: &Idempotency<IdempotencyTable>, request: Request) -> api::Result {
///     let user: String = request.caller()?;
///     let order: Order = request.json()?;
///     let scope = Scope::of("POST /billing", &user);
///     let work = |id: PurchaseId| purchase(&user, order, id);
///     let receipt = once(idempotency, &request, scope, PurchaseId::generate(), work).await?;
///     Response::json(StatusCode::OK, &receipt)
/// }
/// ```
///
/// # Errors
/// 400 when the key is malformed; 409 with `Retry-After` while another request with it is being
/// worked on; 422 when it was used with another body; those of `work`; 503 and 500 when the claim
/// cannot be stored.
pub async fn once<S, P, A, E, Fut>(
    idempotency: &Idempotency<S>,
    request: &Request,
    scope: Scope<'_>,
    proposed: P,
    work: impl FnOnce(P) -> Fut,
) -> api::Result<A>
where
    S: Store,
    P: Serialize + DeserializeOwned,
    A: Serialize + DeserializeOwned,
    E: Into<Problem>,
    Fut: Future<Output = Result<A, E>>,
{
    let key = request.header::<IdempotencyKey>(IdempotencyKey::HEADER)?;
    let Some(key) = key else {
        return work(proposed).await.map_err(Into::into);
    };
    let operation = scope.operation(&key, request.body());
    let claim = idempotency.claim(&operation, request.deadline(), proposed);
    let (held, plan) = match claim.await? {
        ClaimOutcome::Start { held, plan } => (held, plan),
        ClaimOutcome::Replay(answer) => return Ok(answer),
        ClaimOutcome::InProgress { retry_after } => {
            return Err(Problem::conflict(
                "A request with this Idempotency-Key is being worked on. Send it again in a moment.",
            )
            .retry_after(retry_after.min(LONGEST_WAIT)));
        }
        ClaimOutcome::Mismatch => {
            return Err(Problem::invalid(
                IdempotencyKey::HEADER,
                "was used with another body; a new request needs a new key",
            ));
        }
    };
    let result = work(plan).await;
    let recorded = match &result {
        Ok(answer) => held.complete(answer).await,
        Err(_) => held.release().await,
    };
    // What is done is done: the client hears of it, and a repetition takes over with the same plan.
    if let Err(error) = recorded {
        tracing::warn!(
            error = chain(&error),
            "an idempotent request's end is not recorded"
        );
    }
    result.map_err(Into::into)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) => Self::unavailable(error),
            Error::Failed(_) | Error::Lost | Error::TooLarge(_) | Error::Json(_) => {
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

    /// A route whose work is done by saying how often it was.
    struct Route {
        idempotency: Idempotency<Memory>,
        clock: Clock,
        worked: Cell<usize>,
    }

    impl Route {
        fn new() -> Self {
            let (idempotency, clock) = Idempotency::in_memory();
            Self {
                idempotency,
                clock,
                worked: Cell::new(0),
            }
        }

        async fn post(&self, key: Option<&str>, body: &str) -> api::Result<String> {
            self.post_to_do(key, body, async || Ok(())).await
        }

        async fn post_to_do(
            &self,
            key: Option<&str>,
            body: &str,
            work: impl AsyncFnOnce() -> Result<(), Problem>,
        ) -> api::Result<String> {
            let proposed = self.worked.get();
            let work = async |plan: usize| {
                self.worked.set(self.worked.get() + 1);
                work().await?;
                Ok::<_, Problem>(format!("plan {plan}, done {}", self.worked.get()))
            };
            let request = request(key, body);
            once(&self.idempotency, &request, SCOPE, proposed, work).await
        }
    }

    fn busy() -> Problem {
        Problem::unavailable("the table is down")
    }

    #[tokio::test]
    async fn without_a_key_every_request_is_worked_on() {
        let route = Route::new();
        assert_eq!(route.post(None, "{}").await.unwrap(), "plan 0, done 1");
        assert_eq!(route.post(None, "{}").await.unwrap(), "plan 1, done 2");
        assert_eq!(route.idempotency.store().calls(), 0);
    }

    #[tokio::test]
    async fn with_a_key_the_first_answer_is_given_again() {
        let route = Route::new();
        for _ in 0..3 {
            let answer = route.post(Some("k"), "{}").await.unwrap();
            assert_eq!(answer, "plan 0, done 1");
        }
        assert_eq!(route.worked.get(), 1);
        assert_eq!(
            route.post(Some("other"), "{}").await.unwrap(),
            "plan 1, done 2"
        );
    }

    #[tokio::test]
    async fn a_malformed_key_is_a_bad_request_that_names_the_header_and_nothing_is_done() {
        let route = Route::new();
        for key in ["", &"k".repeat(256), "a\tb"] {
            let problem = route.post(Some(key), "{}").await.unwrap_err();
            assert_eq!(problem.status(), StatusCode::BAD_REQUEST, "{key:?}");
            assert!(format!("{problem:?}").contains("Idempotency-Key"));
        }
        assert_eq!(route.worked.get(), 0);
    }

    #[tokio::test]
    async fn the_same_key_with_another_body_is_refused() {
        let route = Route::new();
        route.post(Some("k"), "{}").await.unwrap();
        let problem = route.post(Some("k"), "other").await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem.errors()[0].field, "Idempotency-Key");
        assert_eq!(route.worked.get(), 1);
    }

    #[tokio::test]
    async fn a_second_request_while_the_first_is_worked_on_is_told_when_to_come_back() {
        let route = Route::new();
        let meanwhile = async || {
            let second = route.post(Some("k"), "{}").await.unwrap_err();
            assert_eq!(second.status(), StatusCode::CONFLICT);
            assert_eq!(second.headers()["retry-after"], "2");
            Ok(())
        };
        let first = route.post_to_do(Some("k"), "{}", meanwhile).await;
        assert_eq!(first.unwrap(), "plan 0, done 1");
        assert_eq!(route.worked.get(), 1);
    }

    #[tokio::test]
    async fn what_failed_can_be_tried_again_at_once_and_keeps_its_plan() {
        let route = Route::new();
        let failing = async || Err(busy());
        let failed = route.post_to_do(Some("k"), "{}", failing).await;
        assert_eq!(failed.unwrap_err().status(), 503);
        for _ in 0..2 {
            let answer = route.post(Some("k"), "{}").await.unwrap();
            assert_eq!(answer, "plan 0, done 2");
        }
    }

    #[tokio::test]
    async fn what_is_done_is_answered_even_if_that_cannot_be_recorded() {
        for failure in [Failure::Unsent, Failure::AnswerLost] {
            let route = Route::new();
            let lose = async || {
                route.idempotency.store().fail_after(0, failure);
                Ok(())
            };
            let first = route.post_to_do(Some("k"), "{}", lose).await;
            assert_eq!(first.unwrap(), "plan 0, done 1");
            route.idempotency.store().recover();
            route.clock.advance(Duration::from_secs(60));
            let again = route.post(Some("k"), "{}").await.unwrap();
            assert!(again.starts_with("plan 0"), "{again}");
        }
    }

    #[tokio::test]
    async fn nothing_is_done_while_claims_cannot_be_stored() {
        let route = Route::new();
        route.idempotency.store().fail_after(0, Failure::Unsent);
        let problem = route.post(Some("k"), "{}").await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(route.worked.get(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_bad_news_is_given_again_too() {
        let (idempotency, _clock) = Idempotency::in_memory();
        let worked = AtomicUsize::new(0);
        for _ in 0..2 {
            let request = request(Some("k"), "{}");
            let work = async |()| {
                worked.fetch_add(1, SeqCst);
                Ok::<_, Problem>(Err("insufficient_funds".to_owned()))
            };
            let answer: Result<(), String> =
                once(&idempotency, &request, SCOPE, (), work).await.unwrap();
            assert_eq!(answer, Err("insufficient_funds".into()));
        }
        assert_eq!(worked.load(SeqCst), 1);
    }

    /// Lambda's runtime takes no other handlers.
    #[expect(dead_code, reason = "that it compiles is the point")]
    fn a_route_that_uses_it_can_be_served(
        idempotency: &'static Idempotency<IdempotencyTable>,
        request: Request,
    ) {
        fn sendable(_: impl Future<Output = api::Result<String>> + Send + 'static) {}
        sendable(async move {
            let user: String = request.caller()?;
            let work = |plan: String| async { Ok::<_, Problem>(plan + &user) };
            let scope = Scope::of("POST /notes", &user);
            once(idempotency, &request, scope, String::new(), work).await
        });
    }
}
