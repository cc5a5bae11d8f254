//! Runs docs/tutorial.md: each command, in a copy of the checkout, and compares what it prints with the tutorial.
//!
//! In a block `console`, a line that begins with `$ ` is a command, and the lines after it are its output. `…` stands for any text
//! within a line, and a line `…` for any number of lines. The output may have more lines than the tutorial between those that
//! are shown. A command fails if the tutorial shows a line that begins with `✗`. A block `diff` is a change that the reader
//! makes in an editor.

use std::fs;

use test_support::checkout::Checkout;
use test_support::root;

/// What the reader does.
#[derive(Debug, PartialEq)]
enum Step {
    /// Runs a command. `output` has the lines that the tutorial shows.
    Run {
        command: String,
        output: Vec<String>,
    },
    /// Changes files.
    Edit(String),
}

fn steps(tutorial: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = tutorial.lines();
    while let Some(line) = lines.next() {
        let language = line
            .strip_prefix("```")
            .filter(|language| !language.is_empty());
        let Some(language) = language else {
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "diff" => steps.push(Step::Edit(block.join("\n") + "\n")),
            "console" => {
                for line in block {
                    match (line.strip_prefix("$ "), steps.last_mut()) {
                        (Some(command), _) => steps.push(Step::Run {
                            command: command.into(),
                            output: vec![],
                        }),
                        (None, Some(Step::Run { command, .. })) if command.ends_with('\\') => {
                            command.truncate(command.len() - 1);
                            command.push_str(line.trim_start());
                        }
                        (None, Some(Step::Run { output, .. })) => output.push(line.into()),
                        (None, _) => panic!("a block console begins without a command: {line}"),
                    }
                }
            }
            _ => {} // shown to the reader only
        }
    }
    steps
}

/// Whether a line of output is what the tutorial shows.
fn is_shown(shown: &str, actual: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

/// Returns the first line of the tutorial that the output lacks. The lines must be in this order.
fn missing<'a>(shown: &'a [String], actual: &str) -> Option<&'a str> {
    let mut actual = actual.lines().map(str::trim_end);
    let shown = shown.iter().map(String::as_str).filter(|line| *line != "…");
    let mut shown = shown.filter(|line| !line.is_empty());
    shown.find(|line| !actual.any(|actual| is_shown(line.trim_end(), actual)))
}

#[test]
fn the_commands_of_the_tutorial_print_what_it_shows() {
    let tutorial = fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let checkout = Checkout::new("tutorial");
    let result = std::panic::catch_unwind(|| follow(&checkout, &steps(&tutorial)));
    checkout.run("cargo xtask stop; kill $(cat target/accounts.pid)");
    result.unwrap();
}

fn follow(checkout: &Checkout, steps: &[Step]) {
    assert!(
        steps.len() > 10,
        "the tutorial has only {} steps",
        steps.len()
    );
    for step in steps {
        match step {
            Step::Edit(patch) => {
                let file = checkout.root().join("target/change.patch");
                fs::write(&file, patch).unwrap();
                checkout.succeeds(&format!("git apply {}", file.display()));
            }
            Step::Run { command, output } => {
                eprintln!("$ {command}");
                let fails = output.iter().any(|line| line.starts_with('✗'));
                let result = checkout.run(command);
                let actual = [result.stdout, result.stderr]
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                let actual = actual.concat();
                assert_eq!(result.status.success(), !fails, "{command}:\n{actual}");
                if let Some(line) = missing(output, &actual) {
                    panic!(
                        "{command} did not print this line of the tutorial:\n{line}\nit printed:\n{actual}"
                    );
                }
            }
        }
    }
}

#[test]
fn steps_are_read_from_the_blocks_of_the_tutorial() {
    let tutorial = "Text\n```console\n$ one \\\n    two\nout\n…\n$ three\n```\n```diff\n-a\n+b\n```\n```json\n{}\n```\n";
    let run = |command: &str, output: &[&str]| Step::Run {
        command: command.into(),
        output: output.iter().map(|&line| line.into()).collect(),
    };
    let expected = [
        run("one two", &["out", "…"]),
        run("three", &[]),
        Step::Edit("-a\n+b\n".into()),
    ];
    assert_eq!(steps(tutorial), expected);
}

#[test]
fn an_error_in_the_output_of_the_tutorial_is_found() {
    let shown = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.into())
            .collect::<Vec<String>>()
    };
    let actual = "HTTP 201 Created\nlocation: ./books/0199\n{\n  \"title\": \"Emma\"\n}\n";
    for good in [
        &["HTTP 201 Created", "…", "  \"title\": \"Emma\""][..],
        &["location: ./books/…"],
    ] {
        assert_eq!(missing(&shown(good), actual), None);
    }
    for (bad, line) in [
        (&["HTTP 200 OK"][..], "HTTP 200 OK"),
        (&["HTTP 201"], "HTTP 201"),
        (
            &["  \"title\": \"Emma\"", "HTTP 201 Created"],
            "HTTP 201 Created",
        ),
        (&["location: ./films/…"], "location: ./films/…"),
    ] {
        assert_eq!(missing(&shown(bad), actual), Some(line));
    }
}
