# Run by tests/deploy/image.sh, with mounts, a network and processes of its own: klamm in the root file system $IMAGE, which
# is read-only, as the image's user. Kafka is away, so that the spool has to take the event.
set -euo pipefail
root=$(realpath "$IMAGE")
mount --make-rprivate /
mount -t proc proc /proc # of its own processes
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o uid=65532,gid=65532,mode=0750 spool "$root/var/lib/klamm"
mount -t tmpfs -o mode=0755 config "$root/etc/klamm" # a volume, as a pod has it
cp deploy/docker/00-image.yaml "$root/etc/klamm/"
sed 's/kafka:9092/127.0.0.1:9092/' deploy/compose/klamm.yaml >"$root/etc/klamm/klamm.yaml"
ip link set lo up

klamm() { chroot --userspec=65532:65532 --groups= "$root" /usr/bin/klamm "$@"; }
fail() { echo "image: $*" >&2; exit 1; }

klamm version
chroot --userspec=65532:65532 --groups= "$root" /usr/bin/klamm serve --config /etc/klamm & server=$!
for _ in {1..100}; do
  if klamm probe --startup >/dev/null 2>&1; then break; fi
  kill -0 $server || fail 'klamm ended'
  sleep 0.1
done
klamm probe --live
klamm probe --ready # a topic may spool
[[ $(awk '/^Uid:/ { print $2 }' /proc/$server/status) == 65532 ]] || fail 'not as its user'
if touch "$root/tested" 2>/dev/null; then fail 'the root file system is writable'; fi
code=$(curl -s -o /tmp/answer.$$ -w '%{http_code}' http://127.0.0.1:8080/v1/topics/orders/events -H 'Authorization: Bearer demo' \
  -H 'Content-Type: application/json' -d '{"order_id":1}')
cat /tmp/answer.$$ && rm /tmp/answer.$$ && echo
[[ $code == 202 ]] || fail "an event is answered $code"
kill -TERM $server
wait $server || fail "klamm ended with $?"
