//! How many files this process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are not connections: Kafka's sockets, logs, the other listener.
const HEADROOM: u64 = 256;

/// Raises the soft limit of open files to `wanted`, or as far as the hard limit allows. Returns what holds now.
pub fn raise_file_limit(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let goal = wanted.min(hard);
    if goal <= soft {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), maximum: limit.maximum }) {
        Ok(()) => goal,
        Err(error) => {
            warn!(%error, soft, goal, "the limit of open files cannot be raised");
            soft
        }
    }
}

/// How many of `connections` fit under a limit of `files`; fewer than asked for are warned of.
pub fn fit_connections(connections: u32, files: u64) -> u32 {
    let room = files.saturating_sub(HEADROOM).max(1);
    match u32::try_from(room) {
        Ok(room) if room < connections => {
            warn!(connections, files, cap = room, "fewer connections are accepted: the limit of open files is too low");
            room
        }
        Ok(_) | Err(_) => connections,
    }
}

/// The limit of open files that `connections` need.
pub fn files_for(connections: u32) -> u64 {
    u64::from(connections) + HEADROOM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_but_never_lowered() {
        let soft = raise_file_limit(1);
        assert!(soft > 1);
        assert!(raise_file_limit(soft + 1) >= soft);
    }

    #[test]
    fn connections_are_capped_where_files_are_few() {
        assert_eq!(fit_connections(10_000, files_for(10_000)), 10_000);
        assert_eq!(fit_connections(10_000, u64::MAX), 10_000);
        assert_eq!(fit_connections(10_000, 1024), 768);
        assert_eq!(fit_connections(10_000, 10), 1);
    }
}
