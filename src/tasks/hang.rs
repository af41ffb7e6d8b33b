//! A planted fault: a runtime whose workers are all stuck, while other threads live.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::error;

/// Once there is a file at `path`, blocks every worker of this runtime for ever.
pub async fn once_there_is(path: PathBuf) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    error!("failpoint: every worker of the runtime hangs from now on");
    // More than there are workers: each takes one and never another.
    for _ in 0..4 * Handle::current().metrics().num_workers() {
        super::detach("hang", async {
            loop {
                std::thread::park();
            }
        });
    }
}
