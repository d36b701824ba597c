//! The operator's wish to stop.

use std::future::Future;
use std::io::{self, Read as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Listens for SIGTERM and SIGINT from now on, and returns a future that ends with the name of
/// the first.
///
/// Call it again before awaiting, to notice a second signal as well.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_asked() -> io::Result<impl Future<Output = &'static str> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// Waits for the end of standard input, so that a program does not outlive the one that started
/// it; for ever unless `wanted`.
pub async fn stdin_end(wanted: bool) {
    if !wanted {
        std::future::pending::<()>().await;
    }
    let (end, ended) = oneshot::channel();
    // A thread of its own, because reading cannot be given up; the end of the process ends it.
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut stdin = io::stdin().lock();
        while matches!(stdin.read(&mut buffer), Ok(1..)) {}
        let _ = end.send(());
    });
    let _ = ended.await;
}

#[cfg(test)]
mod tests;
