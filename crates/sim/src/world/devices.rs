//! Devices that talk: how they come into the world, fall and get up.

use std::sync::Arc;

use session_client::Mode;
use session_core::{SeededEntropy, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_messaging::messenger::Config;
use session_messaging::vault::MemoryVault;
use session_protocol::Membership;

use super::build::fork;
use super::{Broken, World, host_id};
use crate::host::{Departure, HostId};
use crate::messaging::device::{Device, News};
use crate::violation::Violation;

impl World {
    /// Returns the devices, also those that are nobody's yet.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub(crate) fn host_of_device(&self, device: usize) -> HostId {
        host_id(self.nodes.len() + self.persons.len() + device)
    }

    pub(super) fn device_of_host(&self, host: HostId) -> Option<usize> {
        let device = host.index().checked_sub(self.nodes.len() + self.persons.len())?;
        (device < self.devices.len()).then_some(device)
    }

    pub(super) fn add_devices(
        &mut self,
        (count, config): (usize, &Config),
        membership: &Arc<dyn Membership>,
        rng: &mut SeededEntropy,
    ) {
        for device in 0..count {
            // What handshakes are made with; nobody learns whose it is.
            let keys = Arc::new(FakeIdentity::generate(rng));
            let shared = Arc::clone(membership);
            let verifier = Arc::new(FakeVerifier);
            let client = session_client::Config {
                account: None,
                mode: Mode::Direct,
                ..session_client::Config::new(keys, Arc::clone(&shared), verifier)
            };
            let host = self.host_of_device(device);
            self.devices.push(Device::new(host, client, shared, config.clone(), fork(rng)));
        }
    }

    /// Does something to a device, and what it leads to.
    pub(crate) fn with_device<T>(
        &mut self,
        device: usize,
        act: impl FnOnce(&mut Device, Time, &mut Vec<Departure>) -> T,
    ) -> Result<T, Box<Violation>> {
        let (now, mut out) = (self.now, std::mem::take(&mut self.departures));
        let done = act(&mut self.devices[device], now, &mut out);
        let host = self.host_of_device(device);
        let after: Result<(), Broken> = self.after(host, out);
        after.map_err(|(invariant, what)| Box::new(self.violation(invariant, what)))?;
        Ok(done)
    }

    /// Starts a device that is somebody's, if it does not run.
    pub(crate) fn start(&mut self, device: usize) {
        self.start_device(device);
    }

    /// Puts an image in the place of what is on a device, and starts it if that is somebody's.
    pub(crate) fn restore(&mut self, device: usize, image: MemoryVault) {
        self.stop_device(device);
        self.devices[device].restore(image);
        self.start_device(device);
    }

    /// Takes what a device has to say to its owner.
    pub(crate) fn take_news(&mut self, device: usize) -> Vec<News> {
        std::mem::take(&mut self.devices[device].news)
    }

    pub(super) fn stop_device(&mut self, device: usize) {
        let host = self.host_of_device(device);
        if !self.devices[device].is_up() {
            return;
        }
        self.devices[device].crash();
        self.seats[host.index()].wake = None;
        self.seats[host.index()].epoch += 1;
        self.net.vanish(&mut self.queue, self.now, host);
    }

    pub(super) fn start_device(&mut self, device: usize) {
        if self.devices[device].is_up() || !self.devices[device].is_anybodys() {
            return;
        }
        self.devices[device].start();
        let host = self.host_of_device(device);
        self.seats[host.index()].epoch += 1;
        self.arm(host);
    }
}
