#!/usr/bin/env bash
# Runs tests/deploy/*.sh, each a test of something that is deployed, and prints a line for each: ok, failed, or not run
# and why. `make test-deploy` calls it; ONLY=deb,helm runs those alone.
#
# A test is run in the source's root. Exit code 0: ok. 77: it cannot run here, its last line of output says why.
# Anything else: failed. Its output is kept in target/test-deploy/NAME.log.
# Exit 0: all ran and were ok; with ALLOW_MISSING=1 also where some could not run.
set -euo pipefail

logs=target/test-deploy
mkdir -p "$logs"
failed=0 missing=0

run() { # file
  local name log code=0 begin=$SECONDS
  name=$(basename "$1" .sh)
  log=$logs/$name.log
  if [[ -n ${ONLY:-} && ,$ONLY, != *,$name,* ]]; then return; fi
  "$1" >"$log" 2>&1 </dev/null || code=$?
  case $code in
    0) echo "ok       $name ($((SECONDS - begin)) s): $(tail -n 1 "$log")" ;;
    77) echo "not run  $name: $(tail -n 1 "$log")"; missing=$((missing + 1)) ;;
    *) echo "failed   $name, see $log:"; tail -n 15 "$log" | sed 's/^/  | /'; failed=$((failed + 1)) ;;
  esac
}

for file in tests/deploy/*.sh; do run "$file"; done
if [[ $failed -gt 0 ]]; then
  echo "test-deploy: $failed failed"
  exit 1
fi
if [[ $missing -gt 0 && ${ALLOW_MISSING:-} != 1 ]]; then
  echo "test-deploy: $missing could not run; ALLOW_MISSING=1 passes over them"
  exit 1
fi
