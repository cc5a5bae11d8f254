//! All schedules of a scenario, as a model for the checker of stateright.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::{
    call::{self, Fate, Invocation},
    functions::{End, Function},
    invariants,
    world::{Owner, World},
};

/// One step of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The invocation makes a call.
    Call {
        invocation: usize,
        call: u16,
        fate: Fate,
    },
    /// The invocation is killed.
    Crash { invocation: usize },
    /// A late call takes effect.
    Land { late: usize },
    /// The cardholder, the bank or an employee of the shop does something in Stripe.
    Owner(Owner),
    /// Time passes.
    Advance,
}

/// What the schedules of a scenario may contain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The maximum number of invocations that run at the same time.
    pub(crate) concurrent: usize,
    /// The maximum number of failures: failed calls, late calls and crashes.
    pub(crate) failures: u8,
    /// How often time may pass although an invocation could start.
    pub(crate) delays: u8,
}

/// A situation: the state of the world and of all invocations.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) invocations: Vec<Invocation>,
    /// The calls that take effect later: the invocation before the call, and the number of the call.
    late: Vec<(Invocation, u16)>,
    failures: u8,
    delays: u8,
    pub(crate) violations: Vec<&'static str>,
    fingerprint: u64,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

/// The model of a scenario.
pub(crate) struct Schedules {
    start: World,
    limits: Limits,
    seen: Arc<Mutex<Seen>>,
}

/// What an exploration has seen.
#[derive(Default)]
struct Seen {
    /// The steps from each situation to the next situations.
    steps: HashMap<u64, Vec<u64>>,
    /// The calls of all functions.
    calls: Calls,
}

/// The calls of functions: the function, the call, and what happened with it. None is a crash before the call.
pub(crate) type Calls = BTreeSet<(&'static str, &'static str, Option<Fate>)>;

impl State {
    /// Adds the invocations that the world asks for. Drops those that end without a call.
    fn settle(mut self) -> Self {
        for (function, attempt, not_before) in self.world.take_new() {
            let step = self.world.step();
            let one = Invocation::new(function, attempt, not_before, step);
            self.invocations.push(one);
        }
        let mut index = 0;
        while index < self.invocations.len() {
            let step = self.world.step();
            let invocation = &mut self.invocations[index];
            if invocation.is_running() || invocation.not_before > step {
                index += 1;
                continue;
            }
            if invocation.step != step || invocation.pending.is_empty() {
                invocation.step = step;
                let ran = call::run(self.world, invocation, None);
                self.world = ran.world;
                self.invocations[index].pending = ran.pending;
                if let Some(end) = ran.end {
                    let ended = self.invocations.remove(index);
                    self.world.ended(&ended, end);
                    return self.settle();
                }
            }
            index += 1;
        }
        self.finish()
    }

    fn finish(mut self) -> Self {
        let hash = |invocation: &Invocation| {
            let mut hasher = DefaultHasher::new();
            invocation.hash(&mut hasher);
            hasher.finish()
        };
        self.invocations.sort_by_cached_key(hash);
        let mut hasher = DefaultHasher::new();
        self.world.fingerprint().hash(&mut hasher);
        self.invocations.hash(&mut hasher);
        self.late.hash(&mut hasher);
        (self.failures, self.delays).hash(&mut hasher);
        self.fingerprint = hasher.finish();
        self
    }

    /// Whether an invocation that has not started could start.
    fn can_start(&self) -> bool {
        let step = self.world.step();
        let mut invocations = self.invocations.iter();
        invocations.any(|one| !one.is_running() && one.not_before <= step)
    }

    fn actions(&self, limits: Limits) -> Vec<Action> {
        let mut actions = Vec::new();
        let running = self.invocations.iter().filter(|one| one.is_running());
        let may_start = running.count() < limits.concurrent;
        let may_fail = self.failures < limits.failures;
        for (invocation, one) in self.invocations.iter().enumerate() {
            let started = one.is_running();
            if !started && (!may_start || one.not_before > self.world.step()) {
                continue;
            }
            for (call, name) in &one.pending {
                let writes = World::writes(name);
                for (fate, possible) in [
                    (Fate::Done, true),
                    (Fate::Unsent, may_fail),
                    (Fate::ResponseLost, may_fail && writes),
                    (Fate::Late, may_fail && writes),
                    (Fate::Outdated, may_fail && *name == "read due purchases"),
                ] {
                    if possible {
                        actions.push(Action::Call {
                            invocation,
                            call: *call,
                            fate,
                        });
                    }
                }
                // The first call starts the invocation. Its other calls follow.
                if !started {
                    break;
                }
            }
            if started && may_fail {
                actions.push(Action::Crash { invocation });
            }
        }
        actions.extend((0..self.late.len()).map(|late| Action::Land { late }));
        actions.extend(self.world.owner_actions().into_iter().map(Action::Owner));
        let idle = self.late.is_empty() && !self.invocations.iter().any(Invocation::is_running);
        let delays = self.delays < limits.delays || !self.can_start();
        if idle && delays && self.world.may_advance(!self.invocations.is_empty()) {
            actions.push(Action::Advance);
        }
        actions
    }
}

impl Schedules {
    pub(crate) fn new(start: World, limits: Limits) -> Self {
        Self {
            start,
            limits,
            seen: Arc::default(),
        }
    }

    /// Performs one step. Returns the next situation, and the description of the step if `describe`.
    fn step(&self, before: &State, action: Action, describe: bool) -> (State, String) {
        let mut state = before.clone();
        state.violations.clear();
        let text = match action {
            Action::Call {
                invocation,
                call,
                fate,
            } => {
                let one = state.invocations[invocation].clone();
                state.failures += u8::from(fate != Fate::Done);
                if fate == Fate::Late {
                    state.late.push((one.clone(), call));
                }
                let ran = call::run(state.world, &one, Some((call, fate)));
                state.world = ran.world;
                // part: notify {
                if !matches!(fate, Fate::Done | Fate::Outdated) {
                    state.world.failed(&one.function);
                }
                // part: notify }
                let reply = ran.reply.unwrap();
                let mut text = String::new();
                if describe {
                    text = match fate {
                        Fate::Done => format!("→ {reply}"),
                        Fate::Unsent => "→ error, not sent".into(),
                        Fate::ResponseLost => "→ error, response lost".into(),
                        Fate::Late => "→ error, still under way".into(),
                        Fate::Outdated => format!("→ outdated: {reply}"),
                    };
                    if let Some(end) = &ran.end {
                        text += &format!("; {end}");
                    }
                    text = format!("{}: {} {text}", one.function, one.name_of(call));
                }
                match ran.end {
                    Some(end) => {
                        state.invocations.remove(invocation);
                        state.world.ended(&one, end);
                    }
                    None => {
                        let one = &mut state.invocations[invocation];
                        one.history.push((call, reply));
                        one.pending = ran.pending;
                    }
                }
                text
            }
            Action::Crash { invocation } => {
                let one = state.invocations.remove(invocation);
                state.failures += 1;
                state.world.failed(&one.function); // part: notify
                state.world.ended(&one, End::Crashed);
                format!("{}: crashes", one.function)
            }
            Action::Land { late } => {
                let (one, call) = state.late.remove(late);
                state.world = call::run(state.world, &one, Some((call, Fate::Done))).world;
                format!("{}: {} takes effect", one.function, one.name_of(call))
            }
            Action::Owner(action) => {
                state.world.happen(action);
                action.to_string()
            }
            Action::Advance => {
                state.delays += u8::from(state.can_start());
                let is_reconcile =
                    |one: &Invocation| matches!(one.function, Function::Reconcile { .. });
                // The next run of reconcile replaces one that has not started.
                state.invocations.retain(|one| !is_reconcile(one));
                let by = state.world.advance();
                format!("{} min pass", by.as_secs_f32() / 60.0)
            }
        };
        let mut state = state.settle();
        state.violations = invariants::always(&state.world);
        let actions = state.actions(self.limits);
        // The remaining actions may never happen, so the system is quiet.
        let is_owners = |action: &Action| matches!(action, Action::Owner(action) if !matches!(action, Owner::Clear(_)));
        if state.violations.is_empty() && actions.iter().all(is_owners) {
            state.violations = invariants::when_quiet(&state.world, &state.invocations);
        }
        (state, text)
    }

    /// Explores all schedules, or those up to a violation of an invariant.
    pub(crate) fn explore(self) -> Explored {
        let seen = Arc::clone(&self.seen);
        let started = std::time::Instant::now();
        // With one thread, the search is breadth-first: it finds the shortest schedule that violates an invariant.
        let checker = self.checker().finish_when(HasDiscoveries::Any);
        let checker = checker.target_state_count(MOST_STEPS).spawn_bfs().join();
        let violation = checker.discovery(INVARIANTS).map(|path| {
            let actions = path.into_actions();
            let model = checker.model();
            let mut state = model.first();
            let mut schedule = Vec::new();
            for action in actions {
                let (next, text) = model.step(&state, action, true);
                state = next;
                schedule.push(text);
            }
            Violation {
                invariants: state.violations,
                schedule,
            }
        });
        let first = checker.model().first().fingerprint;
        let mut seen = seen.lock().unwrap();
        Explored {
            states: checker.unique_state_count(),
            steps: checker.state_count(),
            depth: checker.max_depth(),
            schedules: count_schedules(first, &seen.steps),
            calls: std::mem::take(&mut seen.calls),
            is_complete: checker.state_count() < MOST_STEPS,
            violation,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn first(&self) -> State {
        let state = State {
            world: self.start.clone(),
            invocations: Vec::new(),
            late: Vec::new(),
            failures: 0,
            delays: 0,
            violations: Vec::new(),
            fingerprint: 0,
        };
        state.settle()
    }
}

/// The number of steps after which an exploration stops.
const MOST_STEPS: usize = 3_000_000;

const INVARIANTS: &str = "the invariants hold";

impl Model for Schedules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.actions(self.limits));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let (next, _) = self.step(before, action, false);
        let mut seen = self.seen.lock().unwrap();
        let steps = seen.steps.entry(before.fingerprint).or_default();
        steps.push(next.fingerprint);
        match action {
            Action::Call {
                invocation,
                call,
                fate,
            } => {
                let one = &before.invocations[invocation];
                let call = (one.function.name(), one.name_of(call), Some(fate));
                seen.calls.insert(call);
            }
            Action::Crash { invocation } => {
                let one = &before.invocations[invocation];
                let calls = one.pending.iter();
                let calls = calls.map(|(_, name)| (one.function.name(), *name, None));
                seen.calls.extend(calls);
            }
            Action::Land { .. } | Action::Owner(_) | Action::Advance => (),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let hold = |_: &Self, state: &State| state.violations.is_empty();
        vec![Property::always(INVARIANTS, hold)]
    }
}

/// The number of schedules: the paths from the situation `first` to a situation without a next step.
fn count_schedules(first: u64, steps: &HashMap<u64, Vec<u64>>) -> f64 {
    let mut counts: HashMap<u64, f64> = HashMap::new();
    let mut open = vec![first];
    while let Some(&state) = open.last() {
        let next = steps.get(&state).map(Vec::as_slice).unwrap_or_default();
        let unknown: Vec<_> = next
            .iter()
            .filter(|next| !counts.contains_key(next))
            .copied()
            .collect();
        if unknown.is_empty() || counts.contains_key(&state) {
            let sum: f64 = next.iter().filter_map(|next| counts.get(next)).sum();
            counts.entry(state).or_insert(sum.max(1.0));
            open.pop();
        } else {
            counts.remove(&state);
            open.extend(unknown);
            assert!(open.len() < 10_000_000, "a cycle");
        }
    }
    counts[&first]
}

/// The result of an exploration.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) depth: usize,
    /// The number of schedules. Many of them lead through the same situations.
    pub(crate) schedules: f64,
    pub(crate) calls: Calls,
    /// Whether all schedules within the limits were explored.
    pub(crate) is_complete: bool,
    pub(crate) violation: Option<Violation>,
    pub(crate) seconds: f64,
}

/// A schedule that violates an invariant.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariants: Vec<&'static str>,
    pub(crate) schedule: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "violated: {}", self.invariants.join("; "))?;
        for (number, step) in (1..).zip(&self.schedule) {
            writeln!(f, "{number:>4}. {step}")?;
        }
        Ok(())
    }
}
