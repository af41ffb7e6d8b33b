//! Certificates for the brokers, made by the `openssl` command: nothing secret or expiring in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// PEM files in the cluster's directory.
pub(super) struct Certificates {
    /// The CA that signed the brokers' certificate.
    pub(super) ca: PathBuf,
    /// Another one.
    pub(super) unknown_ca: PathBuf,
    /// Key, certificate and CA in one file, as Kafka's `ssl.keystore.location` wants it.
    pub(super) server: PathBuf,
}

const EC: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Certificates {
    /// For 127.0.0.1 and localhost.
    pub(super) fn make(dir: &Path) -> Self {
        for ca in ["ca", "unknown-ca"] {
            let (key, file, subject) = (format!("{ca}.key"), format!("{ca}.pem"), format!("/CN=klamm test {ca}"));
            openssl(dir, &["req", "-x509", "-days", "3650", "-subj", &subject, "-keyout", &key, "-out", &file], &EC);
        }
        openssl(dir, &["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"], &EC);
        fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("a file");
        let sign = ["x509", "-req", "-in", "server.csr", "-out", "server.crt", "-days", "3650", "-extfile", "names"];
        openssl(dir, &sign, &["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]);
        let parts = ["server.key", "server.crt", "ca.pem"].map(|name| fs::read(dir.join(name)).expect("a PEM file"));
        let server = dir.join("server.pem");
        fs::write(&server, parts.concat()).expect("a file");
        Self { ca: dir.join("ca.pem"), unknown_ca: dir.join("unknown-ca.pem"), server }
    }
}

fn openssl(dir: &Path, arguments: &[&str], more: &[&str]) {
    let output = Command::new("openssl").args(arguments).args(more).current_dir(dir).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
