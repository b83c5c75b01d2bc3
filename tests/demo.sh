#!/bin/bash
# Runs the tests of a public project (networkx, from its Debian package) twice: on four workers with `shard local`, then
# with plain pytest. Fails unless both pass and count the same. Called by `make demo` with the build folder.
set -euo pipefail

shard=$(realpath "${1:-build}/shard")
seeded=$(realpath "$(dirname "$0")/e2e/seeded.py") # some of its tests draw random graphs that may take minutes
suite=(/usr/bin/python3 -m pytest -q -p no:cacheprovider -p seeded --pyargs networkx)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$seeded" .
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
failed() { # TEXT
  echo "demo: FAILED, $1" >&2
  exit 1
}

echo "\$ shard local -n 4 -- ${suite[*]}"
"$shard" local -n 4 -- "${suite[@]}" 2>&1 | tee sharded || failed "shard local ended with ${PIPESTATUS[0]}"
echo
echo "\$ ${suite[*]}"
"${suite[@]}" >plain 2>&1 || { code=$?; tail -n 40 plain; failed "plain pytest ended with $code"; }
sharded=$(summary sharded) plain=$(summary plain)
echo "shard local -n 4:  $sharded"
echo "plain pytest:      $plain"
if [[ -z $(counts "$sharded") || $(counts "$sharded") != "$(counts "$plain")" ]]; then
  failed "the counts differ"
fi
echo "demo: the same tests with the same outcomes"
