//! The secrets of the stage.

use std::collections::BTreeMap;

use clap::ValueEnum as _;

use super::{
    failure::Failure,
    subject::{Examination, Subject},
};
use crate::release::secret::Name;

/// The secrets that are set.
#[derive(Debug)]
pub(super) struct Secrets(Result<BTreeMap<&'static str, String>, Failure>);

impl Secrets {
    /// The secrets of a stage that cannot be read.
    pub(super) fn unknown(failure: &Failure) -> Self {
        Self(Err(failure.clone()))
    }

    /// Reads the secrets of a stage.
    pub(super) async fn read(subject: &Subject) -> Self {
        Self(secrets(subject).await)
    }
}

impl Examination<'_> {
    /// The value of a secret. `None` if it is not set.
    pub(super) fn secret(&self, name: Name) -> Result<Option<&str>, Failure> {
        let secrets = self.secrets.0.as_ref().map_err(Clone::clone)?;
        Ok(secrets.get(name.name()).map(String::as_str))
    }

    /// The command that sets a secret.
    pub(super) fn set_secret(&self, name: Name) -> String {
        let (stage, name) = (&self.subject.secrets_stage, name.name());
        format!("cargo xtask secrets set {name} --stage {stage} < FILE")
    }
}

async fn secrets(subject: &Subject) -> Result<BTreeMap<&'static str, String>, Failure> {
    let path = |name: &Name| format!("/scratchpad/{}/{}", subject.secrets_stage, name.name());
    let found = aws_sdk_ssm::Client::new(&subject.config)
        .get_parameters()
        .set_names(Some(Name::value_variants().iter().map(path).collect()))
        .with_decryption(true)
        .send()
        .await
        .map_err(|error| Failure::of_aws(&error))?;
    let mut secrets = BTreeMap::new();
    for parameter in found.parameters.into_iter().flatten() {
        let name = Name::value_variants()
            .iter()
            .find(|name| Some(path(name)) == parameter.name);
        secrets.extend(name.map(|name| name.name()).zip(parameter.value));
    }
    Ok(secrets)
}
