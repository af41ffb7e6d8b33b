# Debian 12 roots for `make fresh-check` and `make test-deploy`. To be sourced by bash; needs root and debootstrap.
#
# Owns .cache/debian-12-*.tar, the root as debootstrap makes it, fetched once from the mirror that this machine's apt
# uses. Nothing stays mounted or running: what runs in a root has mount and process namespaces of its own.
#
#   debian_missing          prints what is missing to make one, nothing if all is there
#   debian_make DIR         DIR becomes a minimal Debian 12 (what was there is removed)
#   debian_apt DIR          this machine's settings of apt go in, and its certificates; prints what it put in
#   debian_clients DIR      the same, and the settings of cargo, Maven and npm
#   debian_run DIR CMD...   runs CMD in it, with /proc, /dev, /sys and the mounts of DEBIAN_BIND ("from:to ...", read-only)
#   debian_remove DIR       away with it

DEBIAN_SUITE=bookworm
DEBIAN_BASE=.cache/debian-12-$(dpkg --print-architecture 2>/dev/null || echo unknown).tar

# Variables that say where certificates and mirrors are, and no others, go on into a root.
DEBIAN_VARIABLES='^(SSL_CERT_FILE|SSL_CERT_DIR|CURL_CA_BUNDLE|NODE_EXTRA_CA_CERTS|GIT_SSL_CAINFO|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|CARGO_(HTTP|NET|REGISTR|SOURCE)[A-Z_]*|(NPM_CONFIG|npm_config)_[A-Za-z_]*|MAVEN_(ARGS|OPTS))='

# The mirror of this machine's apt that has the suite.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite="$DEBIAN_SUITE" '$2 == suite && $3 == "main" { print $1; exit }'
}

debian_missing() {
  if [[ $(id -u) != 0 ]]; then
    echo 'needs root'
  elif ! command -v debootstrap >/dev/null; then
    echo 'no debootstrap'
  elif [[ ! -f $DEBIAN_BASE && -z $(debian_mirror) ]]; then
    echo "no apt source with $DEBIAN_SUITE"
  elif ! unshare --mount --pid --fork true 2>/dev/null; then
    echo 'may not make namespaces'
  fi
}

debian_base() {
  [[ ! -f $DEBIAN_BASE ]] || return 0
  local part=$DEBIAN_BASE.part
  echo "debian-root: debootstrapping Debian 12 from the mirror of this machine's apt"
  debian_remove "$part.d" && mkdir -p "$part.d"
  # In a mount namespace, as debootstrap mounts /proc there.
  if ! unshare --mount --pid --fork --kill-child debootstrap --variant=minbase "$DEBIAN_SUITE" "$part.d" "$(debian_mirror)" >"$part.log" 2>&1; then
    tail -n 20 "$part.log" >&2
    return 1
  fi
  rm -rf "$part.d"/var/cache/apt/archives/*.deb
  tar --one-file-system --numeric-owner -C "$part.d" -cf "$part" .
  debian_remove "$part.d" && rm "$part.log"
  mv "$part" "$DEBIAN_BASE"
}

debian_make() {
  local root=$1
  debian_base || return 1
  debian_remove "$root" && mkdir -p "$root"
  tar --numeric-owner -C "$root" -xpf "$DEBIAN_BASE"
  install -m 644 /etc/resolv.conf /etc/hosts "$root/etc/"
}

# Copies a file or folder of this machine to the same place.
debian_put() {
  local root=$1 path
  shift
  for path in "$@"; do
    [[ -e $path ]] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -aL "$path" "$root$(dirname "$path")/"
    echo "  $path"
  done
}

debian_apt() {
  local root=$1 file
  # The apt settings that are this machine's own: what packages brought may call programs that are not there.
  for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    [[ ! -f $file ]] || dpkg -S "$file" >/dev/null 2>&1 || debian_put "$root" "$file"
  done
  rm -f "$root/etc/apt/sources.list"
  debian_put "$root" /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/preferences.d /etc/apt/auth.conf \
    /etc/apt/auth.conf.d /etc/apt/keyrings /etc/apt/trusted.gpg.d \
    /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt
}

debian_clients() {
  local root=$1
  debian_apt "$root"
  debian_put "$root" /etc/npmrc "$HOME/.npmrc" "$HOME/.m2/settings.xml" "$HOME/.m2/settings-security.xml" \
    "$HOME/.cargo/config.toml" "$HOME/.cargo/config" "$HOME/.cargo/credentials.toml"
  env | grep -E "$DEBIAN_VARIABLES" | cut -d= -f1 | sed 's/^/  variable /' || true
}

# The root stays a folder of this machine's disk; everything mounted into it ends with the namespace.
debian_run() {
  local root=$1
  shift
  local kept
  mapfile -t kept < <(env | grep -E "$DEBIAN_VARIABLES")
  DEBIAN_ROOT=$root unshare --mount --pid --fork --kill-child bash -eu -c '
    root=$(realpath "$DEBIAN_ROOT")
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    for pair in ${DEBIAN_BIND:-}; do
      mkdir -p "$root${pair#*:}"
      mount --bind "${pair%%:*}" "$root${pair#*:}"
      mount -o remount,bind,ro "$root${pair#*:}"
    done
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 PATH="${DEBIAN_PATH:-}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
  ' debian_run "${kept[@]}" "$@"
}

# Refuses where something is mounted below it, so that a removal never reaches outside.
debian_remove() {
  local root
  root=$(realpath -m "$1")
  if grep -qF " $root/" /proc/self/mounts; then
    echo "debian-root: something is mounted below $root" >&2
    return 1
  fi
  rm -rf --one-file-system "$root"
}
