//! Jobs that do not depend on each other, and who runs them.

/// Runs jobs that do not depend on each other; a shell brings threads.
pub trait Workers: Send + Sync {
    /// Calls `job` once with each number below `jobs`, in any order, and returns when all are done.
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

/// Runs one job after another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Workers for Inline {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
    }
}
