//! Makes single requests of xtask commands fail, and tests that a second run of the same command completes, and that the
//! stages are then as after a run without failures.
//!
//! [`RUNS`] and [`SEED`] change the number of runs and choose other requests and failures.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;
use std::time::Instant;

use serde_json::Value;
use test_support::stage::Person;

use crate::account::Account;
use crate::checkout::{Checkout, Output, Running};
use crate::promote::{next_version, origin};
use crate::roles::configuration_for;
use crate::unreliable_aws::{Failure, Fault, UnreliableAws};
use crate::users::{sign_up, stage};

/// The environment variable with the number of runs with requests and failures that are chosen at random.
const RUNS: &str = "SCRATCHPAD_FAILED_REQUESTS";
/// The environment variable with the number from which the requests and the failures are chosen.
const SEED: &str = "SCRATCHPAD_FAILED_REQUESTS_SEED";

/// The runs if [`RUNS`] is not set: the command, the failure, and a part of the name of the request.
const DEFAULT: [(Kind, Failure, &str); 12] = [
    (Kind::Deploy, Failure::LostResponse, "UpdateStack"),
    (Kind::Promote, Failure::ExecutedAndExpired, "UpdateStack"),
    (
        Kind::Rollback,
        Failure::Stale,
        "DescribeStacks scratchpad-s3",
    ),
    (Kind::Create, Failure::LostResponse, "CreateStack"),
    (Kind::Remove, Failure::ExecutedAndExpired, "DeleteStack"),
    (Kind::Deploy, Failure::ThrottledLong, "DescribeStackEvents"),
    (
        Kind::Promote,
        Failure::ExecutedWithError,
        "PUT /scratchpad-releases-222222222222/prod/releases/",
    ),
    (Kind::Rollback, Failure::Expired, "/assets/"),
    (Kind::Create, Failure::ExecutedAndExpired, "CreateStack"),
    (Kind::Remove, Failure::LostResponse, "DeleteStack"),
    (Kind::Deploy, Failure::LostRequest, "GetCallerIdentity"),
    (Kind::Promote, Failure::Throttled, "PUT"),
];

/// Parts of the names of requests that change something.
const CHANGES: [&str; 8] = [
    "CreateStack",
    "UpdateStack",
    "DeleteStack",
    "CreateChangeSet",
    "PUT /scratchpad-releases",
    "DELETE",
    "POST",
    "config.json",
];

/// How often a command may be run again until it succeeds.
const MAX_RERUNS: usize = 2;

/// The stage that is created and removed.
const NEW_STAGE: &str = "feature-7";

/// A command whose requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Deploy,
    Promote,
    Rollback,
    Create,
    Remove,
}

impl Kind {
    /// The commands in the order in which they run.
    const ALL: [Self; 5] = [
        Self::Deploy,
        Self::Promote,
        Self::Rollback,
        Self::Create,
        Self::Remove,
    ];

    /// Returns the account and the name of the stage that the command changes.
    fn stage(self) -> (Account, &'static str) {
        match self {
            Self::Deploy => (Account::dev(), "dev"),
            Self::Promote | Self::Rollback => (Account::prod(), "prod"),
            Self::Create | Self::Remove => (Account::dev(), NEW_STAGE),
        }
    }
}

/// What a run of a command must lead to, with and without failures.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    /// The status, the termination protection and the hash of the template of each stack.
    stacks: BTreeMap<String, (String, bool, u64)>,
    exports: BTreeMap<String, String>,
    // part: web {
    /// The keys and the hashes of the objects in the bucket of the browser app.
    app: BTreeSet<(String, String)>,
    // part: web }
    /// The origin that the API allows.
    origin: String,
}

/// A sequence of random numbers: <https://prng.di.unimi.it/splitmix64.c>
struct Random(u64);

impl Random {
    /// Returns a number that is less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % end as u64).unwrap()
    }
}

/// What happened in the runs with one command and one failure.
#[derive(Default)]
struct Figures {
    runs: usize,
    /// The runs in which the command had finished before the request that fails.
    untouched: usize,
    failed: usize,
    /// The number of runs for each number of repetitions until the command succeeded.
    reruns: [usize; MAX_RERUNS + 1],
}

struct Runs<'a> {
    aws: UnreliableAws,
    /// The sources that stages alternate between.
    versions: [&'a Checkout; 2],
    /// The user of each stage, who calls its API.
    users: BTreeMap<&'static str, Person<'a>>,
    /// The hashes of the templates of each version for the stage prod.
    templates: [Value; 2],
    /// The requests of each command without failures.
    calls: BTreeMap<Kind, Vec<String>>,
    /// The content of each stage with each version.
    expected: BTreeMap<(&'static str, usize), Content>,
    /// The version of each stage: an index in `versions`.
    current: BTreeMap<&'static str, usize>,
    /// The inventory of the account without [`NEW_STAGE`].
    removed: BTreeSet<String>,
    figures: BTreeMap<(Kind, Failure), Figures>,
    problems: Vec<String>,
}

impl Runs<'_> {
    async fn run(&self, checkout: &Checkout, arguments: &str, fault: Option<Fault>) -> Output {
        self.aws.begin(fault);
        let file = checkout.path("target/unreliable-aws");
        let configuration = fs::read_to_string(configuration_for(arguments)).unwrap();
        fs::write(&file, self.aws.configuration(configuration)).unwrap();
        let mut command = checkout.command(arguments);
        command.env("AWS_CONFIG_FILE", &file);
        Running::spawn(command, arguments).wait().await
    }

    async fn new(versions: [&Checkout; 2]) -> Runs<'_> {
        Runs {
            aws: UnreliableAws::start().await,
            versions,
            users: BTreeMap::new(),
            templates: Default::default(),
            calls: BTreeMap::new(),
            expected: BTreeMap::new(),
            current: BTreeMap::from([("dev", 0), ("prod", 0), (NEW_STAGE, 0)]),
            removed: BTreeSet::new(),
            figures: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Chooses one of the requests of a command, each second time one that changes something.
    fn choose(&self, kind: Kind, failure: Failure, random: &mut Random) -> Fault {
        let only_changes = failure != Failure::Stale && random.below(2) == 0;
        let is_chosen = |name: &str| match failure {
            Failure::Stale => name.starts_with("cloudformation DescribeStack"),
            _ => !only_changes || CHANGES.iter().any(|change| name.contains(change)),
        };
        let calls = &self.calls[&kind];
        let names: BTreeSet<&String> = calls.iter().filter(|name| is_chosen(name)).collect();
        let names: Vec<_> = names.into_iter().collect();
        let call = names[random.below(names.len())].clone();
        let count = calls.iter().filter(|name| **name == call).count();
        Fault {
            nth: random.below(count),
            call,
            failure,
        }
    }

    /// Returns a fault of the first request of a command whose name contains `part`.
    fn first(&self, kind: Kind, failure: Failure, part: &str) -> Fault {
        let call = self.calls[&kind].iter().find(|name| name.contains(part));
        Fault {
            nth: 0,
            call: call.unwrap_or_else(|| panic!("{kind:?}: {part}")).clone(),
            failure,
        }
    }

    /// Prints a problem, and makes the test fail after the last run.
    fn report_problem(&mut self, problem: String) {
        println!("{problem}");
        self.problems.push(problem);
    }

    /// Formats the figures as a table.
    fn report(&self) -> String {
        let mut table = String::from(
            "command  failure            runs  not reached  failed  1 rerun  2 reruns\n",
        );
        for ((kind, failure), figures) in &self.figures {
            let (kind, failure) = (format!("{kind:?}"), format!("{failure:?}"));
            let Figures {
                runs,
                untouched,
                failed,
                reruns,
            } = figures;
            writeln!(
                table,
                "{kind:<8} {failure:<18} {runs:>4} {untouched:>12} {failed:>7} {:>8} {:>9}",
                reruns[1], reruns[2]
            )
            .unwrap();
        }
        table
    }

    /// Returns the arguments of a command that changes the stage to `versions[version]`.
    async fn arguments(&self, kind: Kind, version: usize) -> String {
        match kind {
            Kind::Deploy => "deploy --stage dev".into(),
            Kind::Create => format!("deploy --stage {NEW_STAGE}"),
            Kind::Remove => format!("remove --stage {NEW_STAGE} --yes"),
            Kind::Promote => {
                let releases = Account::dev().releases("dev").await;
                let number = newest(&releases, "/promotes/1", &self.templates[version]);
                format!("promote --from dev --to prod --release {number} --yes")
            }
            Kind::Rollback => {
                let releases = Account::prod().releases("prod").await;
                let number = newest(&releases, "/stacks", &self.templates[version]);
                format!("rollback --stage prod --to {number} --yes")
            }
        }
    }

    async fn content(&self, account: &Account, stage: &str) -> Content {
        let mut stacks = BTreeMap::new();
        for (name, stack) in account.stacks_of(stage).await {
            let template = account.cloudformation.get_template().stack_name(&name);
            let template = template.send().await.unwrap().template_body.unwrap();
            let protected = stack.enable_termination_protection().unwrap_or_default();
            let status = stack.stack_status.unwrap();
            // An earlier test may have rolled the stack back.
            let complete = ["CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"];
            let status = if complete.contains(&status.as_str()) {
                "UPDATE_COMPLETE"
            } else {
                status.as_str()
            };
            let mut hasher = DefaultHasher::new();
            template.hash(&mut hasher);
            stacks.insert(name, (status.to_owned(), protected, hasher.finish()));
        }
        let mut exports = account.exports().await;
        exports.retain(|name, _| name.starts_with(&format!("scratchpad-{stage}-")));
        // part: web {
        let bucket = exports.get(&format!("scratchpad-{stage}-WebBucketName"));
        let mut app = BTreeSet::new();
        if let Some(bucket) = bucket {
            let list = account.s3.list_objects_v2().bucket(bucket).send().await;
            for object in list.unwrap().contents() {
                let key = object.key().unwrap().to_owned();
                // The configuration of the app contains the endpoint that xtask used.
                let hash = object.e_tag().filter(|_| key != "config.json");
                app.insert((key, hash.unwrap_or_default().to_owned()));
            }
        }
        // part: web }
        let origin = match self.users.get(stage) {
            Some(user) => origin(user).await,
            None => String::new(),
        };
        Content {
            stacks,
            exports,
            app, // part: web
            origin,
        }
    }

    /// Records the content of a stage.
    async fn learn_content(&mut self, account: &Account, stage: &'static str) {
        let version = self.current[stage];
        if stage == "dev" {
            let release = account.releases(stage).await.pop().unwrap();
            self.templates[version] = release["promotes"][1].clone();
        }
        let content = self.content(account, stage).await;
        self.expected.insert((stage, version), content);
    }

    /// Returns the version to which a command changes its stage.
    fn next_version(&self, kind: Kind) -> usize {
        match kind.stage().1 {
            NEW_STAGE => 0,
            stage => 1 - self.current[stage],
        }
    }

    /// Runs a command without failures, and records its requests and the content that it leads to.
    async fn learn(&mut self, kind: Kind) {
        let version = self.next_version(kind);
        let (account, stage) = kind.stage();
        let arguments = self.arguments(kind, version).await;
        let output = self.run(self.versions[version], &arguments, None).await;
        output.success();
        self.calls.insert(kind, self.aws.calls());
        self.current.insert(stage, version);
        if kind != Kind::Remove {
            self.learn_content(&account, stage).await;
        }
    }

    /// Runs a command whose requests fail, repeats it, and checks the result.
    async fn check(&mut self, kind: Kind, fault: &Fault) {
        let begin = Instant::now();
        let version = self.next_version(kind);
        let checkout = self.versions[version];
        let arguments = self.arguments(kind, version).await;
        let (account, stage) = kind.stage();
        let case = format!("{arguments}: {fault:?}");
        let events = stack_events(&account, stage).await;
        if kind == Kind::Create {
            self.removed = account.inventory().await;
        }
        let releases = account.releases(stage).await;

        let first = self.run(checkout, &arguments, Some(fault.clone())).await;
        let was_injected = self.aws.has_failed();
        let mut failed = !first.succeeded;
        let text = first.text();
        if failed {
            assert!(was_injected, "{case}\n{text}");
            if !text.contains("command again") {
                self.report_problem(format!(
                    "{case}: the message does not say what to do:\n{text}"
                ));
            }
        }
        let first_failed = failed;
        let mut reruns = 0;
        let mut texts = text;
        while failed && reruns < MAX_RERUNS {
            let output = self.run(checkout, &arguments, None).await;
            failed = !output.succeeded;
            let text = output.text();
            // The first run had removed the stage.
            failed &= !(kind == Kind::Remove && text.contains("has no stage"));
            texts = format!("{texts}\n--- again:\n{text}");
            reruns += 1;
        }
        assert!(!failed, "{case}: fails again:\n{texts}");
        let case = format!("{case}\n{texts}");
        for event in stack_events(&account, stage).await {
            let failures = ["ROLLBACK", "FAILED"];
            let is_failure = failures.iter().any(|failure| event.1.contains(failure));
            if is_failure && !events.contains(&event) {
                self.report_problem(format!("{event:?}\n{case}"));
            }
        }
        self.current.insert(stage, version);
        self.check_result(kind, &releases, &case).await;
        let figures = self.figures.entry((kind, fault.failure)).or_default();
        figures.runs += 1;
        figures.untouched += usize::from(!was_injected);
        figures.failed += usize::from(first_failed);
        figures.reruns[reruns] += 1;
        println!(
            "{kind:?} {:?} {} #{}: {}, {reruns} reruns, {:.1} s",
            fault.failure,
            fault.call,
            fault.nth,
            match (was_injected, first_failed) {
                (false, _) => "not reached",
                (true, false) => "succeeded",
                (true, true) => "failed",
            },
            begin.elapsed().as_secs_f64()
        );
    }

    /// Checks the stage after a command has succeeded. `before` are the records of releases before the command.
    async fn check_result(&self, kind: Kind, before: &[Value], case: &str) {
        let (account, stage) = kind.stage();
        let lock = account.object(&format!("{stage}/lock.json")).await;
        assert_eq!(lock, None, "{case}");
        if kind == Kind::Remove {
            let after = account.inventory().await;
            let left: Vec<_> = after.symmetric_difference(&self.removed).collect();
            assert!(left.is_empty(), "{left:#?}\n{case}");
            return;
        }
        let expected = &self.expected[&(stage, self.current[stage])];
        let mut content = self.content(&account, stage).await;
        if kind == Kind::Create {
            // The IDs in the exports differ.
            let names = expected.exports.keys();
            assert!(content.exports.keys().eq(names), "{case}");
            content.exports.clone_from(&expected.exports);
        }
        assert_eq!(&content, expected, "{case}");
        let known: BTreeSet<u64> = before.iter().map(number).collect();
        let mut added = account.releases(stage).await;
        added.retain(|release| !known.contains(&number(release)));
        let mut outcomes: Vec<_> = added
            .iter()
            .map(|release| release["outcome"].as_str().unwrap())
            .collect();
        assert_eq!(outcomes.pop(), Some("done"), "{added:#?}\n{case}");
        let others = outcomes
            .iter()
            .filter(|outcome| **outcome == "done" || **outcome == "failed");
        assert_eq!(others.count(), 0, "{added:#?}\n{case}");
        for name in content.stacks.keys() {
            let list = account.cloudformation.list_change_sets().stack_name(name);
            let list = list.send().await.unwrap();
            // A change set that was not deleted has no effect, so a lost request may leave one.
            assert!(list.summaries().len() <= 1, "{list:#?}\n{case}");
            for summary in list.summaries() {
                let delete = account.cloudformation.delete_change_set().stack_name(name);
                let delete = delete.change_set_name(summary.change_set_name().unwrap());
                delete.send().await.unwrap();
            }
        }
    }
}

fn number(release: &Value) -> u64 {
    release["number"].as_u64().unwrap()
}

/// Returns the ID and the status of each event of the stacks of a stage, without the events of their resources.
async fn stack_events(account: &Account, stage: &str) -> BTreeSet<(String, String)> {
    let mut events = BTreeSet::new();
    for name in account.stacks_of(stage).await.into_keys() {
        for event in account.events(&name).await {
            if event.logical_resource_id() != Some(&name) {
                continue;
            }
            let status = event.resource_status().unwrap().as_str().to_owned();
            events.insert((event.event_id.unwrap(), status));
        }
    }
    events
}

/// Returns the number of the newest successful release that has the templates `wanted` in the field with the JSON pointer
/// `field`.
fn newest(releases: &[Value], field: &str, wanted: &Value) -> u64 {
    let mut newest_first = releases.iter().rev();
    let found = newest_first
        .find(|release| release["outcome"] == "done" && release.pointer(field) == Some(wanted));
    number(found.unwrap())
}

/// Returns the number in an environment variable, or `default` if the variable is not set.
fn variable<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(value) => value.parse().ok().unwrap(),
        Err(_) => default,
    }
}

#[tokio::test]
async fn a_command_with_a_failed_request_completes_when_run_again() {
    let runs = variable(RUNS, 0);
    let mut random = Random(variable(SEED, 1));
    let versions = [Checkout::clean().await, next_version().await];
    let (dev, prod) = (Account::dev(), Account::prod());
    versions[0]
        .run("promote --from dev --to prod --yes")
        .await
        .success();
    let stages = [
        ("dev", &dev, stage(&dev, "dev").await),
        ("prod", &prod, stage(&prod, "prod").await),
    ];
    let mut all = Runs::new(versions).await;
    for (name, account, stage) in &stages {
        all.users.insert(name, sign_up(account, stage).await);
    }
    versions[0]
        .run(&format!("remove --stage {NEW_STAGE} --yes"))
        .await;
    all.learn_content(&dev, "dev").await;
    all.learn_content(&prod, "prod").await;
    for kind in Kind::ALL {
        all.learn(kind).await;
    }
    for run in 0..runs {
        let kind = Kind::ALL[run % Kind::ALL.len()];
        let failure = Failure::ALL[run % Failure::ALL.len()];
        let fault = all.choose(kind, failure, &mut random);
        all.check(kind, &fault).await;
    }
    if runs == 0 {
        for (kind, failure, part) in DEFAULT {
            let fault = all.first(kind, failure, part);
            all.check(kind, &fault).await;
        }
    }
    println!("{}", all.report());
    assert!(all.problems.is_empty(), "{}", all.problems.join("\n\n"));
}
