//! Users and groups by name, as `/etc/passwd` and `/etc/group` have them. Asks no directory service: who lives in one is
//! given by number.

use std::fs;
use std::path::Path as FilePath;

use super::Config;
use super::fault::{Fault, Path};

/// Puts numbers where `config` has names. Faults for those that cannot be found.
pub(super) fn resolve(config: &mut Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, client) in &mut config.clients {
        let Some(unix) = &mut client.unix else { continue };
        let Some(user) = unix.user.take() else { continue };
        let found = match unix.uid {
            Some(_) => Err("`uid` is given as well: keep one of the two".to_owned()),
            None => id_of("user", &user, FilePath::new("/etc/passwd")),
        };
        match found {
            Ok(uid) => unix.uid = Some(uid),
            Err(message) => faults.push(Fault::new(Path::of(["clients", name, "unix", "user"]), message)),
        }
    }
    if let Some(group) = &mut config.ingest.socket.group
        && group.parse::<u32>().is_err()
    {
        match id_of("group", group, FilePath::new("/etc/group")) {
            Ok(gid) => *group = gid.to_string(),
            Err(message) => faults.push(Fault::new(Path::of(["ingest", "socket", "group"]), message)),
        }
    }
    faults
}

/// The number of `name`: the third field of its line in `file`.
fn id_of(kind: &str, name: &str, file: &FilePath) -> Result<u32, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut lines = text.lines().map(|line| line.split(':'));
    let line = lines.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields));
    let id = line.and_then(|mut fields| fields.nth(1)?.parse().ok());
    id.ok_or_else(|| format!("{} has no {kind} `{name}`", file.display()))
}
