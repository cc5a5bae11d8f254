//! Tests of `scaffold::init` on copies of this checkout.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

use scaffold::Tree;
use scaffold::init::{Answers, Product, QUESTIONS, to_do};

/// The root of this checkout.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// A copy of this checkout.
struct Copy(tempfile::TempDir);

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = Self(folder);
        let git = Command::new("git")
            .args(["init", "--quiet"])
            .current_dir(copy.path())
            .status();
        assert!(git.unwrap().success());
        for path in Tree::open(root()).files().unwrap() {
            let file = copy.path().join(&path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::copy(root().join(&path), file).unwrap();
        }
        copy
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn tree(&self) -> Tree {
        Tree::open(self.path())
    }

    /// Runs init with the answers.
    fn init(&self, answers: &Answers) {
        let mut tree = self.tree();
        let product = Product::open(&tree).unwrap();
        product.change(&mut tree, answers).unwrap();
        tree.apply().unwrap();
    }

    /// Returns the error of init, which must change nothing.
    fn refusal(&self, answers: &Answers) -> String {
        let mut tree = self.tree();
        let product = Product::open(&tree).unwrap();
        let error = product.change(&mut tree, answers).unwrap_err().to_string();
        assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
        error
    }

    fn edit(&self, file: &str, text: &str, replacement: &str) {
        let file = self.path().join(file);
        let before = fs::read_to_string(&file).unwrap();
        assert!(before.contains(text), "no {text}");
        fs::write(file, before.replacen(text, replacement, 1)).unwrap();
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let paths = self.tree().files().unwrap();
        let content = |path: String| {
            let content = fs::read(self.path().join(&path)).unwrap();
            (path, content)
        };
        paths.into_iter().map(content).collect()
    }

    /// Returns the places that contain a text in any letter case, except those that may always name the origin.
    fn places_of(&self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        let mut places = Vec::new();
        for (path, content) in self.files() {
            if path.to_lowercase().contains(&text) {
                places.push(path.clone());
            }
            let content = str::from_utf8(&content).unwrap_or_default();
            let end = match path.as_str() {
                "LICENSE-MIT" | "LICENSE-APACHE" => 0,
                // These have answers as examples.
                _ if path.starts_with("xtask/scaffold/tests/init") => 0,
                "README.md" => content.find("\n## Origin\n").unwrap(),
                _ => content.len(),
            };
            for (number, line) in content[..end].lines().enumerate() {
                if line.to_lowercase().contains(&text) {
                    places.push(format!("{path}:{}: {line}", number + 1));
                }
            }
        }
        places
    }
}

fn answers(answers: &[(&'static str, &str)]) -> Answers {
    let answer = |(key, answer): &(&'static str, &str)| (*key, (*answer).to_owned());
    answers.iter().map(answer).collect()
}

fn current(copy: &Copy) -> Answers {
    Product::open(&copy.tree()).unwrap().current().clone()
}

/// Names and prefixes that this product does not have.
fn names(copy: &Copy) -> Vec<(&'static str, &'static str)> {
    let names = [
        ("Acme Notes", "acme-notes"),
        ("Zq", "zq"),
        ("QUUX", "quux"),
        ("Frobnicator-Works 3000", "frobnicators-3000"),
    ];
    let current = current(copy);
    let others = names.into_iter().filter(|(name, prefix)| {
        !current
            .values()
            .any(|answer| answer == name || answer.contains(prefix))
    });
    others.collect()
}

#[test]
fn the_old_name_remains_only_where_it_states_the_origin_and_going_back_restores_every_file() {
    let copy = Copy::new();
    let (before, original) = (copy.files(), current(&copy));
    for (name, prefix) in names(&copy) {
        copy.init(&answers(&[("name", name), ("prefix", prefix)]));
        for old in [&original["name"], &original["prefix"]] {
            assert_eq!(copy.places_of(old), Vec::<String>::new(), "{name}");
        }
        copy.init(&original);
        let after = copy.files();
        assert!(before.keys().eq(after.keys()), "{name}");
        for (path, content) in &before {
            assert!(after[path] == *content, "{name} changes {path}");
        }
    }
}

#[test]
fn each_answer_can_be_changed_alone_and_back() {
    let copy = Copy::new();
    let (before, original) = (copy.files(), current(&copy));
    let new = answers(&[
        ("name", "Acme Notes"),
        ("prefix", "acme-notes"),
        ("repository", "acme-inc/notes.app"),
        ("repository-owner-id", "7654321"),
        ("repository-id", "87654321"),
        ("account-dev", "876543210123"),
        ("account-previews", "876543210124"),
        ("account-prod", "876543210125"),
        ("account-local", "876543210126"),
        ("region", "eu-west-1"),
        ("domain-prod", "notes.acme.dev"),
        ("domain-dev", "dev.notes.acme.dev"),
        ("owner-email", "money@acme.dev"),
        ("alarms-email", "pager@acme.dev"),
        // part: billing {
        ("currency", "eur"),
        ("prices", "1:350,21:175,101:90"),
        ("stripe-key-dev", "pk_test_51dev"),
        ("stripe-key-previews", "pk_test_51previews"),
        ("stripe-key-prod", "pk_live_51prod"),
        // part: billing }
    ]);
    assert_eq!(new.len(), QUESTIONS.len());
    for question in QUESTIONS {
        let key = question.key;
        let changed = Answers::from([(key, new[key].clone())]);
        copy.init(&changed);
        assert_eq!(current(&copy)[key], new[key]);
        copy.init(&original);
        assert!(copy.files() == before, "{key}");
    }
    copy.init(&new);
    // Only the teams have no question.
    for todo in to_do(&copy.tree()).unwrap() {
        assert!(todo.place.contains("CODEOWNERS"), "{todo:?}");
    }
    copy.init(&original);
    assert!(copy.files() == before);
}

#[test]
fn the_current_answers_change_nothing() {
    let mut tree = Tree::open(root());
    let product = Product::open(&tree).unwrap();
    product.change(&mut tree, &Answers::new()).unwrap();
    product.change(&mut tree, product.current()).unwrap();
    assert_eq!(tree.changed().unwrap(), Vec::<&str>::new());
}

#[test]
fn a_dry_run_has_a_diff_and_writes_nothing() {
    let copy = Copy::new();
    let (before, original) = (copy.files(), current(&copy));
    let mut tree = copy.tree();
    let product = Product::open(&tree).unwrap();
    let change = product
        .change(&mut tree, &answers(&[("prefix", "zq")]))
        .unwrap();
    assert!(tree.changed().unwrap().len() > 100);
    assert_eq!(change.deployed.first().map(|(key, _)| *key), Some("prefix"));
    let diff = tree.diff().unwrap();
    assert!(diff.contains(&format!("-  \"prefix\": \"{}\",\n", original["prefix"])));
    assert!(diff.contains("+  \"prefix\": \"zq\",\n"));
    assert!(copy.files() == before);
}

#[test]
fn an_invalid_answer_is_refused_with_its_rule_and_nothing_is_written() {
    let copy = Copy::new();
    let before = copy.files();
    let taken = &current(&copy)["account-dev"];
    let invalid = [
        ("name", "", "must begin with a letter"),
        ("name", "1st", "must begin with a letter"),
        ("name", "Caf\u{e9}", "letters of ASCII"),
        ("name", "Acme <Notes>", "letters of ASCII"),
        ("name", "Acme  Notes", "single spaces"),
        ("name", &"Acme".repeat(11), "at most 40 characters"),
        ("name", "Rust", "it is in "),
        ("prefix", "Acme", "lower-case letters"),
        ("prefix", "1acme", "must begin with a lower-case letter"),
        ("prefix", "acme_notes", "single hyphens"),
        ("prefix", "acme-", "single hyphens"),
        ("prefix", "a", "at least 2 characters"),
        ("prefix", "aws-notes", "aws, which AWS reserves"),
        ("prefix", "amazonnotes", "amazon, which AWS reserves"),
        ("prefix", "ssm-notes", "ssm, which AWS reserves"),
        ("prefix", &"acme".repeat(10), "AWS permits 64"),
        ("prefix", "notes", "must not occur in the checkout yet"),
        (
            "prefix",
            "access-control",
            "must not occur in the checkout yet",
        ),
        ("repository", "acme", "OWNER/REPOSITORY"),
        ("repository", "acme/a/b", "OWNER/REPOSITORY"),
        ("repository-id", "acme", "gh api"),
        ("account-dev", "12345", "12 digits"),
        ("account-prod", taken, "must differ from the other accounts"),
        ("region", "eu-west-9", "must be a region of AWS"),
        ("domain-prod", "localhost", "must be a domain"),
        ("domain-prod", "https://acme.dev", "must be a domain"),
        (
            "domain-dev",
            &format!("{}.dev", "a".repeat(63)),
            "at most 64",
        ),
        ("owner-email", "acme", "must be an e-mail address"),
        ("alarms-email", "a b@acme.dev", "must be an e-mail address"),
        // part: billing {
        ("currency", "USD", "must be a currency"),
        ("currency", "jpy", "hundredths"),
        ("prices", "400", "FROM:PRICE"),
        ("prices", "2:400", "must begin with the price from 1 note"),
        ("prices", "1:400,1:200", "increasing numbers"),
        ("prices", "1:0", "prices above 0"),
        ("prices", "1:10", "Stripe can charge"),
        ("prices", "1:400", "Stripe can charge"),
        ("stripe-key-dev", "sk_test_51dev", "publishable key"),
        ("stripe-key-dev", "pk_live_51dev", "test mode"),
        ("stripe-key-prod", "pk_test_51prod", "live mode"),
        // part: billing }
    ];
    for (key, answer, rule) in invalid {
        let error = copy.refusal(&answers(&[(key, answer)]));
        assert!(error.contains(rule), "{key} {answer}: {error}");
    }
    let error = copy.refusal(&answers(&[
        ("name", "x\u{1}"),
        ("account-dev", "1"),
        ("region", "eu-west-1"),
    ]));
    assert!(
        error.contains("--name") && error.contains("--account-dev 1"),
        "{error}"
    );
    assert!(!error.contains("--region"), "{error}");
    assert!(copy.files() == before);
}

#[test]
fn the_longest_accepted_prefix_leaves_room_for_the_longest_names() {
    let copy = Copy::new();
    let tree = copy.tree();
    let product = Product::open(&tree).unwrap();
    let question = QUESTIONS.iter().find(|question| question.key == "prefix");
    let accepts = |length: usize| {
        let prefix = "qz".repeat(length / 2) + &"j".repeat(length % 2);
        let checked = product.check(question.unwrap(), &prefix, product.current());
        checked.is_ok()
    };
    let longest = (4..64)
        .take_while(|length| accepts(*length))
        .last()
        .unwrap();
    assert!((20..=37).contains(&longest), "{longest}");
    assert!((longest + 1..64).all(|length| !accepts(length)));
}

#[test]
fn an_answer_that_was_changed_by_hand_is_reported() {
    let copy = Copy::new();
    let account = &current(&copy)["account-prod"];
    copy.edit(
        "serverless.yml",
        &format!("id: \"{account}\""),
        "id: \"987654321098\"",
    );
    let error = Product::open(&copy.tree())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("987654321098 as accounts.prod.id"),
        "{error}"
    );
    assert!(
        error.contains("cargo xtask init --account-prod 987654321098"),
        "{error}"
    );

    let copy = Copy::new();
    copy.edit("serverless.yml", "    alarms: ", "    alarms: other-");
    let error = Product::open(&copy.tree())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("as stages.dev.alarms"), "{error}");
}

#[test]
fn a_change_that_could_not_be_undone_is_refused() {
    let copy = Copy::new();
    copy.edit("README.md", "\n", "\nzq-\n");
    assert!(
        copy.refusal(&answers(&[("prefix", "zq")]))
            .contains("README.md:2")
    );
    fs::write(copy.path().join("zq.txt"), "").unwrap();
    copy.edit("README.md", "\nzq-\n", "\n");
    copy.refusal(&answers(&[("prefix", "zq")]));
}
