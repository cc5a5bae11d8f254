//! Checks of the Stripe keys and of the webhook.

use std::collections::BTreeSet;

use domain::stripe::{API_VERSION, WEBHOOK_EVENTS};
use serde_json::Value;

use super::{
    check::{Check, Finding, Phase},
    failure::Failure,
    stripe_api::{Answer, StripeApi},
    subject::Examination,
};
use crate::release::{
    stripe_keys::{SECRET_KEY, WEBHOOK_SECRET},
    stripe_mode::Mode,
};

const KEYS: &str = "https://docs.stripe.com/keys";
const WEBHOOKS: &str = "https://docs.stripe.com/webhooks";

/// Checks the keys and the webhook.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    // Several checks use these responses, so each is requested only once.
    let account = account(exam).await;
    let secret = account.as_ref().map_err(Clone::clone);
    let (secret_key, version) = (
        secret_key(exam, secret.clone()),
        api_version(secret.clone()),
    );
    let (publishable, one_account, webhook) = tokio::join!(
        exam.check(
            Phase::Deploy,
            "Stripe publishable key",
            publishable_key(exam)
        ),
        exam.check(
            Phase::Deploy,
            "Stripe account of both keys",
            one_account(exam, secret)
        ),
        exam.check(Phase::AfterDeploy, "Stripe webhook", webhook(exam)),
    );
    vec![
        exam.check(Phase::Deploy, "Stripe secret key", async { secret_key })
            .await,
        exam.check(Phase::Deploy, "Stripe API version", async { version })
            .await,
        publishable,
        exam.check(Phase::Deploy, "Stripe mode of both keys", async {
            modes(exam)
        })
        .await,
        one_account,
        webhook,
        exam.check(Phase::AfterDeploy, "Stripe webhook secret", async {
            webhook_secret(exam)
        })
        .await,
    ]
}

/// A client of Stripe's API.
fn stripe(exam: &Examination<'_>) -> StripeApi {
    StripeApi::new(&exam.subject.stripe_url)
}

/// Requests the account of the secret key from Stripe. `None` if the key is not set.
async fn account(exam: &Examination<'_>) -> Result<Option<Answer>, Failure> {
    match exam.secret(SECRET_KEY)? {
        Some(key) => Ok(Some(stripe(exam).get("/v1/account", key).await?)),
        None => Ok(None),
    }
}

fn needs_secret_key() -> Failure {
    Failure::new("not checked, because the secret stripe-secret-key is not set")
}

fn secret_key(
    exam: &Examination<'_>,
    account: Result<&Option<Answer>, Failure>,
) -> Result<Finding, Failure> {
    let set = format!(
        "create a key in the Stripe Dashboard > Developers > API keys, then {}",
        exam.set_secret(SECRET_KEY)
    );
    let Some(key) = exam.secret(SECRET_KEY)? else {
        return Ok(Finding::red(
            "the secret stripe-secret-key is not set",
            set,
            KEYS,
        ));
    };
    if !SECRET_KEY.accepts(key) || Mode::of(key).is_none() {
        return Ok(Finding::red(
            "the secret stripe-secret-key does not begin with sk_test_, sk_live_, rk_test_ or rk_live_",
            set,
            KEYS,
        ));
    }
    let Some(account) = account? else {
        return Err(needs_secret_key());
    };
    if account.is_unauthorized() {
        return Ok(Finding::red(
            format!("Stripe rejects the key: {}", account.message()),
            set,
            KEYS,
        ));
    }
    if account.is_forbidden() {
        return Ok(Finding::green(
            "Stripe accepts the key, which has no permission to read the account",
        ));
    }
    if !account.is_success() {
        return Err(account.failure());
    }
    Ok(Finding::green("Stripe accepts the key"))
}

/// Checks that Stripe supports the functions' API version. Stripe rejects requests with an unsupported version.
fn api_version(account: Result<&Option<Answer>, Failure>) -> Result<Finding, Failure> {
    let Some(account) = account? else {
        return Err(needs_secret_key());
    };
    if account.is_success() || account.is_forbidden() {
        return Ok(Finding::green(format!("Stripe supports {API_VERSION}")));
    }
    if account.message().to_ascii_lowercase().contains("version") {
        return Ok(Finding::red(
            format!(
                "Stripe does not support {API_VERSION}: {}",
                account.message()
            ),
            "update the crates async-stripe-* in Cargo.toml, and API_VERSION in libs/domain/src/stripe.rs",
            "https://docs.stripe.com/api/versioning",
        ));
    }
    Err(account.failure())
}

/// Checks that Stripe knows the publishable key. A publishable key may not read the account. Stripe's error for that
/// differs from its error for an unknown key:
/// <https://docs.stripe.com/error-codes#secret-key-required>
async fn publishable_key(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let key = exam.subject.publishable_key.as_str();
    let set = format!(
        "copy the key from the Stripe Dashboard > Developers > API keys to the column stripePublishableKey in the row of {}",
        exam.subject.stage
    );
    if !key.starts_with("pk_") || Mode::of(key).is_none() {
        return Ok(Finding::red(
            "the column stripePublishableKey does not begin with pk_test_ or pk_live_",
            set,
            KEYS,
        ));
    }
    let answer = stripe(exam).get("/v1/account", key).await?;
    if answer.code() == "secret_key_required" || answer.message().contains("publishable") {
        return Ok(Finding::green("Stripe knows the key"));
    }
    if answer.is_unauthorized() {
        return Ok(Finding::red(
            format!("Stripe rejects the key: {}", answer.message()),
            set,
            KEYS,
        ));
    }
    Err(answer.failure())
}

fn modes(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let Some(secret_key) = exam.secret(SECRET_KEY)? else {
        return Err(needs_secret_key());
    };
    let publishable = Mode::of(&exam.subject.publishable_key);
    let (Some(secret), Some(publishable)) = (Mode::of(secret_key), publishable) else {
        return Err(Failure::new(
            "not checked, because the mode of a key is not known",
        ));
    };
    let stage = &exam.subject.stage;
    if secret != publishable {
        return Ok(Finding::red(
            format!(
                "the secret key is for {secret} mode, the publishable key for {publishable} mode: every payment fails"
            ),
            format!(
                "use two keys of one mode: {}, or change stripePublishableKey in the row of {stage}",
                exam.set_secret(SECRET_KEY)
            ),
            KEYS,
        ));
    }
    if exam.subject.is_protected && secret == Mode::Test {
        return Ok(Finding::red(
            "both keys are for test mode, although the stage is protected: no card is charged",
            format!(
                "{} with a live key, and set a live stripePublishableKey in the row of {stage}",
                exam.set_secret(SECRET_KEY)
            ),
            KEYS,
        ));
    }
    Ok(Finding::green(format!("both keys are for {secret} mode")))
}

/// Checks that both keys belong to one Stripe account. Stripe has no request that returns the account of a publishable
/// key. A publishable key can read a PaymentIntent of its own account, if its client secret is known
/// (<https://docs.stripe.com/api/payment_intents/retrieve>), so this function reads the latest PaymentIntent of the
/// secret key's account with both keys. If there is no PaymentIntent, it compares the account ID that newer keys
/// contain. Stripe does not document this part of a key.
async fn one_account(
    exam: &Examination<'_>,
    account: Result<&Option<Answer>, Failure>,
) -> Result<Finding, Failure> {
    let Some(account) = account? else {
        return Err(needs_secret_key());
    };
    let Some(secret_key) = exam.secret(SECRET_KEY)? else {
        return Err(needs_secret_key());
    };
    if !account.is_success() && !account.is_forbidden() {
        return Err(account.failure());
    }
    let publishable_key = exam.subject.publishable_key.as_str();
    let id = account.text("/id").strip_prefix("acct_");
    let other = |found: String| {
        Finding::red(
            found,
            format!(
                "copy both keys from one account of the Stripe Dashboard > Developers > API keys: {}, and \
                 stripePublishableKey in the row of {}",
                exam.set_secret(SECRET_KEY),
                exam.subject.stage
            ),
            KEYS,
        )
    };
    let latest = stripe(exam)
        .get("/v1/payment_intents?limit=1", secret_key)
        .await?;
    let (intent, client_secret) = (
        latest.text("/data/0/id"),
        latest.text("/data/0/client_secret"),
    );
    if !intent.is_empty() && !client_secret.is_empty() {
        let path = format!("/v1/payment_intents/{intent}?client_secret={client_secret}");
        let read = stripe(exam).get(&path, publishable_key).await?;
        if read.is_success() {
            return Ok(Finding::green(
                "the publishable key can read a PaymentIntent of the secret key's account",
            ));
        }
        if read.is_missing() {
            return Ok(other(
                "the publishable key cannot read a PaymentIntent of the secret key's account"
                    .into(),
            ));
        }
        return Err(read.failure());
    }
    let id = id.or_else(|| embedded_account(secret_key));
    match (id, embedded_account(publishable_key)) {
        (Some(id), Some(embedded)) if embedded == id => Ok(Finding::green(format!(
            "acct_{id}, as far as the publishable key shows (Stripe does not document this part of a key)"
        ))),
        (Some(id), Some(embedded)) => Ok(other(format!(
            "the secret key belongs to acct_{id}, but the publishable key contains {embedded}"
        ))),
        _ => Err(Failure::new(
            "cannot be verified: the account has no PaymentIntent yet, and a key does not contain its account; run doctor again \
             after a first payment",
        )),
    }
}

/// The account that a newer key contains: 16 characters after `5`, as in `pk_test_51…` of the account `acct_1…`. `None` for
/// an older key.
fn embedded_account(key: &str) -> Option<&str> {
    let random = key.splitn(3, '_').nth(2)?;
    let id = random.strip_prefix('5')?.get(..16)?;
    // Older keys have only 24 characters, all random.
    (random.len() > 24 && id.starts_with('1')).then_some(id)
}

/// Checks that Stripe sends the events of payments to the stage.
async fn webhook(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.stripe.com/api/webhook_endpoints/create";
    let stage = &exam.subject.stage;
    let events = WEBHOOK_EVENTS.join(", ");
    let exports = exam.exports.as_ref().map_err(Clone::clone)?;
    let Some(api) = exports.get(&format!("scratchpad-{stage}-ApiUrl")) else {
        return Ok(Finding::red(
            "the stage has no API yet, so the URL of the webhook is not known",
            format!("cargo xtask deploy --stage {stage}; then run doctor again"),
            WEBHOOKS,
        ));
    };
    let url = format!("{api}/billing/webhook");
    let Some(key) = exam.secret(SECRET_KEY)? else {
        return Err(needs_secret_key());
    };
    let endpoints = endpoints(exam, key).await?;
    let text = |endpoint: &Value, field: &str| {
        let text = endpoint.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let ours: Vec<&Value> = endpoints
        .iter()
        .filter(|endpoint| text(endpoint, "url") == url)
        .collect();
    let Some(endpoint) = ours.first() else {
        return Ok(Finding::red(
            format!("no endpoint has the URL {url}"),
            format!(
                "Stripe Dashboard > Developers > Webhooks > Add destination: the URL, the events {events}, the API version \
                 {API_VERSION}; then {}",
                exam.set_secret(WEBHOOK_SECRET)
            ),
            DOCS,
        ));
    };
    if ours.len() > 1 {
        return Ok(Finding::red(
            format!(
                "{} endpoints have the URL {url}, but the stage has one signing secret",
                ours.len()
            ),
            "Stripe Dashboard > Developers > Webhooks: delete all but the one whose signing secret is set",
            WEBHOOKS,
        ));
    }
    let id = text(endpoint, "id");
    if text(endpoint, "status") != "enabled" {
        return Ok(Finding::red(
            format!("the endpoint {id} is {}", text(endpoint, "status")),
            format!("Stripe Dashboard > Developers > Webhooks > {id} > Enable"),
            WEBHOOKS,
        ));
    }
    let enabled = endpoint.get("enabled_events").and_then(Value::as_array);
    let enabled: BTreeSet<&str> = enabled
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if enabled != BTreeSet::from(WEBHOOK_EVENTS) {
        let enabled: Vec<&str> = enabled.into_iter().collect();
        return Ok(Finding::red(
            format!(
                "the endpoint {id} receives {}; the stage handles {events}",
                enabled.join(", ")
            ),
            format!(
                "Stripe Dashboard > Developers > Webhooks > {id} > Edit destination: select exactly {events}"
            ),
            "https://docs.stripe.com/api/webhook_endpoints/update",
        ));
    }
    let version = text(endpoint, "api_version");
    if !version.is_empty() && version != API_VERSION {
        return Ok(Finding::warning(
            format!(
                "the endpoint {id} sends events of the API version {version}; the stage uses {API_VERSION}"
            ),
            format!(
                "create a new endpoint with the API version {API_VERSION} for the same URL, delete the old one, and {}",
                exam.set_secret(WEBHOOK_SECRET)
            ),
            "https://docs.stripe.com/webhooks/versioning",
        ));
    }
    Ok(Finding::green(format!("{id} receives {events} at {url}")))
}

/// All webhook endpoints of the account, in the mode of the key.
async fn endpoints(exam: &Examination<'_>, key: &str) -> Result<Vec<Value>, Failure> {
    const FIRST: &str = "/v1/webhook_endpoints?limit=100";
    let mut endpoints = Vec::new();
    let mut path = FIRST.to_owned();
    loop {
        let mut page = stripe(exam).get(&path, key).await?;
        if !page.is_success() {
            return Err(page.failure());
        }
        let has_more = page.body.get("has_more").and_then(Value::as_bool);
        let Some(Value::Array(found)) = page.body.get_mut("data").map(Value::take) else {
            return Err(Failure::new(
                "the response of Stripe does not list the webhook endpoints",
            ));
        };
        let last = found.last().and_then(|last| last.get("id")?.as_str());
        path = format!("{FIRST}&starting_after={}", last.unwrap_or_default());
        let is_last_page = last.is_none() || has_more != Some(true);
        endpoints.extend(found);
        if is_last_page {
            return Ok(endpoints);
        }
    }
}

fn webhook_secret(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let set = format!(
        "copy the signing secret: Stripe Dashboard > Developers > Webhooks > the endpoint; then {}",
        exam.set_secret(WEBHOOK_SECRET)
    );
    let docs = "https://docs.stripe.com/webhooks#verify-events";
    Ok(match exam.secret(WEBHOOK_SECRET)? {
        Some(secret) if WEBHOOK_SECRET.accepts(secret) => Finding::green(
            "set; Stripe does not show it again, so it cannot be compared with that of the endpoint",
        ),
        Some(_) => Finding::red(
            "the secret stripe-webhook-secret does not begin with whsec_",
            set,
            docs,
        ),
        None => Finding::red("the secret stripe-webhook-secret is not set", set, docs),
    })
}
