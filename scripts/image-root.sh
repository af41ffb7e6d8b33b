#!/usr/bin/env bash
# Lays out the root file system of klamm's image: the program and what it needs of this Debian, nothing else.
#
#   scripts/image-root.sh KLAMM DIRECTORY    as root, on Debian 12; DIRECTORY must not exist
#
# The libraries are those that the program links (`ldd`): glibc, libgcc, and OpenSSL unless it is linked statically. Their
# licences come along. Name resolution needs no further library: glibc has files and DNS built in.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly UID_GID=65532 # of the user klamm, the one that images without a shell commonly have
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

program=$1
root=$2
[[ ! -e $root ]] || { echo "image-root: $root exists" >&2; exit 1; }
if [[ ! -e $CERTIFICATES ]]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates
fi

put() { install -D -m "$1" "$2" "$root$3"; } # mode, from, to

licence_of() {
  local package
  # With /lib a link to /usr/lib, a package may know the file by either name.
  package=$(dpkg-query -S "$1" "$(realpath "$1")" 2>/dev/null | head -n 1 | cut -d: -f1) || true
  [[ -n $package ]] || { echo "image-root: $1 is of no package" >&2; exit 1; }
  put 0644 "/usr/share/doc/$package/copyright" "/usr/share/doc/$package/copyright"
}

libraries() {
  local found
  found=$(ldd "$program")
  if grep -q 'not found' <<<"$found"; then echo "image-root: $found" >&2; exit 1; fi
  grep -o '/[^ ]*' <<<"$found"
}

install -d -m 0755 "$root"
put 0755 "$program" /usr/bin/klamm
put 0644 LICENSE /usr/share/doc/klamm/LICENSE
for library in $(libraries); do
  put 0755 "$(realpath "$library")" "$library"
  licence_of "$library"
done

# Where OpenSSL looks unless the config names certificates.
put 0644 "$CERTIFICATES" "$CERTIFICATES"
licence_of /usr/sbin/update-ca-certificates
install -d -m 0755 "$root/usr/lib/ssl"
ln -s "$CERTIFICATES" "$root/usr/lib/ssl/cert.pem"
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"

printf 'root:x:0:0:root:/:/none\nklamm:x:%s:%s:klamm:/var/lib/klamm:/none\n' "$UID_GID" "$UID_GID" >"$root/etc/passwd"
printf 'root:x:0:\nklamm:x:%s:\n' "$UID_GID" >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
put 0644 deploy/docker/00-image.yaml /etc/klamm/00-image.yaml
install -d -m 0750 -o "$UID_GID" -g "$UID_GID" "$root/var/lib/klamm"
install -d -m 0755 -o "$UID_GID" -g "$UID_GID" "$root/run/klamm"

echo "image-root: $(find "$root" -type f | wc -l) files, $(du -sm "$root" | cut -f1) MB"
