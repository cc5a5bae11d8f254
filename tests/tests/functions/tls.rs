//! Whom the functions take for AWS and for Stripe.

use e2e::functions::{self, Function};
use lambda_host::{Host, Outcome};
use local_aws::Cloud;
use local_tls::{CertificateAuthority, Server, patch_trusted_root};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{DEADLINE, environment, event};

/// Until this year a certificate holds that is still good.
const LATER: i32 = 2999;

/// A function as it is, but for an authority that it takes for one of Amazon's.
struct Believer {
    function: Function,
    folder: TempDir,
}

impl Believer {
    fn new(function: &Function, authority: &CertificateAuthority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(&function.name);
        patch_trusted_root(authority.root(), &function.binary(), &copy).unwrap();
        let function = function.clone();
        Self { function, folder }
    }

    /// Starts it with AWS and Stripe at these addresses and gives it its sample event. Returns its log and whether it
    /// came to an answer that is no failure.
    async fn works(&self, aws: &str, stripe: &str) -> (bool, String) {
        let Self { function, folder } = self;
        let mut environment = environment(function, aws);
        if let Some(url) = environment.get_mut("STRIPE_URL") {
            *url = stripe.into();
        }
        if let Some(url) = environment.get_mut("DEAD_LETTER_QUEUE") {
            *url = format!("{aws}/111111111111/dead-letters");
        }
        let hosted = lambda_host::Function::new(folder.path().join(&function.name));
        match Host::start(hosted.with_env(environment)).await {
            Ok(mut host) => {
                let event = event(function).to_string();
                let outcome = host.invoke(event, DEADLINE, None).await.outcome;
                let works = match outcome {
                    Outcome::Response(answer) => {
                        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                        answer["statusCode"].as_u64().unwrap_or(200) < 500
                    }
                    Outcome::Error(_) => false,
                    other => panic!("{}: {other:?}", function.name),
                };
                (works, host.stop().await.join("\n"))
            }
            Err(lambda_host::StartError::Exited { log, .. }) => (false, log.join("\n")),
            Err(error) => panic!("{}: {error}", function.name),
        }
    }
}

/// Gives a function to three that are not AWS, and to one that could be.
async fn ask(function: Function) {
    let [ours, strange] =
        ["ours", "a stranger"].map(|name| CertificateAuthority::new(name).unwrap());
    let believer = Believer::new(&function, &ours);
    let name = &function.name;
    for (identity, why) in [
        (ours.issue("example.com", LATER), "not valid for name"),
        (ours.issue("localhost", 2020), "certificate expired"),
        (strange.issue("localhost", LATER), "UnknownIssuer"),
    ] {
        let server = Server::start(identity.unwrap()).await.unwrap();
        let cloud = Cloud::start().await.unwrap();
        let (works, log) = believer.works(&server.url(), &cloud.url()).await;
        assert_eq!(
            (works, server.requests()),
            (false, 0),
            "{name}, {why}: {log}"
        );
        assert!(log.contains(why), "{name}, {why}: {log}");
    }
    // They were refused for what they are: whom it takes for AWS it asks.
    let server = Server::start(ours.issue("localhost", LATER).unwrap())
        .await
        .unwrap();
    let cloud = Cloud::start().await.unwrap();
    let (_, log) = believer.works(&server.url(), &cloud.url()).await;
    assert!(server.requests() > 0, "{name}: {log}");
}

#[tokio::test]
async fn a_function_talks_to_nobody_who_is_not_aws() {
    // One signs addresses, and calls nobody.
    let calling = functions::all()
        .into_iter()
        .filter(|function| function.name != "notes-upload");
    let mut all: JoinSet<()> = calling.map(ask).collect();
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_function_of_stripes_talks_to_nobody_whom_the_web_does_not_vouch_for() {
    let strange = CertificateAuthority::new("a stranger").unwrap();
    let server = Server::start(strange.issue("localhost", LATER).unwrap());
    let server = server.await.unwrap();
    let all = functions::all().into_iter();
    let of_stripe =
        |function: &Function| function.variables.iter().any(|name| name == "STRIPE_URL");
    let mut asked = 0;
    for function in all.filter(of_stripe) {
        // Not even who could pass for AWS
        let believer = Believer::new(&function, &strange);
        let cloud = Cloud::start().await.unwrap();
        let (_, log) = believer.works(&cloud.url(), &server.url()).await;
        assert_eq!(server.requests(), 0, "{}: {log}", function.name);
        assert!(log.contains("UnknownIssuer"), "{}: {log}", function.name);
        asked += 1;
    }
    assert!(asked > 0);
}
