//! The Debian package's own files. It is installed and run by `make test-deploy`, which needs root.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use klamm::config::load::{Source, load};
use klamm::config::validate::is_no_broker;

use crate::support::gateway::binary;

fn in_tree(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_tree(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn its_config_lacks_a_broker_and_nothing_else() {
    let mut source = Source { file: Some(in_tree("deploy/debian/klamm.yaml")), ..Source::default() };
    let faults = load(&source).expect_err("no broker is named").0;
    assert!(faults.len() == 1 && is_no_broker(&faults[0]), "{faults:?}");
    source.flags = vec![("kafka.default.bootstrap".into(), "[k:9092]".into())];
    assert_eq!(load(&source).expect("valid").warnings, Vec::<String>::new());
}

/// The unit asks of its config what it will serve with, so that a machine without a broker is no failure.
#[test]
fn its_unit_starts_only_where_a_broker_is_named() {
    let unit = read("deploy/systemd/klamm.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).expect("is there").to_owned();
    let (condition, start) = (value("ExecCondition="), value("ExecStart="));
    assert_eq!(condition.replace("check --broker", "serve"), start);
    let asked = |config: &str| {
        let words: Vec<_> =
            condition.split(' ').skip(1).map(|word| word.replace("/etc/klamm/klamm.yaml", config)).collect();
        let file = in_tree(config).display().to_string();
        let words = words.iter().map(|word| if word == config { &file } else { word });
        Command::new(binary()).args(words).output().expect("runs").status.code()
    };
    assert_eq!(asked("deploy/debian/klamm.yaml"), Some(1));
    assert_eq!(asked("config/klamm.yaml"), Some(0));
}

/// Every file that the package takes from the tree is there, and no unit is left out.
#[test]
fn its_files_are_in_the_tree() {
    let manifest = read("Cargo.toml");
    let sources: BTreeSet<_> = manifest
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next())
        .filter(|source| !source.starts_with("target/"))
        .collect();
    assert!(sources.len() >= 8, "{sources:?}");
    for source in sources {
        let (dir, name) = source.rsplit_once('/').unwrap_or((".", source));
        let has = |entry: fs::DirEntry| {
            let file = entry.file_name().into_string().expect("plain");
            name.strip_prefix('*').map_or(file == name, |end| file.ends_with(end))
        };
        let mut entries = fs::read_dir(in_tree(dir)).unwrap_or_else(|error| panic!("{dir}: {error}"));
        assert!(entries.any(|entry| has(entry.expect("read"))), "{source}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let path = in_tree("deploy/debian").join(script);
        let checked = Command::new("sh").arg("-n").arg(&path).status().expect("sh runs");
        assert!(checked.success() && read(&format!("deploy/debian/{script}")).contains("\nset -e\n"), "{script}");
    }
}
