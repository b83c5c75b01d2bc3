#!/bin/bash
# Runs the tests of a public project (networkx, from its Debian package) twice: on four workers with `shard local`, then
# with plain pytest. Fails unless both pass and count the same. Called by `make demo` with the build folder.
set -euo pipefail

shard=$(realpath "${1:-build}/shard")
suite=(/usr/bin/python3 -m pytest -q -p no:cacheprovider --pyargs networkx)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export XDG_CACHE_HOME=$work/cache # the user's history of this folder stays as it is
unset "${!SHARD_@}" PYTEST_ADDOPTS PYTEST_PLUGINS

# Counts of a summary as sorted words, without durations and warnings: "5122 passed 3 skipped".
counts() {
  grep -oE '[0-9]+ (passed|failed|errors?|skipped|xfailed|xpassed|crashed|timed_out|missing|flaky)' <<<"$1" |
    sed 's/errors/error/' | sort | paste -sd ' '
}
summary() { # FILE: the last line that counts passed tests
  sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -E '[0-9]+ (passed|failed)' | tail -n 1
}
run() { # FILE COMMAND…: the command's output on the terminal and in the file; ends all if it fails
  local file=$1 code=0
  shift
  echo "\$ $*"
  "$@" 2>&1 | tee "$file" || code=$?
  ((code == 0)) || { echo "demo: FAILED, ended with $code: $*" >&2; exit 1; }
}

run sharded "$shard" local -n 4 -- "${suite[@]}"
echo
run plain "${suite[@]}" -W ignore >/dev/null
sharded=$(summary sharded) plain=$(summary plain)
echo "shard local -n 4:  $sharded"
echo "plain pytest:      $plain"
if [[ -z $(counts "$sharded") || $(counts "$sharded") != "$(counts "$plain")" ]]; then
  echo "demo: FAILED, the counts differ" >&2
  exit 1
fi
echo "demo: the same tests with the same outcomes"
