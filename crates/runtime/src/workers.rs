//! Threads that check signatures side by side.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use session_core::Workers;

/// Below this many jobs starting threads costs more than it saves.
const JOBS_MIN: usize = 4;
/// More threads than this gain nothing on blocks of a few hundred transactions.
const THREADS_MAX: usize = 16;

/// As many threads as the machine has cores, for as long as the jobs take.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    count: usize,
}

impl Threads {
    /// Takes the number of cores from the system.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { count: cores.min(THREADS_MAX) }
    }
}

impl Default for Threads {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        if jobs < JOBS_MIN || self.count == 1 {
            (0..jobs).for_each(job);
            return;
        }
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= jobs {
                    return;
                }
                job(index);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.count.min(jobs) {
                scope.spawn(work);
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn every_job_is_done_once() {
        for jobs in [0, 1, JOBS_MIN - 1, JOBS_MIN, 100] {
            let done: Vec<AtomicU32> = (0..jobs).map(|_| AtomicU32::new(0)).collect();
            Threads::new().run(jobs, &|index| {
                done[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{jobs} jobs");
        }
    }
}
