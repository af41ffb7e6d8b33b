#!/usr/bin/env bash
# What the README promises, on a machine that has never seen klamm: a minimal Debian 12 with a Rust toolchain, a clone of
# HEAD, and this machine's settings of package clients. `make fresh-check` calls it; it needs root.
#
#   STEPS=run,release,test   run: `make run`, its curl line pasted, ended by SIGTERM. release: scripts/build-release.sh.
#                            test: `make test`. Default: all three.
#   KEEP=1                   leaves the root in .cache/fresh-check/root
#
# Prints what was put in, what each step installed, and how long each took. Logs: .cache/fresh-check/STEP.log.
set -euo pipefail
source scripts/debian-root.sh

steps=${STEPS:-run,release,test}
work=.cache/fresh-check
root=$work/root
why=$(debian_missing)
if [[ -n $why ]]; then echo "fresh-check: $why" >&2; exit 1; fi
mkdir -p "$work" && chmod 700 "$work" # copies of settings of package clients lie there for a while
[[ ${KEEP:-} == 1 ]] || trap 'debian_remove "$root"' EXIT

in_clone() { DEBIAN_BIND=$toolchain:/opt/rust DEBIAN_PATH=/opt/rust/bin: debian_run "$root" bash -eu -o pipefail -c "cd /klamm; $1"; }
packages() { debian_run "$root" dpkg-query -W -f '${Package}\n' | sort; }
begin=$SECONDS

echo '== a minimal Debian 12'
toolchain=$(rustc --print sysroot)
debian_make "$root"
packages >"$work/packages"
echo "  $(wc -l <"$work/packages") packages (debootstrap --variant=minbase)"
echo '== put in'
echo "  /opt/rust: $(rustc --version)"
git clone --quiet --no-local . "$root/klamm"
echo "  /klamm: a clone of $(git rev-parse --short HEAD)"
echo '  /proc /dev /sys /etc/resolv.conf /etc/hosts'
debian_clients "$root"
echo "  $((SECONDS - begin)) s"

step() { # name, command
  local name=$1 code=0 begun=$SECONDS
  [[ ,$steps, == *,$name,* ]] || return 0
  echo "== $name"
  in_clone "$2" >"$work/$name.log" 2>&1 || code=$?
  packages >"$work/packages.$name"
  echo "  installed: $(comm -13 "$work/packages" "$work/packages.$name" | tr '\n' ' ' | fold -s -w 110 | sed '2,$s/^/    /')"
  mv "$work/packages.$name" "$work/packages"
  grep -E '^(setup: installing|fresh-check: |HTTP/1.1 |build-release: |[0-9]+ passed)' "$work/$name.log" | sed 's/^/  /' || true
  if [[ $code != 0 ]]; then
    tail -n 30 "$work/$name.log" | sed 's/^/  | /'
    echo "fresh-check: $name failed after $((SECONDS - begun)) s, see $work/$name.log"
    exit 1
  fi
  echo "  $((SECONDS - begun)) s"
}

# README's own words: Rust and make are there, the rest is make's business.
steps=make,$steps
step make 'apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make'

step run '
  make run >/tmp/run.log 2>&1 & make=$!
  until grep -q "^  curl -i" /tmp/run.log; do
    kill -0 $make 2>/dev/null || { cat /tmp/run.log; exit 1; }
    sleep 0.2
  done
  sleep 1
  cat /tmp/run.log
  sed -n "/^  curl -i/,/^ *$/p" /tmp/run.log >/tmp/curl.sh
  bash /tmp/curl.sh | tee /tmp/answer
  grep -q "^HTTP/1.1 200" /tmp/answer
  for process in /proc/[0-9]*; do
    [[ $(cat $process/comm 2>/dev/null) != klamm ]] || kill -TERM ${process#/proc/}
  done
  wait $make
  printf "\n%s\n" "fresh-check: make run ended with 0 after SIGTERM"'

step release '
  scripts/build-release.sh /tmp/out
  /tmp/out/klamm version'

step test '
  make test 2>&1 | tee /tmp/test.log
  awk "/^test result:/ { passed += \$4; failed += \$6; ignored += \$8 }
    END { print passed \" passed, \" failed \" failed, \" ignored \" ignored\" }" /tmp/test.log'

echo "fresh-check: $steps done in $((SECONDS - begin)) s"
