#!/bin/sh
# The suite over N isolated docker compose projects on this machine, then one JUnit file and one coverage report of all.
# Usage: compose.sh N, in the folder of docker-compose.yml. Ends with the build's verdict, as `shard wait` does.
set -eu
total=$1
export SHARD_PROJECT="${SHARD_PROJECT:-app}" SHARD_TOTAL="$total"
export SHARD_BUILD="${SHARD_BUILD:-compose-$(hostname)-$(date +%s)-$$}"

# shellcheck disable=SC2317  # the trap calls it
stop() {
  node=0
  while [ "$node" -lt "$total" ]; do
    SHARD_NODE=$node docker compose --project-name "tests-$node" down --volumes --timeout 5 || true
    node=$((node + 1))
  done
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

pids=
node=0
while [ "$node" -lt "$total" ]; do
  SHARD_NODE=$node docker compose --project-name "tests-$node" run --rm tests &
  pids="$pids $!"
  node=$((node + 1))
done
for pid in $pids; do
  wait "$pid" || true  # a worker tells of its own tests alone; the verdict is asked for below
done

code=0
shard wait --quiet --start-timeout 1s || code=$?
shard report --junit junit.xml
python3 -m coverage combine
python3 -m coverage xml
python3 -m coverage report
exit "$code"
