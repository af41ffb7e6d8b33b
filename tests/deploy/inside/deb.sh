# The Debian package, asserted from inside a minimal Debian 12 without systemd. Run by ../deb.sh; ends at the first
# assertion that does not hold. systemd does not run: `systemctl` is wrapped, writes down what it is asked, enables units
# as it would, and starts none.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
spool=/var/lib/klamm/spool
asserted=0

holds() { # what, command...
  local what=$1
  shift
  if ! "$@"; then echo "does not hold: $what ($*)"; exit 1; fi
  asserted=$((asserted + 1))
  echo "holds: $what"
}
fails() { local what=$1; shift; holds "$what" not "$@"; }
not() { ! "$@"; }
says() { grep -qE -- "$1" "$2" || { cat "$2"; return 1; }; } # pattern, file
apt() { apt-get -y -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef "$@"; }
until_says() { # pattern, file: within 30 s
  for _ in $(seq 300); do grep -qE -- "$1" "$2" && return; sleep 0.1; done
  cat "$2"
  return 1
}
as_klamm() { runuser -u klamm -- "$@"; }
# What the unit runs at this key, without systemd.
of_unit() { sed -n "s/^$1=//p" /usr/lib/systemd/system/klamm.service; }
# A klamm in the background as the user klamm. Sets `pid`, and `log`.
start() {
  log=/tmp/$2.log
  setpriv --reuid klamm --regid klamm --init-groups "$@" >"$log" 2>&1 &
  pid=$!
}
stop() { # exits 0
  kill -TERM "$pid"
  wait "$pid"
}

echo '== install an older package'
apt-get update -qq
apt install --no-install-recommends curl man-db bash-completion systemd >/tmp/others.log 2>&1
mv /usr/bin/systemctl /usr/bin/systemctl.real
cat >/usr/bin/systemctl <<'WRAP'
#!/bin/sh
echo "$*" >>/tmp/systemctl.log
case "$*" in
  *is-active*) exit 3 ;;
  *preset* | *enable* | *disable*) SYSTEMD_OFFLINE=1 exec systemctl.real "$@" ;;
esac
WRAP
chmod 755 /usr/bin/systemctl
mkdir -p /run/systemd/system
: >/tmp/systemctl.log
apt install --no-install-recommends /packages/klamm-0.0.9-1.deb >/tmp/install.log 2>&1 || { cat /tmp/install.log; exit 1; }
depends=$(dpkg-query -W -f '${Depends}' klamm)
echo "depends: $depends"
for needed in 'libc6 (>=' 'libssl3 (>=' adduser; do
  holds "depends on $needed" test "${depends#*"$needed"}" != "$depends"
done
holds 'no library is missing' not grep -q 'not found' <(ldd /usr/bin/klamm)
holds 'the user klamm is there, without a shell' grep -q '^klamm:.*:/var/lib/klamm:/usr/sbin/nologin$' /etc/passwd
holds 'its directory is its own' test "$(stat -c '%U:%G %a' /var/lib/klamm)" = 'klamm:klamm 750'
for file in /etc/klamm/klamm.yaml /usr/lib/systemd/system/klamm.service /usr/lib/systemd/system/klamm.socket \
  /usr/lib/systemd/system/klamm-admin.socket /usr/share/doc/klamm/copyright \
  /usr/share/zsh/vendor-completions/_klamm /usr/share/fish/vendor_completions.d/klamm.fish; do
  holds "$file is there" test -f "$file"
done
holds 'the config is a conffile' grep -qx /etc/klamm/klamm.yaml /var/lib/dpkg/info/klamm.conffiles
holds 'the unit is enabled' test -L /etc/systemd/system/multi-user.target.wants/klamm.service
fails 'the sockets are not' test -e /etc/systemd/system/sockets.target.wants/klamm.socket
holds 'systemd is asked to start it' says 'start .*klamm.service' /tmp/systemctl.log

echo '== manual and completions'
pages=0
for page in /usr/share/man/man1/klamm*.1.gz; do
  man --warnings -E UTF-8 -l "$page" >/tmp/page 2>/tmp/warnings
  holds "$page renders" grep -q klamm /tmp/page
  holds "$page gives no warning" test ! -s /tmp/warnings
  pages=$((pages + 1))
done
holds 'each command has a page' test "$pages" -gt 10
holds 'man finds it' grep -q 'klamm - HTTP ingest gateway' <(man klamm | tr -s ' ')
completed=$(bash -c 'source /usr/share/bash-completion/bash_completion
  _comp_load klamm 2>/dev/null || __load_completion klamm
  COMP_WORDS=(klamm se) COMP_CWORD=1; $(complete -p klamm | sed "s/.*-F \([^ ]*\).*/\1/") klamm se klamm; echo "${COMPREPLY[*]}"')
holds "bash completes se to serve" test "$completed" = serve

echo '== before a broker is named'
holds 'the package says how to go on' says 'names a broker; then: systemctl start klamm' /tmp/install.log
condition=$(of_unit ExecCondition)
holds 'the unit has a condition' test -n "$condition"
fails 'which does not hold' as_klamm $condition
holds 'klamm would refuse to serve, with the exit code for a faulty config' \
  test "$(as_klamm $(of_unit ExecStart) >/dev/null 2>&1; echo $?)" = 78

echo '== after'
key=$(klamm keys new --client shop >/tmp/key.txt 2>&1 && grep -oE 'klamm_[A-Za-z0-9_-]+' /tmp/key.txt | head -n 1)
digest=$(grep -oE '[0-9a-f]{64}' /tmp/key.txt | head -n 1)
cat >/etc/klamm/klamm.yaml <<YAML
ingest: { listen: 127.0.0.1:18180 }
admin: { listen: 127.0.0.1:18181 }
shutdown: { lame_duck: 0s, flush: 2s }
kafka: { default: { bootstrap: ["127.0.0.1:1"] } }
spool: { dir: $spool, total: 16MiB, segment: 1MiB }
clients:
  shop: { keys: [{ label: test, sha256: $digest }], topics: [orders] }
topics:
  orders: { ack: spool }
YAML
cp /etc/klamm/klamm.yaml /tmp/edited.yaml
holds 'the condition holds' as_klamm $condition

echo '== upgrade'
apt install /packages/klamm.deb >/tmp/upgrade.log 2>&1 || { cat /tmp/upgrade.log; exit 1; }
holds 'the newer one is installed' test "$(dpkg-query -W -f '${Version}' klamm)" != 0.0.9-1
holds 'the edited config is as it was' cmp /etc/klamm/klamm.yaml /tmp/edited.yaml
holds 'the new default lies beside it' test -f /etc/klamm/klamm.yaml.dpkg-dist
holds 'klamm is restarted' says 'restart .*klamm.service' /tmp/systemctl.log
fails 'nothing is said about a broker' grep -q 'names a broker' /tmp/upgrade.log

echo '== klamm dev, as the user klamm'
start klamm dev
until_says 'curl -i' "$log"
sed -n '/^  curl -i/,/^$/p' "$log" >/tmp/curl.sh
bash /tmp/curl.sh >/tmp/answer 2>/dev/null
holds 'its curl line answers 200' says '^HTTP/1.1 200' /tmp/answer
holds 'it ends with 0 by SIGTERM' stop

echo '== klamm serve, as the unit starts it; no broker is there'
start $(of_unit ExecStart)
for _ in $(seq 100); do klamm probe --live --admin http://127.0.0.1:18181 >/dev/null 2>&1 && break; sleep 0.1; done
post() {
  curl -s -o /tmp/answer -w '%{http_code}' http://127.0.0.1:18180/v1/topics/orders/events \
    -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d '[{"n":1},{"n":2},{"n":3}]'
}
holds 'three events are taken with 202' test "$(post)" = 202
holds 'it ends by SIGTERM' stop
waiting() { klamm spool ls --dir "$spool"; }
holds 'they lie in the spool' grep -q '^3 events' <(waiting)

echo '== remove, with a spool that is not empty'
cp -a "$spool" /tmp/spool.before
apt remove klamm >/tmp/remove.log 2>&1
fails 'the binary is gone' test -e /usr/bin/klamm
holds 'systemd is asked to stop it' says 'stop .*klamm.service' /tmp/systemctl.log
holds 'the config stays' cmp /etc/klamm/klamm.yaml /tmp/edited.yaml
holds 'it is said where the spool is' says "the spool in $spool is not empty; it stays there" /tmp/remove.log
holds 'the spool is as it was' diff -r "$spool" /tmp/spool.before

echo '== purge'
apt purge klamm >/tmp/purge.log 2>&1
fails 'the config is gone' test -e /etc/klamm/klamm.yaml
fails 'no unit is left enabled' test -e /etc/systemd/system/multi-user.target.wants/klamm.service
holds 'it is said where the spool is' says "the spool in $spool may hold events that Kafka does not have" /tmp/purge.log
holds 'the spool is as it was' diff -r "$spool" /tmp/spool.before

echo '== install again, and send what was left'
apt install /packages/klamm.deb >/tmp/again.log 2>&1
holds 'the events are still there' grep -q '^3 events' <(waiting)
holds 'the directory is still klamm'"'"'s' test "$(stat -c %U "$spool")" = klamm
start klamm dev
until_says 'curl -i' "$log"
ingest=$(grep -oE 'http://127.0.0.1:[0-9]+/v1' "$log" | head -n 1)
admin=$(grep -oE 'http://127.0.0.1:[0-9]+/metrics' "$log" | head -n 1)
curl -sf "$ingest/topics/orders/events" -H 'Authorization: Bearer dev' -H 'Content-Type: application/json' -d '{}' >/dev/null
broker=$(curl -sf "${admin%/metrics}/admin/config" | tr -d ' \n' | grep -oE '"bootstrap":\["[^"]+"' | grep -oE '127[0-9.:]+')
holds 'klamm spool drain sends them' as_klamm klamm spool drain --config /tmp/edited.yaml --set "kafka.default.bootstrap=[$broker]"
stop
holds 'the spool is empty' klamm spool ls --exit-code --dir "$spool"

echo '== remove and purge, with an empty spool'
holds 'there are files of it' grep -q seg <(ls "$spool")
apt remove klamm >/tmp/remove.log 2>&1
holds 'remove takes nothing' grep -q seg <(ls "$spool")
fails 'and says nothing of it' grep -q spool /tmp/remove.log
apt purge klamm >/tmp/purge.log 2>&1
fails 'purge takes the directory' test -e /var/lib/klamm
fails 'nothing is left of what the removal found' test -e /var/lib/misc/klamm.spools

echo '== purge at once, with what only people can judge'
apt install /packages/klamm.deb >/tmp/again.log 2>&1
bad=00000000000000000001-0-00000000.bad
install -d -o klamm "$spool" /srv/spool && echo damaged | tee "$spool/$bad" >"/srv/spool/$bad"
sed "s|dir: $spool|dir: /srv/spool|" /tmp/edited.yaml >/etc/klamm/klamm.yaml
apt purge klamm >/tmp/purge.log 2>&1
for dir in "$spool" /srv/spool; do
  holds "$dir stays" grep -q damaged "$dir/$bad"
  holds 'remove says where' says "the spool in $dir is not empty" /tmp/purge.log
  holds 'purge says where' says "the spool in $dir (may hold|holds)" /tmp/purge.log
done

echo '== written to after the removal'
rm -r /var/lib/klamm
apt install /packages/klamm.deb >/tmp/again.log 2>&1
cp -a /tmp/spool.before "$spool" && rm "$spool"/*.seg
apt remove klamm >/dev/null 2>&1
sleep 0.1
for file in /tmp/spool.before/*.seg; do cp "$file" "$spool/"; done
apt purge klamm >/tmp/purge.log 2>&1
holds 'it stays' grep -q seg <(ls "$spool")
holds 'it is said where' says "the spool in $spool may hold" /tmp/purge.log
echo "$asserted assertions held"
