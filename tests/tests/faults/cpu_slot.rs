//! Limits how many simulations use the CPU at the same time.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permit of a simulation to use the CPU. The simulation releases the permit while it only
/// waits.
#[derive(Debug)]
pub(crate) struct CpuSlot {
    slots: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl CpuSlot {
    /// Creates a slot that has no permit yet. [`Self::acquire`] gets a permit from `slots`.
    pub(crate) fn new(slots: &Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::clone(slots),
            permit: Mutex::default(),
        })
    }

    /// Waits until the simulation has a permit. Returns immediately if the simulation already has
    /// one.
    pub(crate) async fn acquire(&self) {
        if self.permit.lock().unwrap().is_none() {
            let permit = Arc::clone(&self.slots).acquire_owned().await.unwrap();
            *self.permit.lock().unwrap() = Some(permit);
        }
    }

    pub(crate) fn release(&self) {
        self.permit.lock().unwrap().take();
    }
}
