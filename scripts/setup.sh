#!/usr/bin/env bash
# Checks what the named parts of the build need; installs missing Debian packages where it may, else says which.
#
#   scripts/setup.sh [build] [lint] [test] [npm] [callgrind] [deb] [deploy]
#
# Exit 0: everything is there. Exit 1: something is missing that it cannot or may not install; it says what.
# It never installs a Rust toolchain and never changes anything when nothing is missing.
set -euo pipefail

readonly RUST_MINOR=90 # rust-version in Cargo.toml: 1.90
readonly JAVA_MAJOR=17 # what Kafka 4 brokers need
missing=()             # Debian packages
faults=()              # what no package mends

has() { command -v "$1" >/dev/null 2>&1; }
need() { has "$1" || missing+=("$2"); } # command, package

check_rust() {
  local how='install Rust 1.90 or newer: see https://rustup.rs (then: rustup update stable)'
  if ! has cargo || ! has rustc; then
    faults+=("no Rust toolchain in PATH; $how")
    return
  fi
  local version minor
  version=$(rustc --version | awk '{ print $2 }')
  minor=$(cut -d. -f2 <<<"$version")
  if [[ $version != 1.* || $minor -lt $RUST_MINOR ]]; then
    faults+=("Rust $version is too old; $how")
  fi
}

# librdkafka is compiled from source: a C and C++ compiler, make, perl; OpenSSL's headers by pkg-config.
check_build() {
  check_rust
  need cc gcc
  need c++ g++
  need make make
  need perl perl
  need pkg-config pkg-config
  need curl curl
  if ! has pkg-config || ! pkg-config --exists libssl; then missing+=(libssl-dev); fi
}

check_lint() {
  has cargo || return 0
  cargo fmt --version >/dev/null 2>&1 || faults+=('no rustfmt: rustup component add rustfmt')
  cargo clippy --version >/dev/null 2>&1 || faults+=('no clippy: rustup component add clippy')
}

java_major() {
  has java || { echo 0; return; }
  java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1
}

# A real Kafka: a Java runtime, Maven for its jars, openssl for the certificates, setpriv to end it with the tests;
# kill and strace, the latter to count system calls; systemd's check of units; HAProxy as a second reader of the same
# requests (where only root's PATH may lead); Prometheus and promtool for the rules and dashboards; docker-compose to read
# deploy/compose.yaml; Chromium to look at the live page.
check_test() {
  local major
  major=$(java_major)
  if [[ ${major:-0} -lt $JAVA_MAJOR ]]; then missing+=("$(java_package)"); fi
  need mvn maven
  need openssl openssl
  need setpriv util-linux
  [[ -x /bin/kill ]] || missing+=(procps) # the shell has one of its own
  need strace strace
  need systemd-analyze systemd
  need chromium chromium
  [[ -x /usr/sbin/haproxy ]] || need haproxy haproxy
  need promtool prometheus
  need docker-compose docker-compose
}

java_package() {
  local name
  for name in openjdk-17-jre-headless openjdk-21-jre-headless; do
    if has apt-cache && [[ -n $(apt-cache policy "$name" 2>/dev/null | grep -E 'Candidate: [0-9]') ]]; then
      echo "$name"
      return
    fi
  done
  echo default-jre-headless
}

check_npm() { need npm npm; }

check_callgrind() { need valgrind valgrind; }

# The libraries that the package depends on, from the binary.
check_deb() { need dpkg-shlibdeps dpkg-dev; }

# What checks the Helm chart (helm itself is built from its Go module, where there is a Go), and a Debian 12 to install
# things in, where this may be made (only root can, and only root's PATH may lead there).
check_deploy() {
  need npm npm
  need promtool prometheus
  need curl curl
  if ! has python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then missing+=(python3-venv); fi
  [[ $(id -u) == 0 ]] || return 0
  [[ -x /usr/sbin/debootstrap ]] || need debootstrap debootstrap
  need buildah buildah
  need ip iproute2
  need setpriv util-linux
}

check() {
  missing=()
  faults=()
  local part
  for part in "$@"; do
    case $part in
      build | lint | test | npm | callgrind | deb | deploy) "check_$part" ;;
      *) echo "setup: unknown part '$part' (build, lint, test, npm, callgrind, deb, deploy)" >&2; exit 1 ;;
    esac
  done
}

as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
  has apt-get || return 1
  [[ $(id -u) == 0 ]] || { has sudo && sudo -n true 2>/dev/null; }
}

check "$@"
if [[ ${#faults[@]} -gt 0 ]]; then
  printf 'setup: %s\n' "${faults[@]}" >&2
  exit 1
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  if ! may_install; then
    echo "setup: missing, and may not install them: ${missing[*]}" >&2
    echo "setup: on Debian or Ubuntu: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  as_root apt-get update -qq
  check "$@" # now that the package lists are there: which Java
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  check "$@"
fi
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "setup: still missing after the installation: ${missing[*]}" >&2
  exit 1
fi
