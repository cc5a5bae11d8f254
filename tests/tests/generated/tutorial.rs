//! Runs docs/tutorial.md: each command, in a copy of the checkout, and compares what it prints with the tutorial.
//!
//! In a block `console`, a line that begins with `$ ` is a command, and the lines after it are its output. `…` stands for any text
//! within a line, and a line `…` for any number of lines. The output may have more lines than the tutorial between those that
//! are shown. A command fails if the tutorial shows a line that begins with `✗`. A block `diff` is a change that the reader
//! makes in an editor.

use std::fs;
use std::process::{Command, Output};
use std::time::Instant;

use test_support::checkout::Checkout;
use test_support::root;

/// The path of the tutorial in the checkout.
const TUTORIAL: &str = "docs/tutorial.md";

/// A line of the tutorial, and its number.
type Line = (usize, String);

/// What the reader does.
#[derive(Debug, PartialEq)]
enum Step {
    /// Begins a section.
    Section(String),
    /// Runs a command. `output` has the lines that the tutorial shows.
    Run { command: Line, output: Vec<Line> },
    /// Changes files.
    Edit(Line),
}

/// # Errors
/// Fails if a block `console` begins with an output.
fn steps(tutorial: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut lines = (1..).zip(tutorial.lines());
    while let Some((first, line)) = lines.next() {
        if let Some(section) = line.strip_prefix("## ") {
            steps.push(Step::Section(section.into()));
        }
        let language = line
            .strip_prefix("```")
            .filter(|language| !language.is_empty());
        let Some(language) = language else {
            continue;
        };
        let block = lines.by_ref().take_while(|(_, line)| *line != "```");
        let block: Vec<_> = block.collect();
        let earlier = steps.len();
        match language {
            "diff" => {
                let patch = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                steps.push(Step::Edit((first, patch)));
            }
            "console" => {
                for (number, line) in block {
                    match (
                        line.strip_prefix("$ "),
                        steps.get_mut(earlier..).and_then(<[_]>::last_mut),
                    ) {
                        (Some(command), _) => steps.push(Step::Run {
                            command: (number, command.into()),
                            output: vec![],
                        }),
                        (None, Some(Step::Run { command, .. })) if command.1.ends_with('\\') => {
                            command.1.truncate(command.1.len() - 1);
                            command.1.push_str(line.trim_start());
                        }
                        (None, Some(Step::Run { output, .. })) => {
                            output.push((number, line.into()));
                        }
                        (None, _) => {
                            return Err(format!(
                                "{TUTORIAL}:{number}: the block begins without a command"
                            ));
                        }
                    }
                }
            }
            _ => {} // shown to the reader only
        }
    }
    Ok(steps)
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
fn missing<'a>(shown: &'a [Line], actual: &str) -> Option<&'a Line> {
    let mut actual = actual.lines().map(str::trim_end);
    let is_text = |line: &&Line| !line.1.is_empty() && line.1 != "…";
    let mut shown = shown.iter().filter(is_text);
    shown.find(|(_, line)| !actual.any(|actual| is_shown(line.trim_end(), actual)))
}

#[test]
fn the_commands_of_the_tutorial_print_what_it_shows() {
    let tutorial = fs::read_to_string(root().join(TUTORIAL)).unwrap();
    let steps = steps(&tutorial).unwrap();
    assert!(steps.len() > 50, "the tutorial has {} steps", steps.len());
    let checkout = Checkout::new("tutorial");
    let run = |command: &str| checkout.run(command);
    let result = follow(&steps, &run);
    checkout.run("cargo xtask stop; kill $(cat target/accounts.pid)");
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

/// Does what the tutorial says. `run` runs a command. Fails at the first step whose result is not that of the tutorial.
fn follow(steps: &[Step], run: &dyn Fn(&str) -> Output) -> Result<(), String> {
    let mut section: Option<(&str, Instant)> = None;
    let report = |section: Option<(&str, Instant)>| {
        if let Some((name, start)) = section {
            eprintln!("{name}: {} s", start.elapsed().as_secs());
        }
    };
    for step in steps {
        match step {
            Step::Section(name) => report(section.replace((name, Instant::now()))),
            Step::Edit((line, patch)) => {
                let command = format!("git apply <<'PATCH'\n{patch}PATCH");
                let (succeeded, actual) = text(run(&command));
                if !succeeded {
                    return Err(format!(
                        "{TUTORIAL}:{line}: the change is impossible:\n{actual}"
                    ));
                }
            }
            Step::Run {
                command: (line, command),
                output,
            } => {
                eprintln!("$ {command}");
                let (succeeded, actual) = text(run(command));
                let fails = output.iter().any(|(_, line)| line.starts_with('✗'));
                if succeeded == fails {
                    let result = if succeeded { "succeeded" } else { "failed" };
                    return Err(format!(
                        "{TUTORIAL}:{line}: {command}\n{result}, unlike in the tutorial, and printed:\n{actual}"
                    ));
                }
                if let Some((line, shown)) = missing(output, &actual) {
                    return Err(format!(
                        "{TUTORIAL}:{line}: {command}\ndid not print this line of the tutorial:\n{shown}\nIt printed:\n{actual}"
                    ));
                }
            }
        }
    }
    report(section);
    Ok(())
}

/// Returns whether a command succeeded, and what it printed.
fn text(output: Output) -> (bool, String) {
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

/// A small tutorial without errors.
const SMALL: &str = "# Title
## 1. First
```console
$ printf 'HTTP 201 Created\\nlocation: ./books/0199\\n' && \\
    echo end
HTTP 201 Created
…
end
$ echo '✗ refused' && false
✗ refused
```
Change a file:
```diff
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+text
```
## 2. Second
```console
$ cat new.txt
te…
```
```json
{}
```
";

/// Follows a tutorial in an empty checkout.
fn follow_small(tutorial: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let bash = |command: &str| {
        let mut bash = Command::new("bash");
        let bash = bash.args(["-c", command]).current_dir(folder.path());
        bash.output().unwrap()
    };
    assert!(bash("git init --quiet").status.success());
    follow(&steps(tutorial)?, &bash)
}

#[test]
fn an_error_in_a_tutorial_is_found_with_its_line() {
    follow_small(SMALL).unwrap();
    for (good, bad, expected) in [
        // An output that is wrong, incomplete, or in another order.
        ("\nHTTP 201 Created", "\nHTTP 200 OK", "tutorial.md:6: "),
        ("\nHTTP 201 Created", "\nHTTP 201", "tutorial.md:6: "),
        ("…\nend\n", "…\nend\nHTTP 201 Created\n", "tutorial.md:9: "),
        ("te…", "tx…", "tutorial.md:22: "),
        // A command that does not exist, fails, or does not fail.
        ("cat new", "catt new", "tutorial.md:21: "),
        ("cat new", "cat old", "tutorial.md:21: "),
        (" && false", "", "tutorial.md:9: "),
        ("$ cat new.txt\n", "", "tutorial.md:21: "),
        // A change of a file that does not exist.
        ("@@ -0,0 +1 @@", "@@ -0,0 +1,2 @@", "tutorial.md:13: "),
    ] {
        assert!(SMALL.contains(good), "{good}");
        let tutorial = SMALL.replace(good, bad);
        let error = follow_small(&tutorial).unwrap_err();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}
