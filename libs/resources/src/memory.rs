//! The storage in memory, for the tests of controllers. It can make calls fail.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::{Page, ServiceError, Sub, UserId};

use crate::{Change, Error, Fields, Precondition, Resource, Store};

/// Resources in memory, of any number of users.
#[derive(Debug)]
pub struct Memory<R: Resource>(Mutex<State<R>>);

#[derive(Debug)]
struct State<R: Resource> {
    /// The resources, keyed by the ids of the user and the resource.
    resources: BTreeMap<(String, String), Stored<R>>,
    /// The number of calls that succeed before the failure, if one is simulated.
    failing: Option<(usize, Failure)>,
}

#[derive(Debug)]
struct Stored<R> {
    resource: R,
    sub: Option<Sub>,
}

/// How a simulated failure affects a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The call has no effect, and the caller gets an error.
    Unsent,
    /// The call takes effect, but the caller gets an error.
    ResponseLost,
}

impl<R: Resource> Default for Memory<R> {
    fn default() -> Self {
        Self(Mutex::new(State {
            resources: BTreeMap::new(),
            failing: None,
        }))
    }
}

fn key(user: &UserId, id: impl fmt::Display) -> (String, String) {
    (user.as_str().to_owned(), id.to_string())
}

impl<R: Resource> Memory<R> {
    /// Lets the next `calls` calls succeed, and simulates `failure` in every call after them.
    pub fn fail_after(&self, calls: usize, failure: Failure) {
        self.state().failing = Some((calls, failure));
    }

    /// Makes all calls succeed from now on.
    pub fn recover(&self) {
        self.state().failing = None;
    }

    /// The number of resources of all users.
    pub fn count(&self) -> usize {
        self.state().resources.len()
    }

    /// The `sub` that is stored in the resource `id` of `user`. None if there is none.
    pub fn sub(&self, user: &UserId, id: R::Id) -> Option<Sub> {
        self.state().resources.get(&key(user, id))?.sub
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs a call, unless it fails.
    fn call<T>(&self, call: impl FnOnce(&mut State<R>) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.state();
        let failure = match &mut state.failing {
            Some((0, failure)) => Some(*failure),
            Some((calls, _)) => {
                *calls -= 1;
                None
            }
            None => None,
        };
        let failed = || ServiceError::Failed("simulated failure".into());
        match failure {
            Some(Failure::Unsent) => Err(failed().into()),
            Some(Failure::ResponseLost) => {
                call(&mut state)?;
                Err(failed().into())
            }
            None => call(&mut state),
        }
    }
}

impl<R: Resource> State<R> {
    /// Checks that no other resource of the owner has the unique values of the resource `id`.
    fn check_unique(&self, user: &UserId, id: R::Id, fields: &R::Fields) -> Result<(), Error> {
        let (user, id) = key(user, id);
        let is_taken = |value: &dyn Fn(&R::Fields) -> Option<String>| {
            let others = self.resources.iter();
            let mut others = others.filter(|(other, _)| other.0 == user && other.1 != id);
            value(fields).is_some()
                && others.any(|(_, other)| value(other.resource.fields()) == value(fields))
        };
        let unique = R::Fields::UNIQUE.iter();
        let taken = unique.filter(|(_, value)| is_taken(value));
        let taken: Vec<_> = taken.map(|(name, _)| *name).collect();
        match taken.is_empty() {
            true => Ok(()),
            false => Err(Error::Taken(taken)),
        }
    }
}

impl<R: Resource> Store<R> for Memory<R> {
    async fn insert(&self, resource: &R, sub: Option<Sub>) -> Result<(), Error> {
        self.call(|state| {
            let (user, id) = (resource.user_id(), resource.id());
            if !state.resources.contains_key(&key(user, id)) {
                state.check_unique(user, id, resource.fields())?;
                let resource = resource.clone();
                let stored = Stored { resource, sub };
                state.resources.insert(key(user, id), stored);
            }
            Ok(())
        })
    }

    async fn find(&self, user: &UserId, id: R::Id) -> Result<R, Error> {
        self.call(|state| {
            let stored = state.resources.get(&key(user, id));
            let stored = stored.ok_or(Error::NotFound)?;
            Ok(stored.resource.clone())
        })
    }

    async fn page(
        &self,
        user: &UserId,
        before: Option<R::Id>,
        limit: usize,
    ) -> Result<Page<R>, Error> {
        self.call(|state| {
            let before = before.map(|before| before.to_string());
            let older = state.resources.iter().rev().filter(|((owner, id), _)| {
                owner == user.as_str() && before.as_ref().is_none_or(|before| id < before)
            });
            let older = older.map(|(_, stored)| stored.resource.clone());
            Ok(Page::cut(older.collect(), limit))
        })
    }

    async fn replace(
        &self,
        user: &UserId,
        id: R::Id,
        change: &Change<R::Fields>,
        expected: &Precondition,
    ) -> Result<(), Error> {
        self.call(|state| {
            let stored = state.resources.get(&key(user, id));
            let version = stored.ok_or(Error::NotFound)?.resource.version();
            if !expected.allows(version) {
                return Err(Error::Changed);
            }
            state.check_unique(user, id, &change.fields)?;
            let stored = state.resources.get_mut(&key(user, id));
            let stored = stored.ok_or(Error::NotFound)?;
            stored.resource.apply(change);
            stored.sub = change.sub.or(stored.sub);
            Ok(())
        })
    }

    async fn remove(&self, user: &UserId, id: R::Id, expected: &Precondition) -> Result<(), Error> {
        self.call(|state| {
            let stored = state.resources.get(&key(user, id));
            if stored.is_some_and(|stored| !expected.allows(stored.resource.version())) {
                return Err(Error::Changed);
            }
            state.resources.remove(&key(user, id));
            Ok(())
        })
    }
}
