//! Builds the browser app of a release, and publishes it to the bucket that CloudFront serves.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use walkdir::WalkDir;

use super::stripe_keys; // part: billing
use super::{
    artifacts::BUILT,
    context::StageContext,
    hash::{json_hash, sha256},
    record::App,
    store::{ObjectHeaders, Store},
    target::{Target, export},
};
use crate::{
    stage::write_atomically,
    ui::{self, Step, run},
    web::merge,
    workspace::Workspace,
};

/// The names of the files and folders in web/ that are not inputs of the app's build.
const NOT_BUILT: [&str; 5] = ["node_modules", "test", "dist", "screenshots", "README.md"];

/// The inputs of the app's build outside web/, such as the versions of its dependencies.
const SHARED: &[&str] = &[
    "package-lock.json",
    "services/billing-api/prices.json", // part: billing
];

/// The page that loads all other files of the app. [`publish`] copies this page last.
const PAGE: &str = "index.html";

/// The prefix of the paths of files whose names contain a hash of their content. CloudFront caches these files.
const HASHED: &str = "assets/";

/// Returns a hash of the browser app's sources: the files in web/ and [`SHARED`]. `root` is the checkout's folder.
///
/// # Errors
/// Fails if a source file cannot be read.
pub(crate) fn sources(root: &Path) -> Result<String> {
    let entries = WalkDir::new(root.join("web"))
        .sort_by_file_name()
        .into_iter();
    let entries = entries.filter_entry(|entry| {
        !entry
            .file_name()
            .to_str()
            .is_some_and(|name| NOT_BUILT.contains(&name))
    });
    let mut hashes = Vec::new();
    for file in SHARED {
        hashes.push(((*file).to_owned(), sha256(fs::read(root.join(file))?)));
    }
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
            hashes.push((name.display().to_string(), sha256(fs::read(entry.path())?)));
        }
    }
    Ok(json_hash(&hashes))
}

/// Builds the browser app from the sources of the checkout, unless it is built already.
///
/// # Errors
/// Fails if a source file cannot be read, or if Vite fails.
pub(crate) async fn build(workspace: &Workspace) -> Result<App> {
    let (app, _) = build_app(workspace, &sources(workspace.root())?).await?;
    Ok(app)
}

/// Returns the browser app of a release, and the folder with the built files. The folder is `None` if the app of an
/// earlier release of the stage is reused. `sources` is the hash of the app's sources.
///
/// # Errors
/// Fails if Vite or a request to S3 fails, or if the content of an object in the bucket does not match its name.
pub(crate) async fn of_release(
    stage: &StageContext,
    sources: &str,
) -> Result<(App, Option<PathBuf>)> {
    for release in stage.releases().await? {
        if let Some(app) = release.app.filter(|app| app.sources == sources)
            && stage.store.has_app_files(app.files.values()).await?
        {
            return Ok((app, None));
        }
    }
    let (app, folder) = build_app(&stage.workspace, sources).await?;
    Ok((app, Some(folder)))
}

/// The browser app that was built last on this machine.
#[derive(Serialize, Deserialize)]
struct BuiltApp {
    app: App,
    /// The folder with the built files, relative to the checkout.
    folder: PathBuf,
}

/// Returns the browser app and the folder with the built files. Builds the app unless the last build on this machine was
/// from the same sources and its files are unchanged.
async fn build_app(workspace: &Workspace, sources: &str) -> Result<(App, PathBuf)> {
    let root = workspace.root();
    let record = root.join(BUILT).join("app.json");
    let built = fs::read(&record)
        .ok()
        .and_then(|built| serde_json::from_slice::<BuiltApp>(&built).ok());
    if let Some(BuiltApp { app, folder }) = built {
        let folder = root.join(folder);
        if app.sources == sources && file_hashes(&folder).is_ok_and(|files| files == app.files) {
            return Ok((app, folder));
        }
    }
    let (app, folder) = run_vite(workspace, sources.into()).await?;
    let built = BuiltApp {
        app: app.clone(),
        folder: folder.strip_prefix(root).unwrap_or(&folder).into(),
    };
    fs::create_dir_all(root.join(BUILT))?;
    write_atomically(&record, &serde_json::to_vec_pretty(&built)?)?;
    Ok((app, folder))
}

/// Returns the SHA-256 hash of each file in a folder. The keys are the files' paths in the folder.
fn file_hashes(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(folder) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            files.insert(path.display().to_string(), sha256(fs::read(entry.path())?));
        }
    }
    Ok(files)
}

/// Uploads the files of the browser app. `folder` is the folder with these files. It is `None` if they are already in the
/// bucket.
///
/// # Errors
/// Fails if an upload to S3 fails, or if the content of an existing object does not match its name.
pub(crate) async fn upload(
    stage: &StageContext,
    app: Option<&App>,
    folder: Option<&Path>,
) -> Result<()> {
    if let (Some(app), Some(folder)) = (app, folder) {
        stage.store.upload_app_files(&app.files, folder).await?;
    }
    Ok(())
}

/// Builds the browser app with Vite. Returns the app's part of the release record, and the folder with the built files.
/// `sources` is the hash of the app's sources.
///
/// # Errors
/// Fails if Vite fails. The message contains Vite's output.
async fn run_vite(workspace: &Workspace, sources: String) -> Result<(App, PathBuf)> {
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
    let files = file_hashes(&folder)?;
    step.done(&format!("({} files)", files.len()));
    Ok((App { sources, files }, folder))
}

/// Copies the browser app from the bucket of releases to the bucket that serves the stage's app. Does not delete files
/// of earlier releases, because open browser tabs still load them. `exports` has the value of each CloudFormation
/// export of the account.
///
/// # Errors
/// Fails if a request to S3 fails, or an export that the app's configuration needs is missing.
pub(crate) async fn publish(
    app: &App,
    store: &Store,
    target: &Target,
    exports: &BTreeMap<String, String>,
) -> Result<()> {
    // A stage without this bucket, such as the stage of `cargo xtask dev`, does not serve the app from S3.
    let Some(bucket) = exports.get(&format!("scratchpad-{}-WebBucketName", target.stage)) else {
        return Ok(());
    };
    let step = Step::begin("publish the browser app");
    let (page, assets): (Vec<_>, Vec<_>) = app.files.iter().partition(|(path, _)| *path == PAGE);
    let mut copied = 0;
    for (path, hash) in assets {
        step.at(path);
        let is_new = store
            .publish_app_file(hash, bucket, path, headers(path))
            .await?;
        copied += u32::from(is_new);
    }
    let config = serde_json::to_vec_pretty(&config(target, exports)?)?;
    store
        .put_into(bucket, "config.json", config, headers("config.json"))
        .await?;
    for (path, hash) in page {
        let is_new = store
            .publish_app_file(hash, bucket, path, headers(path))
            .await?;
        copied += u32::from(is_new);
    }
    step.done(&format!("({copied} new files)"));
    Ok(())
}

/// Returns the content of the browser app's config.json for a stage. web/README.md describes the fields.
fn config(target: &Target, exports: &BTreeMap<String, String>) -> Result<Value> {
    let stage = &target.stage;
    let cognito_stage = target.infrastructure_stage();
    let config = json!({
        "stage": stage,
        "apiUrl": target.reachable_url(exports, &export(exports, stage.as_ref(), "ApiUrl")?),
        "region": target.account.region(),
        "userPoolId": export(exports, &cognito_stage, "UserPoolId")?,
        "userPoolClientId": export(exports, &cognito_stage, "UserPoolClientId")?,
        "identityPoolId": export(exports, &cognito_stage, "IdentityPoolId")?,
    });
    let more = [
        stripe_keys::web_config(target), // part: billing
    ];
    let mut config = merge(config, more);
    if let (Some(endpoint), Some(config)) = (
        target.account.config().endpoint_url(),
        config.as_object_mut(),
    ) {
        config.insert("cognitoEndpoint".into(), endpoint.into());
    }
    Ok(config)
}

/// Returns the headers with which CloudFront serves a file. Only files whose names contain a hash of their content may be
/// cached.
fn headers(path: &str) -> ObjectHeaders {
    ObjectHeaders {
        content_type: content_type(path),
        cache_control: if path.starts_with(HASHED) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        },
    }
}

/// Returns the `Content-Type` header for a file, according to the extension of its path.
fn content_type(path: &str) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_a_hash_in_their_name_may_be_cached() {
        for path in ["index.html", "config.json", "icons/a.png"] {
            assert_eq!(headers(path).cache_control, "no-cache", "{path}");
        }
        let script = ObjectHeaders {
            content_type: "text/javascript; charset=utf-8",
            cache_control: "public, max-age=31536000, immutable",
        };
        assert_eq!(headers("assets/index-BxyZ12_3.js"), script);
    }
}
