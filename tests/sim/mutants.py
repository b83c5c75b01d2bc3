#!/usr/bin/python3
"""Plants the bugs of mutants.txt, one at a time, and demands that each is killed by the program that is to find it.

    mutants.py BUILD [--table FILE] [--quick | NAME…] -- COMPILER FLAGS…

A copy of the one source with the bug goes to BUILD/mutants/NAME, is compiled there, and linked before the libraries of
BUILD, so that it stands in for the sound one. Killed means: the killer ends with an error, and says what the table
demands of it, if it demands any words. A survivor, a line that is not found, and a copy that does not compile are
failures. --quick: those marked so, for `make check`.

The storms of tests/chaos and the end-to-end tests (e2e FILE::TEST) hunt with real programs: the one with the bug, and
the sound other one beside it. An end-to-end test kills by failing, not by an error of its own.
"""
import configparser
import os
import pathlib
import resource
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/sim/mutants.txt"
LIMIT_S = 300
WRAPS = [f"-Wl,--wrap={name}" for name in ("base_now_us", "base_wall_us", "pthread_cond_timedwait")]
PACKAGES = ("libevent_core", "libcrypto", "libprotobuf-c", "sqlite3", "yaml-0.1", "libsystemd", "expat", "jansson",
            "cmocka")
STORMS = {"kill": ["tests/chaos/kill.py", "--rounds", "60", "--seed", "1"],
          "chaos": ["tests/chaos/chaos.py", "--seconds", "20", "--limit", "15", "--seed", "1"]}
E2E = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
PROGRAMS = {"server": "shardd", "worker": "shard"}


def table(path):
    parser = configparser.RawConfigParser(comment_prefixes=("#",))
    parser.read_string(path.read_text())
    return {name: dict(parser[name]) for name in parser.sections()}


def storm(word):
    """The command of a killer that runs the real programs; None: it is linked with the bug."""
    kind, _, name = word.partition(" ")
    return [*E2E, f"tests/e2e/{name}"] if kind == "e2e" else STORMS.get(word)


def killer(row, build):
    """(objects, more for the linker, arguments) of the program that is to find the bug."""
    word, _, name = row["kill"].partition(" ")
    if storm(row["kill"]):
        return [build / "obj" / row["file"].partition("/")[0] / "main.o"], [], []
    if word == "unit":
        return [build / f"obj/tests/unit/test_{name}.o"], [], []
    if word == "sim":
        return sorted((build / "obj/tests/sim").glob("*.o")), [], ["--steps", "30000000", "--seed", "1"]
    if word == "tape":
        return sorted((build / "obj/tests/sim").glob("*.o")), [], [ROOT / f"tests/sim/tapes/{name}.tape"]
    if word == "powercut":
        parts = [build / "obj/tests/chaos" / f"{part}.o" for part in ("powercut", "clock")]
        cuts = sorted((build / "obj/tests/chaos").glob("cut*.o"))
        return parts + cuts, WRAPS, ["--cuts", "6000", "--seed", "1", "--jobs", "2"]
    raise ValueError(f"{row['kill']}: no such killer")


class Mutant:
    def __init__(self, name, row, build, compiler):
        self.name, self.row, self.build, self.compiler = name, row, build, compiler
        self.place = build / "mutants" / name
        self.storm, self.side = storm(row["kill"]), row["file"].partition("/")[0]
        self.program = self.place / (PROGRAMS[self.side] if self.storm else "killer")

    def plant(self):
        text = (ROOT / self.row["file"]).read_text()
        if text.count(self.row["find"]) != 1:
            return f"its line is not once in {self.row['file']}"
        shutil.rmtree(self.place, ignore_errors=True)
        copy = self.place / self.row["file"]
        copy.parent.mkdir(parents=True)
        copy.write_text(text.replace(self.row["find"], self.row["put"]))
        done = self.run([*self.compiler, "-w", "-c", "-o", copy.with_suffix(".o"), copy])
        return done.stdout if done.returncode else ""

    def link(self):
        objects, more, _ = killer(self.row, self.build)
        sides = [self.side] if self.storm else list(PROGRAMS)
        libs = [self.build / f"lib{name}.a" for name in (*sides, "proto", "config")]
        packages = subprocess.run(["pkg-config", "--libs", *PACKAGES], stdout=subprocess.PIPE, check=True,
                                  universal_newlines=True).stdout.split()
        copy = (self.place / self.row["file"]).with_suffix(".o")
        objects = [path for path in objects if path != self.build / "obj" / copy.relative_to(self.place)]
        done = self.run([*self.compiler, *more, "-o", self.program, copy, *objects, *libs, *libs, *packages,
                         "-lpthread", "-lm"])
        for name in ("chaos", *PROGRAMS.values()) if self.storm else ():
            if self.program.name != name:
                (self.place / name).symlink_to(self.build / name)
        return done.stdout if done.returncode else ""

    def run(self, command, env=None):
        return subprocess.run(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False, universal_newlines=True,
                              errors="replace", env=env)

    def attack(self):
        if not self.storm:
            return self.run([self.program, *killer(self.row, self.build)[2]])
        if self.storm[:len(E2E)] == E2E:
            return self.run(self.storm, dict(os.environ, SHARD_BUILD_DIR=str(self.place)))
        return self.run([*self.storm, self.place])

    def hunt(self):
        """(killed, what is to be said of it)."""
        why = self.plant() or self.link()
        if why:
            return False, why
        try:
            done = self.attack()
        except subprocess.TimeoutExpired:
            return True, "does not end"
        wanted = [self.row["says"]] if "says" in self.row else ["breaks", "seed", "FAILED"]
        said = [line for line in done.stdout.splitlines() if any(word in line for word in wanted)]
        failed = done.returncode == 1 if self.storm and self.storm[:len(E2E)] == E2E else done.returncode != 0
        killed = failed and (said != [] or "says" not in self.row)
        return killed, (said[-1] if said and done.returncode else f"ended with {done.returncode}").strip()


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv):
    if "--" not in argv:
        sys.exit(__doc__)
    words, compiler = argv[1:argv.index("--")], argv[argv.index("--") + 1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # they crash on purpose
    at = words.index("--table") if "--table" in words else len(words)
    rows, names = table(pathlib.Path(words[at + 1]) if words[at:] else TABLE), words[1:at] + words[at + 2:]
    chosen = [n for n in rows if not names or n in names or (names == ["--quick"] and "quick" in rows[n])]
    survivors = [n for n in names if n not in rows and n != "--quick"]
    for name in chosen:
        before = cpu_s()
        mutant = Mutant(name, rows[name], pathlib.Path(words[0]).resolve(), [w for w in compiler if w != "-Werror"])
        killed, said = mutant.hunt()
        survivors += [] if killed else [name]
        state = "killed by" if killed else "SURVIVES"
        print(f"  {name:28} {state} {rows[name]['kill']:20} {cpu_s() - before:5.1f} s  {said[:100]}", flush=True)
    print(f"mutants: {len(chosen)} planted, {len(chosen) - len(survivors)} killed, {cpu_s():.0f} s of CPU"
          f"{'; SURVIVORS: ' + ', '.join(survivors) if survivors else ''}")
    return 1 if survivors or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
