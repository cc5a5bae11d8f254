//! The command `cargo xtask init`: makes the checkout another product. The crate `scaffold` has the questions, the parts that can be
//! removed, and the changes.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Args, FromArgMatches};
use console::style;
use scaffold::init::{Answers, Change, Product, QUESTIONS, Todo, to_do};
use scaffold::{Tree, lock, parts};
use tokio::process::Command;

use crate::{
    tools,
    ui::{self, Step, run},
    workspace::Workspace,
};

/// The command-line options of `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    given: Given,
    /// Remove a part of the product completely; xtask/parts.toml lists the parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    without: Vec<String>,
    /// Apply the changes without asking
    #[arg(long)]
    yes: bool,
    /// Print the changes as a diff, and write nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

/// The answers on the command line: an option for each question.
#[derive(Debug, Default)]
struct Given(Answers);

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for question in QUESTIONS {
            if let Some(answer) = matches.get_one::<String>(question.key) {
                self.0.insert(question.key, answer.clone());
            }
        }
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(QUESTIONS.iter().map(|question| {
            Arg::new(question.key)
                .long(question.key)
                .value_name("ANSWER")
                .help(capitalized(question.prompt))
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Runs `cargo xtask init`: asks the questions that the command line does not answer if it answers none and the command runs in
/// a terminal, shows the changes, applies them, and lists what is still to do.
///
/// # Errors
/// Fails if an answer is invalid or the person does not confirm: nothing is written then. Fails if a file cannot be written, or
/// a formatter fails.
pub(crate) async fn init(options: Options) -> Result<()> {
    let workspace = Workspace::read()?;
    let mut tree = Tree::open(workspace.root());
    let Options {
        given: Given(mut answers),
        mut without,
        yes,
        dry_run,
    } = options;
    let asks = answers.is_empty() && without.is_empty() && stdin().is_terminal();
    let known = parts::all(&tree)?;
    if asks {
        without = ask_parts(&known)?;
    }
    // Questions about removed parts do not apply.
    let removed = parts::remove(&mut tree, &without)?;
    let product = Product::open(&tree)?;
    if asks {
        answers = ask(&product)?;
    }
    let change = product.change(&mut tree, &answers)?;
    lock(&mut tree)?;
    if tree.changed()?.is_empty() {
        ui::success("the answers are the current ones: nothing changes");
        show_todo(&to_do(&tree)?);
        return Ok(());
    }
    if dry_run {
        stdout().write_all(tree.diff()?.as_bytes())?;
    }
    for name in &removed {
        let description = known.get(name).map_or("", |part| &part.description);
        ui::say(format!("without {}: {description}", style(name).bold()));
    }
    show(&change, &tree)?;
    if dry_run {
        return Ok(());
    }
    if !yes && !confirmed()? {
        bail!("nothing was changed");
    }
    let mut todo = change.todo.clone();
    todo.extend(to_do(&tree)?);
    tools::check_requirements(&workspace).await?;
    tree.apply()?;
    // The tools are installed only now, because the changes can affect package.json. One of them formats TypeScript.
    let formatted = async {
        tools::prepare(&workspace).await?;
        format(&workspace).await
    };
    formatted.await.context(
        "the changes are made, but the files are not formatted: correct the error, and then run `cargo fmt --all` and \
         `node_modules/.bin/biome check --write .`",
    )?;
    show_todo(&todo);
    show_consequences(&change);
    Ok(())
}

/// Asks in the terminal which parts to remove.
fn ask_parts(known: &BTreeMap<String, parts::Part>) -> Result<Vec<String>> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    ui::say(format!("{}", style("The parts to remove").bold()));
    for (name, part) in known {
        ui::say(format!("  {name}: {}", part.description));
    }
    let mut lines = stdin().lock().lines();
    loop {
        print!("  without, separated by commas: [keep all] ");
        stdout().flush()?;
        let line = lines.next().context("no answer")??;
        let names = line.split(',').map(|name| name.trim().to_owned());
        let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        match names.iter().find(|name| !known.contains_key(*name)) {
            None => return Ok(names),
            Some(name) => ui::say(format!("  {} there is no part {name}", style("✗").red())),
        }
    }
}

/// Asks all questions in the terminal. An empty line accepts the answer in brackets; an invalid answer is asked for again.
fn ask(product: &Product) -> Result<Answers> {
    let mut given = Answers::new();
    let mut lines = stdin().lock().lines();
    for question in QUESTIONS {
        let answers = product.complete(&given);
        let Some(default) = answers.get(question.key) else {
            continue;
        };
        loop {
            ui::say(format!("{}", style(capitalized(question.prompt)).bold()));
            print!("  {} [{default}] ", question.key);
            stdout().flush()?;
            let line = lines.next().context("no answer")??;
            let answer = match line.trim() {
                "" => default.as_str(),
                answer => answer,
            };
            match product.check(question, answer, &answers) {
                Ok(()) => {
                    given.insert(question.key, answer.to_owned());
                    break;
                }
                Err(problem) => ui::say(format!("  {} {problem}", style("✗").red())),
            }
        }
    }
    Ok(given)
}

/// Asks whether to apply the changes.
///
/// # Errors
/// Fails if standard input is not a terminal.
fn confirmed() -> Result<bool> {
    if !stdin().is_terminal() {
        bail!(
            "cannot ask for confirmation: standard input is not a terminal; pass --yes or --dry-run"
        );
    }
    print!("Apply these changes? [y/N] ");
    stdout().flush()?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}

/// Shows what changes.
fn show(change: &Change, tree: &Tree) -> Result<()> {
    for replacement in &change.replacements {
        ui::say(format!(
            "{} → {}  {} in {}",
            replacement.old,
            style(&replacement.new).bold(),
            ui::count(replacement.places, "place"),
            ui::count(replacement.files, "file"),
        ));
    }
    let changed = tree.changed()?;
    let files = tree.files()?;
    let deleted = changed.iter().filter(|path| !files.contains(**path));
    ui::say(format!(
        "{} change, of which {} are deleted",
        ui::count(changed.len(), "file"),
        deleted.count()
    ));
    Ok(())
}

/// Formats the sources, because lines have other lengths.
async fn format(workspace: &Workspace) -> Result<()> {
    let step = Step::begin("format the sources");
    run(&step, workspace.cargo().args(["fmt", "--all"])).await?;
    let mut biome = Command::new(workspace.node_bin("biome"));
    biome.args(["format", "--write", "--colors=off", "."]);
    run(&step, biome.current_dir(workspace.root())).await?;
    step.done("");
    Ok(())
}

/// Shows what happens to stages that are deployed already, once for the answers with the same consequence.
fn show_consequences(change: &Change) {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, consequence) in &change.deployed {
        keys.entry(consequence).or_default().push(key);
    }
    if !keys.is_empty() {
        ui::say("For stages that are deployed already:");
    }
    for (consequence, keys) in keys {
        ui::say(format!("  {}: {consequence}", keys.join(", ")));
    }
}

/// Shows the placeholders that remain.
fn show_todo(todo: &[Todo]) {
    if todo.is_empty() {
        return;
    }
    ui::say("Still to do:");
    for Todo { place, what, how } in todo {
        ui::say(format!("  {place}  {what}: {how}"));
    }
}

/// Returns a text with a capital letter at its beginning.
fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
