//! What should not happen to a device: an old image of it is restored, or a copy of it is used.

use std::collections::BTreeMap;

use session_core::{Entropy, SeededEntropy, Span, Time};
use session_messaging::vault::MemoryVault;

use crate::host::BEGINNING;
use crate::world::World;

/// Mean time between two accidents, or between an image and its use.
const EVERY_MS: u64 = 40_000;

/// Images that wait, copies that run, and when something happens next.
#[derive(Default)]
pub(crate) struct Accidents {
    next: Option<Time>,
    /// What somebody kept of devices.
    images: BTreeMap<usize, MemoryVault>,
    /// Copies of devices, of which each believes that it is the device.
    copies: Vec<usize>,
}

/// What happened.
pub(crate) struct Accident {
    /// To which device.
    pub(crate) device: usize,
    /// The copy of it that runs from now on, if it was not simply taken back.
    pub(crate) copy: Option<usize>,
}

impl Accidents {
    pub(crate) fn is_due(&self, now: Time) -> bool {
        now >= self.next.unwrap_or(BEGINNING + Span::from_millis(EVERY_MS))
    }

    /// Does what is due: takes an image, or uses one.
    pub(crate) fn happen(
        &mut self,
        world: &mut World,
        devices: &[usize],
        vacant: &mut Vec<usize>,
        rng: &mut SeededEntropy,
    ) -> Option<Accident> {
        self.next = Some(world.now() + Span::from_millis(EVERY_MS / 2 + rng.below(EVERY_MS)));
        let Some((device, image)) = self.images.pop_first() else {
            let device = devices[rng.below(devices.len() as u64) as usize];
            self.images.insert(device, world.devices()[device].image());
            return None;
        };
        // One that was excluded in the meantime is nobody's concern.
        if !devices.contains(&device) {
            return None;
        }
        if rng.below(3) == 0
            && let Some(copy) = vacant.pop()
        {
            self.copies.push(copy);
            world.restore(copy, image);
            return Some(Accident { device, copy: Some(copy) });
        }
        world.restore(device, image);
        Some(Accident { device, copy: None })
    }

    /// Ends what would not end by itself: of two copies only one is used from now on.
    pub(crate) fn end(self, world: &mut World) {
        for copy in self.copies {
            world.restore(copy, MemoryVault::new());
        }
    }
}
