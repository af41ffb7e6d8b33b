#!/usr/bin/env bash
# The image: the Dockerfile, built by Debian's buildah without a container engine from a debootstrapped Debian 12, then
# run as its user with a read-only root file system. Where buildah cannot work, the build stage's scripts run in that Debian.
#
# What was compiled stays in target/test-deploy/image/cache.
set -euo pipefail
source scripts/debian-root.sh

why=$(debian_missing)
if [[ -n $why ]]; then echo "$why"; exit 77; fi
command -v ip >/dev/null || { echo 'no ip (Debian: iproute2), for a network of its own'; exit 77; }
readonly WORK=target/test-deploy/image BASE=localhost/debian-12-rust
root=$WORK/root
image=$WORK/image
buildah=(buildah --root "$PWD/$WORK/storage" --runroot "$WORK/run" --storage-driver vfs)
trap 'debian_remove "$root"; debian_remove "$image"; rm -rf "$WORK/storage" "$WORK/run"' EXIT
mkdir -p "$WORK/cache"
rm -rf "$WORK/storage" "$WORK/run"
variables=(PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/cache/cargo CARGO_TARGET_DIR=/cache/target)

fail() { echo "image: $*" >&2; exit 1; }

# What the image of Rust brings: a Debian 12, a toolchain; and this machine's settings of package clients.
debian_make "$root"
debian_clients "$root" >/dev/null
cp -a "$(rustc --print sysroot)" "$root/opt/rust"

works() {
  command -v buildah >/dev/null || { echo 'no buildah'; return 1; }
  local container setting
  container=$("${buildah[@]}" from scratch)
  "${buildah[@]}" copy --quiet "$container" "$root" / >/dev/null
  while read -r setting; do variables+=("$setting"); done < <(env | grep -E "$DEBIAN_VARIABLES")
  for setting in "${variables[@]}"; do "${buildah[@]}" config --env "$setting" "$container"; done
  "${buildah[@]}" run --isolation chroot "$container" -- rustc --version &&
    "${buildah[@]}" commit --quiet --rm "$container" $BASE
}

by_buildah() {
  "${buildah[@]}" build --isolation chroot --format docker --pull-never --volume "$PWD/$WORK/cache:/cache" \
    --build-arg RUST_IMAGE=$BASE --build-arg REVISION=tested -f deploy/docker/Dockerfile --tag localhost/klamm .
  local container config
  config=$("${buildah[@]}" inspect --type image localhost/klamm | tr -d ' \n')
  for part in '"User":"65532:65532"' '"8080/tcp"' '"probe","--ready"' '"org.opencontainers.image.revision":"tested"'; do
    [[ $config == *"$part"* ]] || fail "the image does not say $part"
  done
  container=$("${buildah[@]}" from --pull-never localhost/klamm)
  debian_remove "$image"
  cp -a "$("${buildah[@]}" mount "$container")" "$image"
}

# The same without buildah: what the Dockerfile copies, and what it runs.
by_hand() {
  local from to
  while read -r _ from; do
    to=${from##* }
    for from in ${from% *}; do mkdir -p "$root/src/$(dirname "$from")" && cp -a "$from" "$root/src/${to%/}"; done
  done < <(grep '^COPY [^-]' deploy/docker/Dockerfile)
  mkdir -p "$root/cache" && cp -a "$WORK/cache/." "$root/cache/"
  while read -r _ from; do
    debian_run "$root" env "${variables[@]}" bash -euc "cd /src; $from" </dev/null
  done < <(grep '^RUN ' deploy/docker/Dockerfile)
  rm -rf "$WORK/cache" && mv "$root/cache" "$WORK/cache"
  debian_remove "$image"
  mv "$root/image" "$image"
}

# As its user, nothing writable but the volume of the spool, in a network of its own; Kafka is not there.
run() {
  local found
  found=$(find "$image" \( -name '*sh' -o -name 'apt*' -o -name busybox -o -name perl \) -type f)
  [[ -z $found ]] || fail "not without a shell: $found"
  [[ $(stat -c %u:%g "$image/var/lib/klamm") == 65532:65532 ]] || fail 'the spool is not of its user'
  found=$(find "$image" -xdev \( -user 65532 -o -perm -o+w \) ! -type l ! -path "$image/var/lib/klamm*" ! -path "$image/run/klamm*")
  [[ -z $found ]] || fail "its user could write to $found"
  IMAGE=$image unshare --mount --net --pid --fork --kill-child bash tests/deploy/inside/image.sh
}

how='by buildah --isolation chroot'
if works >"$WORK/buildah.log" 2>&1; then by_buildah; else
  how="by its scripts (buildah cannot: $(tail -n 1 "$WORK/buildah.log"))"
  by_hand
fi
run
echo "built $how in Debian 12, $(du -sm "$image" | cut -f1) MB, runs as 65532 on a read-only root"
