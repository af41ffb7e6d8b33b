# Run by tests/deploy/sidecar.sh, with mounts, a network and processes of its own.
set -euo pipefail
example=deploy/examples/sidecar.yaml
group=$(sed -n 's/^ *fsGroup: \([0-9]*\).*/\1/p' $example)
mount --make-rprivate /
mount -t tmpfs -o mode=0755 run /run
mkdir /run/klamm /run/config
mount -t tmpfs -o "uid=0,gid=$group,mode=2777" empty-dir /run/klamm
sed -n '/^  klamm.yaml: |/,/^---/{ /^    /s/^    //p }' $example >/run/config/klamm.yaml
ip link set lo up

fail() { echo "sidecar: $*" >&2; exit 1; }
confined=(--no-new-privs --bounding-set=-all --inh-caps=-all)

# user, its groups, topic -> status, 000 without a connection
status() {
  setpriv --reuid "$1" --regid "$1" --groups "$2" "${confined[@]}" curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/klamm/klamm.sock \
    "http://klamm/v1/topics/$3/events" -H 'Content-Type: application/json' -d '{}' || true
}

expect() { # status, user, groups, topic
  local got
  got=$(status "$2" "$3" "$4")
  [[ $got == "$1" ]] || fail "user $2 of groups $3 writes to $4: $got, not $1"
  echo "user $2 of groups $3 to $4: $got"
}

setpriv --reuid 65532 --regid 65532 --groups "$group" "${confined[@]}" "$KLAMM" serve --config /run/config & server=$!
for _ in {1..100}; do
  if "$KLAMM" probe --startup >/dev/null 2>&1; then break; fi
  kill -0 $server || fail 'klamm ended'
  sleep 0.1
done
[[ $(stat -c '%a %u %g' /run/klamm/klamm.sock) == "660 65532 $group" ]] || fail "the socket is $(stat -c '%a %u %g' /run/klamm/klamm.sock)"
# Kafka is not there: 503 is what a client gets that klamm knows.
expect 503 1000 "$group" orders
expect 403 1000 "$group" audit
expect 503 1001 "$group" audit
expect 401 1002 "$group" orders
expect 000 1000 1000 orders
kill -TERM $server
wait $server || fail "klamm ended with $?"
echo 'programs of the pod told apart by their users, on a socket of their group'
