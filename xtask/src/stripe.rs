//! Stripe's double, and the secrets that it and the functions share.

use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use aws_sdk_ssm::{Client, types::ParameterType};
use local_stripe::{Settings, Stripe, Webhook};
use secrets::{Secret, Source as _, Ssm};
use uuid::Uuid;

use crate::stage::{LocalStage, STAGE};

/// The names of the stage's secrets, below its path.
const SECRET_KEY: &str = "stripe-secret-key";
const WEBHOOK_SECRET: &str = "stripe-webhook-secret";
const PHONE_NUMBER: &str = "admin-phone-number";

fn path() -> String {
    format!("/scratchpad/{STAGE}")
}

/// Makes the secrets that the stage does not have. The functions read them when they start.
///
/// # Errors
/// When they cannot be read or written.
pub(crate) async fn make_secrets(stage: &LocalStage) -> Result<()> {
    let ssm = Client::new(&stage.aws()?.config());
    let random = |prefix: &str| format!("{prefix}{}", Uuid::now_v7().simple());
    let secrets = [
        (SECRET_KEY, random("sk_test_")),
        (WEBHOOK_SECRET, random("whsec_")),
        (PHONE_NUMBER, "+15555550100".into()), // nobody's
    ];
    let secrets = secrets.map(|(name, value)| (format!("{}/{name}", path()), value));
    let names = secrets.iter().map(|(name, _)| name.clone()).collect();
    let known = ssm.get_parameters().set_names(Some(names)).send().await;
    let missing = known.context("the secrets cannot be read")?;
    for (name, value) in secrets {
        if missing.invalid_parameters().contains(&name) {
            let put = ssm.put_parameter().name(&name).value(value);
            let put = put.r#type(ParameterType::SecureString).send().await;
            put.with_context(|| format!("the secret {name} cannot be written"))?;
        }
    }
    Ok(())
}

/// The double, running. It ends when this is dropped, and forgets.
pub(crate) struct Double {
    stripe: Stripe,
    webhook_secret: Secret,
}

impl Double {
    /// Starts the double of a stage that is up: by its secrets, and with its webhook.
    ///
    /// # Errors
    /// When somebody else has its port.
    pub(crate) async fn start(stage: &LocalStage) -> Result<Self> {
        let names = [SECRET_KEY, WEBHOOK_SECRET];
        let ssm = Ssm::new(
            &stage.aws()?,
            &path().parse().map_err(anyhow::Error::msg)?,
            names,
        );
        let [secret_key, webhook_secret] = ssm.fetch().await?;
        let settings = Settings {
            secret_key: secret_key.expose().to_owned(),
            // Its ids are new with every start; what the tables know of earlier ones stays apart.
            run: UNIX_EPOCH.elapsed()?.as_secs().try_into()?,
            ..Settings::default()
        };
        let port = stage.stripe_port();
        let stripe = Stripe::start(port, settings).await;
        let stripe = stripe.with_context(|| format!("Stripe cannot listen on port {port}"))?;
        let double = Self {
            stripe,
            webhook_secret,
        };
        double.register(stage)?;
        Ok(double)
    }

    /// Has its events sent to the stage's webhook, wherever that is by now.
    ///
    /// # Errors
    /// When the stage is not up.
    pub(crate) fn register(&self, stage: &LocalStage) -> Result<()> {
        let api = stage.description().context("the stage is not up")?.api_url;
        let secret = [self.webhook_secret.expose()];
        let webhook = Webhook::new(&format!("{api}/billing/webhook"), secret)?;
        self.stripe.set_webhook(Some(webhook));
        Ok(())
    }
}
