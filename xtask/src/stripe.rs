//! Runs the local Stripe server, and creates the secrets of the stage `local`.

use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use aws_sdk_ssm::{Client, types::ParameterType};
use local_stripe::{Settings, Stripe, Webhook};
use secrets::{Secret, Source as _, Ssm};
use serde_json::{Map, Value}; // part: web
use uuid::Uuid;

use crate::stage::Description; // part: web
use crate::stage::{LocalStage, STAGE};

/// The name of the server in `ports.json`.
pub(crate) const SERVER: &str = "stripe";

/// The name of the parameter that contains the secret key of Stripe's API, relative to [`secrets_path`].
const SECRET_KEY: &str = "stripe-secret-key";
const WEBHOOK_SECRET: &str = "stripe-webhook-secret";
const PHONE_NUMBER: &str = "admin-phone-number"; // part: notify

/// The path of the stage's parameters in AWS Systems Manager Parameter Store.
fn secrets_path() -> String {
    format!("/scratchpad/{STAGE}")
}

/// Creates each secret that the functions need and the stage does not have yet. The functions read their secrets at a
/// cold start.
///
/// # Errors
/// Fails if a secret cannot be read or written.
pub(crate) async fn create_missing_secrets(stage: &LocalStage) -> Result<()> {
    let ssm = Client::new(&stage.aws()?.config());
    let random = |prefix: &str| format!("{prefix}{}", Uuid::now_v7().simple());
    let secrets = [
        (SECRET_KEY, random("sk_test_")),
        (WEBHOOK_SECRET, random("whsec_")),
        // part: notify {
        (PHONE_NUMBER, "+15555550100".into()), // reserved for fiction
                                               // part: notify }
    ];
    let secrets = secrets.map(|(name, value)| (format!("{}/{name}", secrets_path()), value));
    let names = secrets.iter().map(|(name, _)| name.clone()).collect();
    let response = ssm.get_parameters().set_names(Some(names)).send().await;
    let response = response.context("cannot read the secrets of the stage local")?;
    for (name, value) in secrets {
        if response.invalid_parameters().contains(&name) {
            let put = ssm.put_parameter().name(&name).value(value);
            let put = put.r#type(ParameterType::SecureString).send().await;
            put.with_context(|| format!("cannot write the secret {name}"))?;
        }
    }
    Ok(())
}

/// A running local Stripe server, which emulates Stripe's API. Dropping this value stops the server and deletes the
/// server's data.
pub(crate) struct StripeServer {
    stripe: Stripe,
    webhook_secret: Secret,
}

impl StripeServer {
    /// Starts the local Stripe server of a running stage. The server uses the stage's secrets, and sends events to the
    /// stage's webhook URL.
    ///
    /// # Errors
    /// Fails if the stage does not run, or if another process listens on the port of the local Stripe server.
    pub(crate) async fn start(stage: &LocalStage) -> Result<Self> {
        let names = [SECRET_KEY, WEBHOOK_SECRET];
        let ssm = Ssm::new(
            &stage.aws()?,
            &secrets_path().parse().map_err(anyhow::Error::msg)?,
            names,
        );
        let [secret_key, webhook_secret] = ssm.fetch().await?;
        let settings = Settings {
            secret_key: secret_key.expose().to_owned(),
            // This number is part of every Stripe ID, so that no new ID equals an ID that an earlier run has stored.
            run: UNIX_EPOCH.elapsed()?.as_secs().try_into()?,
            ..Settings::default()
        };
        let port = stage.server_port(SERVER);
        let stripe = Stripe::start(port, settings).await;
        let stripe =
            stripe.with_context(|| format!("cannot start the local Stripe on port {port}"))?;
        let server = Self {
            stripe,
            webhook_secret,
        };
        server.register_webhook(stage)?;
        Ok(server)
    }

    /// Makes the local Stripe server send its events to the current webhook URL of `stage`.
    ///
    /// # Errors
    /// Fails if the stage does not run.
    pub(crate) fn register_webhook(&self, stage: &LocalStage) -> Result<()> {
        let description = stage
            .description()
            .context("cannot read stage.json: the stage does not run")?;
        let url = format!("{}/billing/webhook", description.api_url);
        let webhook = Webhook::new(&url, [self.webhook_secret.expose()])?;
        self.stripe.set_webhook(Some(webhook));
        Ok(())
    }
}

// part: web {
/// Returns the fields of the browser app's config.json that are about Stripe, for a stage on this machine.
pub(crate) fn web_config(description: &Description) -> Map<String, Value> {
    Map::from_iter([
        (
            "stripeScript".into(),
            format!("{}/v3/", description.stripe_url).into(),
        ),
        (
            "stripePublishableKey".into(),
            local_stripe::Settings::default().publishable_key.into(),
        ),
    ])
}
// part: web }
