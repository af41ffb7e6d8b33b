#!/usr/bin/env bash
# The Debian package in a Debian 12 that has nothing else: installed over an older one, run, removed and purged, with a
# spool that is empty and with one that is not. What is asserted is in inside/deb.sh, which runs in there as root.
set -euo pipefail
source scripts/debian-root.sh

why=$(debian_missing)
if [[ -n $why ]]; then echo "$why"; exit 77; fi
package=$(ls target/debian/klamm_*.deb)
work=target/test-deploy/deb
root=$work/root
trap 'debian_remove "$root"' EXIT
mkdir -p "$work"

# The same package under another version, with another default config.
repacked() { # version
  rm -rf "$work/tree"
  dpkg-deb -R "$package" "$work/tree"
  sed -i "s/^Version: .*/Version: $1/" "$work/tree/DEBIAN/control"
  echo "# the default config of $1" >>"$work/tree/etc/klamm/klamm.yaml"
  dpkg-deb --root-owner-group -b "$work/tree" "$root/packages/klamm-$1.deb"
}

debian_make "$root"
debian_apt "$root"
mkdir "$root/packages"
cp "$package" "$root/packages/klamm.deb"
repacked 0.0.9-1
cp tests/deploy/inside/deb.sh "$root/packages/"
debian_run "$root" bash /packages/deb.sh
