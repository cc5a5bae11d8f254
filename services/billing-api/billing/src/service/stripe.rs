//! Payments by Stripe, in async-stripe's words and over our own connections: in the version of the
//! API that this library's types are of.

use std::{collections::BTreeMap, error, fmt, str::FromStr, time::Duration};

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use function::StartError;
use http::{HeaderValue, Method, Request, Uri, header};
use https::{Https, RootCertStore};
use miniserde::{Deserialize, json};
use secrets::{Secret, Secrets};
use serde::Serialize;
use stripe_client_core::{
    CustomizedStripeRequest, IdempotencyKey, RequestBuilder, RequestStrategy, StripeClient,
    StripeClientErr, StripeMethod, StripeRequest,
};
use stripe_core::payment_intent::{
    CancelPaymentIntent, RetrievePaymentIntent, SearchPaymentIntent,
};
use stripe_shared::{
    ApiErrors, ApiErrorsCode, ApiErrorsType, PaymentIntent, PaymentIntentStatus, version::VERSION,
};
use tokio::time::{Instant, sleep, timeout};

use super::{Cause, ChargeError, Error, Payments};
use crate::{
    payment::{ClientSecret, Decline, IntentId, Payment},
    purchase::{Cents, PaymentSource, Purchase, PurchaseKey},
};

/// How long one try may take. Stripe goes on with what it has begun, and gives its answer to the
/// next try.
const ATTEMPT: Duration = Duration::from_secs(7);

/// How long a call is tried again before it is given up. With what else a function does, it has to
/// end before Lambda ends the function.
const PATIENCE: Duration = Duration::from_secs(15);

/// The pause before a second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// Stripe, under the key that is valid at the moment.
pub struct Stripe {
    url: Uri,
    key: Box<dyn Fn() -> Secret + Send + Sync>,
    https: Https,
}

impl Stripe {
    /// By the settings `STRIPE_URL` and `SECRETS_PREFIX`, with the secret `stripe-secret-key`.
    ///
    /// # Errors
    /// Names the setting that is missing or malformed, or the secret that cannot be had.
    pub async fn from_env(aws: &aws::Stack) -> Result<Self, StartError> {
        let Address(url) = function::setting("STRIPE_URL")?;
        let prefix = function::setting("SECRETS_PREFIX")?;
        let secrets = Secrets::load(aws, &prefix, ["stripe-secret-key"]).await?;
        let key = move || {
            let [key] = secrets.current();
            key
        };
        Self::at(url, key)
    }

    /// At that address, such as `https://api.stripe.com`, with what `key` gives at every call.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(
        url: &str,
        key: impl Fn() -> Secret + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let Address(url) = url.parse()?;
        Self::at(url, key)
    }

    fn at(url: Uri, key: impl Fn() -> Secret + Send + Sync + 'static) -> Result<Self, StartError> {
        authorization(&key())?;
        // Stripe asks not to be pinned: its certificates are by whom the web trusts.
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Self {
            url,
            key: Box::new(key),
            https: Https::trusting(roots, ATTEMPT),
        })
    }

    /// Opens a connection for the first call to find.
    pub async fn warm_up(&self) {
        self.https.warm_up(self.url.clone()).await;
    }

    /// What is sent for a request.
    fn request(&self, asked: CustomizedStripeRequest) -> Result<Request<SdkBody>, Failed> {
        let (asked, settings) = asked.into_pieces();
        let mut url = format!("{}v1{}", self.url, asked.path);
        if let Some(query) = asked.query {
            url.push('?');
            url.push_str(&query);
        }
        let method = match asked.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, authorization(&(self.key)())?)
            .header(header::USER_AGENT, "scratchpad")
            .header("stripe-version", VERSION.as_str());
        let strategy = settings.request_strategy;
        if let Some(key) = strategy.and_then(|strategy| strategy.get_key()) {
            request = request.header("idempotency-key", key.as_str());
        }
        if asked.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = asked.body.map_or_else(SdkBody::empty, SdkBody::from);
        request.body(body).map_err(|_| Failed::NoRequest)
    }

    /// Sends a request until it has an answer that says something.
    async fn send<R>(&self, request: &R, strategy: RequestStrategy) -> Result<R::Output, Failed>
    where
        R: StripeRequest<Output: Deserialize + Send> + Sync,
    {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            let once = request.customize().request_strategy(strategy.clone());
            let error = match once.send(self).await {
                Err(error) if error.says_nothing() => error,
                answer => return answer,
            };
            if begun.elapsed() + pause + ATTEMPT > PATIENCE {
                return Err(error);
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// How the intent is by now.
    async fn retrieve(&self, intent: &str) -> Result<PaymentIntent, Failed> {
        let retrieve = RetrievePaymentIntent::new(intent);
        self.send(&retrieve, RequestStrategy::Once).await
    }
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

impl StripeClient for Stripe {
    type Err = Failed;

    /// Tries once.
    async fn execute(&self, asked: CustomizedStripeRequest) -> Result<Bytes, Failed> {
        let request = self.request(asked)?;
        let answer = timeout(ATTEMPT, self.https.exchange(request)).await;
        let answer = answer
            .map_err(|_| Failed::Late)?
            .map_err(Failed::Unreachable)?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let status = answer.status().as_u16();
        let said = str::from_utf8(answer.body()).map_err(Failed::deserialize_err)?;
        let said: stripe_shared::Error = json::from_str(said).map_err(Failed::deserialize_err)?;
        Err(Failed::Refused(said.error, status))
    }
}

/// The header that says whose request it is. No debug output shows it.
fn authorization(key: &Secret) -> Result<HeaderValue, Failed> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| Failed::NoRequest)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where Stripe is.
struct Address(Uri);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let parsed = url.parse::<Uri>().ok();
        let good = parsed.filter(|url| {
            let known = matches!(url.scheme_str(), Some("http" | "https"));
            known && url.path() == "/" && url.query().is_none()
        });
        good.map(Self)
            .ok_or("it must be an address like https://api.stripe.com")
    }
}

/// Creates and confirms a PaymentIntent: <https://docs.stripe.com/api/payment_intents/create>.
/// async-stripe's own type has no way to pay by a token.
#[derive(Serialize)]
struct Charge<'a> {
    amount: Cents,
    currency: &'static str,
    confirm: bool,
    description: &'a str,
    metadata: Metadata<'a>,
    automatic_payment_methods: BTreeMap<&'static str, &'static str>,
    #[serde(flatten)]
    by: By<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    user_id: &'a str,
    purchase_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum By<'a> {
    PaymentMethod(&'a str),
    PaymentMethodData {
        r#type: &'static str,
        card: Card<'a>,
    },
}

#[derive(Serialize)]
struct Card<'a> {
    token: &'a str,
}

impl<'a> Charge<'a> {
    fn new(purchase: &'a Purchase, source: &'a PaymentSource) -> Self {
        let source = source.as_str();
        let by = match source.starts_with("pm_") {
            true => By::PaymentMethod(source),
            false => By::PaymentMethodData {
                r#type: "card",
                card: Card { token: source },
            },
        };
        Self {
            amount: purchase.amount,
            currency: "usd",
            confirm: true,
            description: &purchase.description,
            metadata: Metadata {
                user_id: purchase.key.user_id.as_str(),
                purchase_id: purchase.key.purchase_id.to_string(),
            },
            // A card's owner acts within the page, or not at all.
            automatic_payment_methods: [("enabled", "true"), ("allow_redirects", "never")].into(),
            by,
        }
    }
}

impl StripeRequest for Charge<'_> {
    type Output = PaymentIntent;

    fn build(&self) -> RequestBuilder {
        RequestBuilder::new(StripeMethod::Post, "/payment_intents").form(self)
    }
}

impl Payments for Stripe {
    #[tracing::instrument(name = "Stripe charge", skip_all)]
    async fn charge(
        &self,
        purchase: &Purchase,
        source: &PaymentSource,
    ) -> Result<Payment, ChargeError> {
        let charge = Charge::new(purchase, source);
        let key = IdempotencyKey::new(purchase.key.purchase_id.to_string());
        let key = key.map_err(|error| ChargeError(error.into()))?;
        let intent = match self.send(&charge, RequestStrategy::Idempotent(key)).await {
            Ok(intent) => intent,
            Err(Failed::Refused(error, 400 | 402)) => {
                return refused(error).map_err(|error| ChargeError(error.into()));
            }
            Err(error) => return Err(ChargeError(error.into())),
        };
        let intent = match intent.status {
            // The answer may be the stored one of an earlier try, and its owner may have acted since.
            PaymentIntentStatus::RequiresAction | PaymentIntentStatus::Processing => {
                self.retrieve(&intent.id).await.unwrap_or(intent)
            }
            _ => intent,
        };
        payment(intent).map_err(ChargeError)
    }

    #[tracing::instrument(name = "Stripe search", skip_all)]
    async fn status_of(&self, purchase: &PurchaseKey) -> Result<Option<Payment>, Error> {
        let id = purchase.purchase_id;
        let search = SearchPaymentIntent::new(format!("metadata['purchaseId']:'{id}'"));
        let found = self.send(&search, RequestStrategy::Once).await;
        let found = found.map_err(service_error)?.data.into_iter().next();
        let payment = found.map(payment).transpose();
        payment.map_err(Error::Failed)
    }

    #[tracing::instrument(name = "Stripe cancel", skip_all)]
    async fn cancel(&self, intent: &IntentId) -> Result<Payment, Error> {
        let cancel = CancelPaymentIntent::new(intent.as_str());
        let canceled = self.send(&cancel, RequestStrategy::Once).await;
        let now = match canceled {
            // It has ended, or cannot be cancelled at the moment.
            Err(Failed::Refused(_, 400)) => self.retrieve(intent.as_str()).await,
            canceled => canceled,
        };
        payment(now.map_err(service_error)?).map_err(Error::Failed)
    }
}

/// What an intent says of its payment.
fn payment(intent: PaymentIntent) -> Result<Payment, Cause> {
    let id = IntentId::try_from(intent.id.to_string())?;
    Ok(match intent.status {
        PaymentIntentStatus::Succeeded => Payment::Succeeded { intent: id },
        PaymentIntentStatus::Canceled => Payment::Canceled { intent: id },
        PaymentIntentStatus::Processing => Payment::Processing { intent: id },
        PaymentIntentStatus::RequiresAction => Payment::RequiresAction {
            intent: id,
            client_secret: ClientSecret::from(intent.client_secret.ok_or("it has no secret")?),
        },
        PaymentIntentStatus::RequiresPaymentMethod | PaymentIntentStatus::RequiresConfirmation => {
            let error = intent.last_payment_error.map(|error| *error);
            Payment::Declined {
                intent: Some(id),
                decline: error.map_or_else(Decline::unfinished, decline),
            }
        }
        other => return Err(format!("a payment cannot be {}", other.as_str()).into()),
    })
}

/// What an error of Stripe's says of the payment, if it says something.
fn refused(mut error: Box<ApiErrors>) -> Result<Payment, Failed> {
    if let Some(intent) = error.payment_intent.take() {
        let declined = |intent| Payment::Declined {
            intent: Some(intent),
            decline: decline(*error),
        };
        return IntentId::try_from(intent.id.to_string())
            .map(declined)
            .map_err(Failed::deserialize_err);
    }
    let param = error.param.as_deref().unwrap_or_default();
    if param == "payment_method" || param.starts_with("payment_method_data") {
        return Ok(Payment::Declined {
            intent: None,
            decline: decline(*error),
        });
    }
    Err(Failed::Refused(error, 400))
}

/// Why a card was not charged. What Stripe says of a card is for its owner, all else for programmers:
/// <https://docs.stripe.com/api/errors#errors-message>.
fn decline(error: ApiErrors) -> Decline {
    let code = error.code.as_ref().map(|code| code.as_str());
    let words = error
        .message
        .filter(|_| error.type_ == ApiErrorsType::CardError);
    let own = match error.code {
        Some(ApiErrorsCode::PaymentIntentAuthenticationFailure) => {
            "Your bank could not confirm that this card is yours. Your card was not charged."
        }
        _ => "This card cannot be used. Enter its details again.",
    };
    Decline {
        code: code.unwrap_or("card_declined").into(),
        decline_code: error.decline_code,
        message: words.unwrap_or_else(|| own.into()),
    }
}

fn service_error(error: Failed) -> Error {
    if error.says_nothing() {
        Error::Unavailable(error.into())
    } else {
        Error::Failed(error.into())
    }
}

/// A call of Stripe that failed. Its text is for the log: what Stripe said may hold what opens a
/// payment, and is not in it.
pub enum Failed {
    /// Stripe answered with an error and that status.
    Refused(Box<ApiErrors>, u16),
    /// No answer came, or half of one.
    Unreachable(https::Failure),
    /// No answer came in time.
    Late,
    /// What came cannot be read.
    Unreadable,
    /// The key or the request is none that can be sent.
    NoRequest,
}

impl Failed {
    /// Whether the same request may get another answer in a moment: no answer came, Stripe is down or
    /// has too much to do, or it works on an earlier try.
    /// <https://docs.stripe.com/error-low-level>
    fn says_nothing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late | Self::Unreadable => true,
            Self::Refused(_, status) => matches!(status, 409 | 429 | 500..),
            Self::NoRequest => false,
        }
    }
}

impl StripeClientErr for Failed {
    fn deserialize_err(_: impl fmt::Display) -> Self {
        Self::Unreadable
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error, status) => {
                let code = error.code.as_ref().map(|code| code.as_str());
                let kind = error.type_.as_str();
                write!(
                    f,
                    "Stripe answered {status} {kind} {}",
                    code.unwrap_or_default()
                )
            }
            Self::Unreachable(_) => write!(f, "Stripe cannot be reached"),
            Self::Late => write!(f, "Stripe did not answer in {ATTEMPT:?}"),
            Self::Unreadable => write!(f, "Stripe's answer cannot be read"),
            Self::NoRequest => write!(f, "Stripe cannot be called by its settings"),
        }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for Failed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreachable(why) => Some(why),
            _ => None,
        }
    }
}
