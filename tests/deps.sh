#!/bin/bash
# Installs the Debian packages that are missing: through apt-get as root, or with sudo where it asks no password; else
# prints the line to run. Called by the Makefile with the names of groups: build, test, bench, demo, fuzz,
# torture, lint. Quiet and quick when nothing is missing.
set -euo pipefail

declare -A packages=(
  [build]="gcc libc6-dev make pkg-config protobuf-c-compiler libprotobuf-c-dev libevent-dev libssl-dev libsqlite3-dev
    libyaml-dev libsystemd-dev libexpat1-dev libjansson-dev"
  [test]="libcmocka-dev git systemd procps util-linux strace iproute2 bats cmake g++ libgtest-dev mandoc protobuf-compiler python3
    python3-protobuf python3-yaml python3-pytest python3-pytest-asyncio python3-pytest-cov python3-pytest-django
    python3-pytest-rerunfailures python3-pytest-xdist python3-coverage python3-networkx python3-numpy python3-scipy
    python3-freezegun python3-gevent python3-pytest-benchmark python3-pytest-forked python3-pytest-subtests"
  [bench]="python3 python3-pytest python3-pytest-xdist python3-networkx python3-passlib python3-protobuf
    protobuf-compiler beanstalkd redis-server"
  [demo]="python3 python3-pytest python3-networkx"
  [fuzz]="clang libclang-rt-14-dev"
  [torture]="valgrind"
  [lint]="clang clang-format clang-tidy cppcheck shellcheck python3 python3-flake8 mandoc"
)

wanted=()
for group in "${@:-build}"; do
  [[ -v "packages[$group]" ]] || { echo "tests/deps.sh: no group $group, only: ${!packages[*]}" >&2; exit 2; }
  read -r -d '' -a names <<<"${packages[$group]}" || true
  wanted+=("${names[@]}")
done

if ! command -v dpkg-query >/dev/null; then
  echo "tests/deps.sh: not a Debian system; needed are the likes of: ${wanted[*]}" >&2
  exit 0
fi

# dpkg-query ends with 1 when it knows nothing of a package, which is what we ask.
installed=$({ dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true; } |
  sed -n 's/ installed$//p')
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) <(sort -u <<<"$installed"))
((${#missing[@]})) || exit 0

sudo=()
if ((EUID != 0)); then
  if ! sudo -n true 2>/dev/null; then
    echo "Packages are missing. Run this, then make again:" >&2
    echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo -n)
fi

echo "installing: ${missing[*]}"
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "tests/deps.sh: apt-get failed, see above; by hand: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
