# shellcheck shell=sh disable=SC2153,SC2154
# What the generated suites of shell scripts are made of: act() does what a test is to do, batch() is a tool that runs
# several tests in one process and writes TAP or JUnit XML. Sourced by the suites through $HUNT_LIB. Every execution is
# noted in $HUNT_LOG, on its own, so that no claim of shard is taken on trust.

note() {
  echo "$HUNT_JOB $*" >>"$HUNT_LOG"
}

# The first call for a name succeeds, further ones do not.
first() {
  mkdir "$HUNT_STATE/$1" 2>/dev/null
}

# Waits until this process is killed, or until the hunt lets it go on.
hold() {
  first "held.$1" || return 0
  echo "$$" >"$HUNT_STATE/held.$1/pid.part" && mv "$HUNT_STATE/held.$1/pid.part" "$HUNT_STATE/held.$1/pid"
  note "$1 held"
  sleep 20
}

# In the job that the hunt starts first: waits until it opens the gate.
gate() {
  if [ -z "$HUNT_GATE" ] || ! first "gate.$1"; then return; fi
  note "$1 gated"
  turns=0
  while [ ! -e "$HUNT_STATE/open" ] && [ "$turns" -lt 300 ]; do
    sleep 0.02
    turns=$((turns + 1))
  done
}

# Runs the test $1. $did: what it did; $bad: set when the process shall end with an odd status.
act() {
  eval "word=\${act_$1:-pass}"
  note "$1 begin"
  did=pass
  case $word in
  fail) did=fail ;;
  once) if first "once.$1"; then did=fail; fi ;;
  skip) did=skip ;;
  needs) if [ -n "$HUNT_LACKS" ]; then did=skip; fi ;;
  needsfail) if [ -n "$HUNT_LACKS" ]; then did=skip; else did=fail; fi ;;
  status) bad="$bad $1" ;;
  statusonce) if first "status.$1"; then bad="$bad $1"; fi ;;
  silent) did=silent ;;
  hold) hold "$1" ;;
  gate) gate "$1" ;;
  crash) note "$1 crash"; kill -SEGV $$ ;;
  exit0) note "$1 exit0"; exit 0 ;;
  none) note "$1 none"; echo "0 examples, 0 failures"; exit 0 ;;
  hang) note "$1 hang"; sleep 20 ;;
  esac
  note "$1 $did"
}

# What fails in a row without a name, in a process that was given more tests than $1, is nobody's until one of them fails
# alone.
nameless() {
  names=''
  for name; do names="$names ${name%.t}"; done
  if [ "$did" = fail ] && [ "$#" -gt 1 ]; then note "- stray$names"; fi
}

# A program that is one test.
single() {
  bad=
  act "$1"
  [ "$did" != fail ]
}

# A TAP program of $2 rows whose names say nothing; what follows are the other tests that the shell was given.
rows() {
  act "$1"
  echo "1..$2"
  row=1
  while [ "$row" -le "$2" ]; do
    if [ "$did" = fail ] && [ "$row" = "$2" ]; then
      echo "not ok $row - it"
    elif [ "$did" = skip ]; then
      echo "ok $row - it # SKIP needs docker"
    else
      echo "ok $row - it"
    fi
    row=$((row + 1))
  done
  lone=$1
  shift 2
  nameless "$lone" "$@"
  [ "$did" != fail ]
}

tap_row() {
  case $did in
  pass) echo "ok $count - $1" ;;
  fail) echo "not ok $count - $1" ;;
  skip) echo "ok $count - $1 # SKIP needs docker" ;;
  esac
}

junit_row() {
  case $did in
  pass) echo "<testcase name=\"$1\" time=\"0.001\"/>" ;;
  fail) echo "<testcase name=\"$1\" time=\"0.001\"><failure message=\"wrong\">wrong</failure></testcase>" ;;
  skip) echo "<testcase name=\"$1\" time=\"0.001\"><skipped message=\"needs docker\"/></testcase>" ;;
  esac
}

# $1: tap or junit; $2: the file of JUnit XML; then the tests. As such tools do: 1 when a test failed, another status
# when something outside of the tests went wrong.
batch() {
  form=$1 out=$2 all='' failed=0 bad='' count=0
  shift 2
  if [ "$form" = junit ]; then echo "<testsuite>" >"$out.part"; else echo "1..$#"; fi
  for name; do
    count=$((count + 1)) all="$all $name"
    act "$name"
    if [ "$did" = fail ]; then failed=1; fi
    if [ "$form" = junit ]; then junit_row "$name" >>"$out.part"; else tap_row "$name"; fi
  done
  if [ "$form" = junit ]; then echo "</testsuite>" >>"$out.part" && mv "$out.part" "$out"; fi
  if [ -n "$bad" ]; then
    note "- late$all"
    exit 3
  fi
  exit "$failed"
}
