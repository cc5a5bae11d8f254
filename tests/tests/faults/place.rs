//! Who may use the CPU.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A life's place among those that go on at the same time. It leaves it while all it does is wait.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Place {
    pub(crate) fn among(places: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::clone(places),
            taken: Mutex::default(),
        })
    }

    /// Waits for a place, unless it has one.
    pub(crate) async fn take(&self) {
        if self.taken.lock().unwrap().is_none() {
            let place = Arc::clone(&self.places).acquire_owned().await.unwrap();
            *self.taken.lock().unwrap() = Some(place);
        }
    }

    pub(crate) fn leave(&self) {
        self.taken.lock().unwrap().take();
    }
}
