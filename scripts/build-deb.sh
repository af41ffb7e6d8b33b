#!/usr/bin/env bash
# Builds target/debian/klamm_*.deb: the binary of scripts/build-release.sh, with manual pages and completions that it
# prints itself. `make deb` calls it; it needs cargo-deb. Arguments go to cargo-deb, e.g. --deb-revision 2.
set -euo pipefail

stage=target/deb
scripts/build-release.sh "$stage"
rm -rf "$stage/man" "$stage/completions"
mkdir -p "$stage/man" "$stage/completions"
"$stage/klamm" man --dir "$stage/man"
for shell in bash fish zsh; do
  "$stage/klamm" completions "$shell" >"$stage/completions/klamm.$shell"
done
rm -f target/debian/klamm_*.deb
PATH=$PWD/.cache/tools/bin:$PATH cargo deb --no-build --locked --strip "$@"
