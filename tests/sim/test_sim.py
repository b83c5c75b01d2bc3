"""The short runs of the simulator (tests/sim/sim.c), its tapes, and planted bugs that must be found."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SHARD_BUILD_DIR", ROOT / "build")).resolve()
SIM = BUILD / "sim/sim"
SLOW = "address" in BUILD.name  # a build with sanitizers
STEPS = 300_000 if SLOW else 5_000_000
TAPES = sorted((ROOT / "tests/sim/tapes").glob("*.tape"))


def run(*command, **more):
    return subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600, check=False, universal_newlines=True, cwd=ROOT, **more)


def counts(output):
    """What happened in all builds, by name."""
    return {name: int(n) for name, n in re.findall(r"(\w+) (\d+)(?:,|$)", output.splitlines()[1])}


@pytest.mark.parametrize("seed", (1, 20261124))
def test_all_invariants_hold(seed, tmp_path):
    done = run(SIM, "--seed", seed, "--steps", STEPS, "--out", tmp_path)
    assert done.returncode == 0, done.stdout
    seldom = {name for name, n in counts(done.stdout).items() if n < (1 if SLOW else 50)}
    assert seldom <= {"twice", "unknown", "fenced", "few"}, done.stdout  # the storm reaches everything else
    assert SLOW or (counts(done.stdout)["fenced"] >= 1 and counts(done.stdout)["few"] >= 10), done.stdout


def test_the_same_seed_is_the_same_run():
    one, two = (counts(run(SIM, "--seed", 5, "--steps", 50_000).stdout) for _ in range(2))
    assert one == two and one["leases"] > 0


def test_tapes_that_broke_once_pass():
    assert TAPES
    done = run(SIM, *TAPES)
    assert done.returncode == 0 and done.stdout.count(": passes") == len(TAPES), done.stdout


def test_a_file_that_is_no_tape_is_refused(tmp_path):
    (tmp_path / "x").write_text("# a note\n12zz\n")
    assert run(SIM, tmp_path / "x").returncode == 1


def mutants(names, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return run("make", "--no-print-directory", f"BUILD={os.path.relpath(BUILD, ROOT)}", "mutants", f"MUTANTS={names}",
               env=dict(env, TMPDIR=str(tmp_path)))


def test_planted_bugs_are_found(tmp_path):
    """Also the canary of the simulator: it must fail where the core is wrong."""
    done = mutants("--quick", tmp_path)
    found = re.search(r"mutants: (\d+) planted, (\d+) killed", done.stdout)
    assert done.returncode == 0 and found and found[1] == found[2] and int(found[1]) >= 8, done.stdout


def test_a_finding_is_shrunk_and_replayed(tmp_path):
    name = "first-failure-is-green"
    assert mutants(name, tmp_path).returncode == 0
    killer = BUILD / "mutants" / name / "killer"
    done = run(killer, "--seed", 1, "--steps", STEPS, "--out", tmp_path)
    before, after = map(int, re.search(r"(\d+) bytes of tape became (\d+)", done.stdout).groups())
    (tape,) = tmp_path.glob("*.tape")
    assert done.returncode == 1 and after < before, done.stdout
    assert "I3" in run(killer, tape).stdout and run(SIM, tape).returncode == 0


def test_a_survivor_fails(tmp_path):
    """A bug that its killer does not see is told, not passed over; so is one that is not there, or for which the killer
    fails with other words than it should."""
    table = tmp_path / "table"
    row = "file = server/tokens.c\nput = // other words\nkill = unit tokens\n"
    broken = "find = tokens->used[i] >= tokens->copies[i]) return false\nsays = something else\n" + row.replace(
        "// other words", "tokens->used[i] > tokens->copies[i]) return false")
    table.write_text(f"[harmless]\nfind = // ---- states\n{row}[nowhere]\nfind = no such line\n{row}"
                     f"[by-chance]\n{broken}")
    done = mutants(f"--table {table}", tmp_path)
    assert done.returncode != 0 and "SURVIVORS: harmless, nowhere, by-chance" in done.stdout, done.stdout
    assert re.search(r"by-chance .* ended with [1-9]", done.stdout), done.stdout
    assert mutants("no-such-bug", tmp_path).returncode != 0
