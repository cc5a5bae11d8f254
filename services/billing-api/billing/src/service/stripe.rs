//! Payments by Stripe, as async-stripe speaks to it: in the version of the API that this library's
//! types are of.

use std::{
    collections::BTreeMap,
    error, fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use function::StartError;
use http::Uri;
use miniserde::Deserialize;
use secrets::{Secret, Secrets};
use serde::Serialize;
use stripe::{
    ApiErrors, ApiErrorsCode, ApiErrorsType, Client, ClientBuilder, IdempotencyKey,
    RequestStrategy, StripeError, StripeRequest,
};
use stripe_client_core::{RequestBuilder, StripeMethod};
use stripe_core::payment_intent::{
    CancelPaymentIntent, RetrievePaymentIntent, SearchPaymentIntent,
};
use stripe_shared::{PaymentIntent, PaymentIntentStatus};
use tokio::time::{Instant, sleep};

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
    url: String,
    key: Box<dyn Fn() -> Secret + Send + Sync>,
    client: Mutex<(Secret, Client)>,
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
        Self::new(url, key)
    }

    /// At that address, such as `https://api.stripe.com`, with what `key` gives at every call.
    ///
    /// # Errors
    /// When the address or the key cannot be used.
    pub fn new(
        url: String,
        key: impl Fn() -> Secret + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let first = key();
        let client = client(&first, &url).map_err(Failed)?;
        Ok(Self {
            url,
            key: Box::new(key),
            client: Mutex::new((first, client)),
        })
    }

    /// A client with the key that is valid now: a new one once the key was changed.
    fn client(&self) -> Result<Client, StripeError> {
        let key = (self.key)();
        let mut made = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, known_client) = &mut *made;
        if known.expose() != key.expose() {
            *known_client = client(&key, &self.url)?;
            *known = key;
        }
        Ok(known_client.clone())
    }

    /// Sends a request until it has an answer that says something.
    async fn send<R>(
        &self,
        request: &R,
        strategy: RequestStrategy,
    ) -> Result<R::Output, StripeError>
    where
        R: StripeRequest<Output: Deserialize + Send> + Sync,
    {
        let (begun, mut pause) = (Instant::now(), PAUSE);
        loop {
            let client = self.client()?;
            let once = request.customize().request_strategy(strategy.clone());
            let error = match once.send(&client).await {
                Err(error) if says_nothing(&error) => error,
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
    async fn retrieve(&self, intent: &str) -> Result<PaymentIntent, StripeError> {
        let retrieve = RetrievePaymentIntent::new(intent);
        self.send(&retrieve, RequestStrategy::Once).await
    }
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").finish_non_exhaustive()
    }
}

fn client(key: &Secret, url: &str) -> Result<Client, StripeError> {
    let client = ClientBuilder::new(key.expose()).url(url).timeout(ATTEMPT);
    client.build()
}

/// Whether the same request may get another answer in a moment: no answer came, Stripe is down or
/// has too much to do, or it works on an earlier try.
/// <https://docs.stripe.com/error-low-level>
fn says_nothing(error: &StripeError) -> bool {
    match error {
        StripeError::ClientError(_) | StripeError::Timeout | StripeError::JSONDeserialize(_) => {
            true
        }
        StripeError::Stripe(_, status) => matches!(status, 409 | 429 | 500..),
        StripeError::ConfigError(_) => false,
    }
}

/// Where Stripe is.
struct Address(String);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let parsed = url.parse::<Uri>().ok();
        let good = parsed.filter(|url| {
            let known = matches!(url.scheme_str(), Some("http" | "https"));
            known && url.path() == "/" && url.query().is_none()
        });
        good.map(|_| Self(url.into()))
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
            Err(StripeError::Stripe(error, 400 | 402)) => {
                return refused(*error).map_err(|error| ChargeError(error.into()));
            }
            Err(error) => return Err(ChargeError(Failed(error).into())),
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
            Err(StripeError::Stripe(_, 400)) => self.retrieve(intent.as_str()).await,
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
fn refused(mut error: ApiErrors) -> Result<Payment, Failed> {
    if let Some(intent) = error.payment_intent.take() {
        let declined = |intent| Payment::Declined {
            intent: Some(intent),
            decline: decline(error),
        };
        return IntentId::try_from(intent.id.to_string())
            .map(declined)
            .map_err(|why| Failed(StripeError::JSONDeserialize(why.into())));
    }
    let param = error.param.as_deref().unwrap_or_default();
    if param == "payment_method" || param.starts_with("payment_method_data") {
        return Ok(Payment::Declined {
            intent: None,
            decline: decline(error),
        });
    }
    Err(Failed(StripeError::Stripe(Box::new(error), 400)))
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

fn service_error(error: StripeError) -> Error {
    let busy = says_nothing(&error);
    let cause = Failed(error).into();
    if busy {
        Error::Busy(cause)
    } else {
        Error::Failed(cause)
    }
}

/// A call of Stripe that failed, as the log may show it. The error itself may hold what opens a
/// payment.
struct Failed(StripeError);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            StripeError::Stripe(error, status) => {
                let code = error.code.as_ref().map(|code| code.as_str());
                let kind = error.type_.as_str();
                write!(
                    f,
                    "Stripe answered {status} {kind} {}",
                    code.unwrap_or_default()
                )
            }
            StripeError::ClientError(why) => write!(f, "Stripe cannot be reached: {why}"),
            StripeError::Timeout => write!(f, "Stripe did not answer in {ATTEMPT:?}"),
            StripeError::JSONDeserialize(_) => write!(f, "Stripe's answer cannot be read"),
            StripeError::ConfigError(_) => write!(f, "Stripe cannot be called by its settings"),
        }
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for Failed {}
