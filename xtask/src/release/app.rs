//! The browser app of a release: built once from the same sources, and put where CloudFront serves it from.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::{account::Target, hex, place, store::Store, template::hash};
use crate::{
    ui::{self, Step, run},
    workspace::Workspace,
};

/// The files of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct App {
    /// A hash of what they were built from.
    pub(crate) sources: String,
    /// The hash of each, by its path.
    pub(crate) files: BTreeMap<String, String>,
}

/// A hash of what the app is built from.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn sources(root: &Path) -> Result<String> {
    let skipped = ["node_modules", "test", "dist", "screenshots", "README.md"];
    let entries = WalkDir::new(root.join("web"))
        .sort_by_file_name()
        .into_iter();
    let entries = entries.filter_entry(|entry| {
        !entry
            .file_name()
            .to_str()
            .is_some_and(|name| skipped.contains(&name))
    });
    let mut content = vec![(
        "package-lock.json".to_owned(),
        hex(&Sha256::digest(fs::read(root.join("package-lock.json"))?)),
    )];
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
            content.push((
                name.display().to_string(),
                hex(&Sha256::digest(fs::read(entry.path())?)),
            ));
        }
    }
    Ok(hash(&content))
}

/// Builds the app. Returns it, and the folder with its files.
///
/// # Errors
/// With what Vite says when it cannot be built.
pub(crate) async fn build(workspace: &Workspace, sources: String) -> Result<(App, PathBuf)> {
    let folder = workspace.root().join("target/stages/app");
    let step = Step::begin("build the browser app");
    let mut vite = ui::command(workspace.node_bin("vite"));
    vite.current_dir(workspace.root().join("web"));
    run(
        &step,
        vite.args(["build", "--emptyOutDir", "--outDir"])
            .arg(&folder),
    )
    .await?;
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(&folder) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(&folder).unwrap_or(entry.path());
            files.insert(
                path.display().to_string(),
                hex(&Sha256::digest(fs::read(entry.path())?)),
            );
        }
    }
    step.done(&format!("({} files)", files.len()));
    Ok((App { sources, files }, folder))
}

/// The page that names all other files, and so comes after them.
const PAGE: &str = "index.html";

/// Puts the app where the stage serves it from. Files of earlier releases stay: whoever has a page open may yet ask
/// for them.
///
/// # Errors
/// When S3 does not take a file.
pub(crate) async fn publish(
    app: &App,
    store: &Store,
    target: &Target,
    exports: &BTreeMap<String, String>,
) -> Result<()> {
    // A stage on this machine is served by a server of its own.
    let Some(bucket) = exports.get(&format!("scratchpad-{}-WebBucketName", target.stage)) else {
        return Ok(());
    };
    let step = Step::begin("publish the browser app");
    let (page, assets): (Vec<_>, Vec<_>) = app.files.iter().partition(|(path, _)| *path == PAGE);
    let mut copied = 0;
    for (path, hash) in assets {
        step.at(path);
        copied += u32::from(store.publish(hash, bucket, path, kind(path)).await?);
    }
    let config = serde_json::to_vec_pretty(&config(target, exports)?)?;
    store
        .put_in(bucket, "config.json", config, kind("config.json"))
        .await?;
    for (path, hash) in page {
        copied += u32::from(store.publish(hash, bucket, path, kind(path)).await?);
    }
    step.done(&format!("({copied} new files)"));
    Ok(())
}

/// What the app of this stage has to know. web/README.md says what each is.
fn config(target: &Target, exports: &BTreeMap<String, String>) -> Result<serde_json::Value> {
    let stage = &target.stage;
    let export = |of: &str, name: &str| {
        let full = format!("scratchpad-{of}-{name}");
        exports
            .get(&full)
            .cloned()
            .with_context(|| format!("no stack exports {full}"))
    };
    let people = super::secret::stage_of(target);
    let script = match target.row.stripe_url.as_str() {
        "https://api.stripe.com" => "https://js.stripe.com/v3/".to_owned(),
        double => format!("{double}/v3/"),
    };
    let mut config = json!({
        "stage": stage,
        "apiUrl": place(target, exports, &export(stage.as_ref(), "ApiUrl")?),
        "region": target.account.region(),
        "userPoolId": export(&people, "UserPoolId")?,
        "userPoolClientId": export(&people, "UserPoolClientId")?,
        "identityPoolId": export(&people, "IdentityPoolId")?,
        "stripeScript": script,
        "stripePublishableKey": target.row.stripe_publishable_key,
    });
    if let (Some(endpoint), Some(config)) = (
        target.account.config().endpoint_url(),
        config.as_object_mut(),
    ) {
        config.insert("cognitoEndpoint".into(), endpoint.into());
    }
    Ok(config)
}

/// What a browser is told that a file is.
fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "ico" => "image/x-icon",
        "js" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
