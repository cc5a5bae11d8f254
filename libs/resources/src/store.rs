use std::future::Future;

use domain::{Page, Sub, UserId};

use crate::{Change, Error, Precondition, Resource};

/// The storage of the resources of the type `R`: [`ResourceTable`](crate::ResourceTable), or
/// [`Memory`](crate::memory::Memory) in tests.
pub trait Store<R: Resource>: Sync {
    /// Stores a new resource, with the `sub` of its owner. Does nothing if the owner already has a resource with the
    /// same id: an earlier attempt has stored it.
    ///
    /// # Errors
    /// Returns [`Error::Taken`] if other resources of the owner have the same values of unique fields. Also fails if a
    /// call fails.
    fn insert(
        &self,
        resource: &R,
        sub: Option<Sub>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads the resource `id` of `user`.
    ///
    /// # Errors
    /// Returns [`Error::NotFound`] if `user` has no resource with this id. Also fails if a call fails.
    fn find(&self, user: &UserId, id: R::Id) -> impl Future<Output = Result<R, Error>> + Send;

    /// Reads the resources of `user` that are older than the resource `before`, newest first. If `before` is None,
    /// starts with the newest resource. Returns at most `limit` resources, and fewer if they are large.
    ///
    /// # Errors
    /// Fails if a call fails.
    fn page(
        &self,
        user: &UserId,
        before: Option<R::Id>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<R>, Error>> + Send;

    /// Replaces the fields of a resource, if the resource meets the precondition `expected`.
    ///
    /// # Errors
    /// Returns [`Error::NotFound`] if `user` has no resource with this id, [`Error::Changed`] if the resource does not
    /// meet `expected`, and [`Error::Taken`] if other resources of `user` have the same values of unique fields. Also
    /// fails if a call fails.
    fn replace(
        &self,
        user: &UserId,
        id: R::Id,
        change: &Change<R::Fields>,
        expected: &Precondition,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Deletes a resource, if it meets the precondition `expected`. Succeeds if the resource does not exist.
    ///
    /// # Errors
    /// Returns [`Error::Changed`] if the resource does not meet `expected`. Also fails if a call fails.
    fn remove(
        &self,
        user: &UserId,
        id: R::Id,
        expected: &Precondition,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
