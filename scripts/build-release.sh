#!/usr/bin/env bash
# Builds the klamm that is shipped: by the Debian package, by the container image, and by hand.
#
#   scripts/build-release.sh [--vendored-tls] OUTDIR
#
# Run in the source's root on Debian 12 or newer with a Rust toolchain: writes OUTDIR/klamm, release profile, with the
# live page, exactly the crates of Cargo.lock. Function names stay in the binary, line tables do not.
# --vendored-tls: OpenSSL is compiled in (some minutes more), the binary needs no libssl3.
# It installs nothing but what scripts/setup.sh finds missing. CARGO_TARGET_DIR is heeded.
set -euo pipefail

features=klamm/ui
if [[ ${1:-} == --vendored-tls ]]; then
  features+=,klamm/vendored-tls
  shift
fi
if [[ $# != 1 || $1 == -* || ! -f Cargo.lock ]]; then
  echo 'usage, in the root of the source: scripts/build-release.sh [--vendored-tls] OUTDIR' >&2
  exit 2
fi
out=$1

scripts/setup.sh build npm
make --silent --no-print-directory uplot
cargo build --locked --release --features "$features" --bin klamm
mkdir -p "$out"
strip --strip-debug -o "$out/klamm" "${CARGO_TARGET_DIR:-target}/release/klamm"
echo "build-release: $out/klamm, $(stat -c %s "$out/klamm") bytes"
