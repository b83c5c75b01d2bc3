"""A real pytest suite and the ways to run it whole on N workers, each as a user would type it. Called by
makespan_real.py. Every way gives the wall seconds from the call to the last process's end, and fails unless the same
number of tests has passed."""
import json
import re
import subprocess
import time

from benchlib import Failed, LIMIT_S, PYTEST, clean_env, timed

COUNT = re.compile(r"(\d+) passed")
# Plugins of pytest, for one process each: what the tests took, and a static split's own share.
PLUGINS = {"bench_durations": '''
import json, os

took = {}

def pytest_collection_modifyitems(items):
    took.update((item.nodeid, 0) for item in items)

def pytest_runtest_logreport(report):
    took[report.nodeid] += report.duration

def pytest_sessionfinish():
    with open(os.environ["BENCH_DURATIONS"], "w") as out:
        json.dump(took, out)
''', "bench_split": '''
import json, os

def pytest_collection_modifyitems(config, items):
    with open(os.environ["BENCH_OWN"]) as own:
        mine = set(json.load(own))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in mine])
    items[:] = [item for item in items if item.nodeid in mine]
'''}


class Suite:
    """A suite run from a folder of its own, and what one plain run told of it."""

    def __init__(self, build, place, name, pytest_args, workers=2, files=()):
        self.build, self.place, self.name, self.workers = build, place, name, workers
        self.folder, self.command = place.file(name), [*PYTEST, *pytest_args]
        self.folder.mkdir()
        self.history, self.runs, self.more = place.file("history.db"), 0, {}
        plugins = {f"{plugin}.py": text for plugin, text in PLUGINS.items()}
        for path, text in dict({"pytest.ini": "[pytest]\n"}, **plugins, **dict(files)).items():
            (self.folder / path).write_text(text)

    def env(self, **more):
        return clean_env(PYTHONPATH=str(self.folder), PYTHONDONTWRITEBYTECODE="1", PYTHONHASHSEED="0", **self.more,
                         **more)

    def learn(self):
        """Runs it plainly once, for the count and the durations."""
        durations = self.place.file("durations.json")
        _, output = timed([*self.command, "-p", "bench_durations"], self.folder,
                          self.env(BENCH_DURATIONS=str(durations)))
        self.knows(int(COUNT.findall(output)[-1]), json.loads(durations.read_text()))

    def knows(self, passed, durations):
        self.passed, self.durations = passed, durations
        self.shares = {"static-count": self.by_count(), "static-durations": self.by_durations()}

    # ---- ours

    def local(self):
        local = [self.build / "shard", "local", "-n", self.workers, "--history", self.history, "--"]
        return timed([*local, *self.command], self.folder, self.env(), self.passed)[0]

    def jobs(self, daemon):
        """A job of a CI for each worker, all at once."""
        self.runs += 1
        command = [self.build / "shard", "run", "--project", "bench", "--suite", self.name, "--build", self.runs,
                   "--total", self.workers, "--", *self.command]
        return self.together([(command, dict(SHARD_SERVER=daemon.address, SHARD_NODE=str(node)))
                              for node in range(self.workers)])

    # ---- theirs

    def xdist(self, mode):
        return timed([*self.command, "-n", self.workers, "--dist", mode], self.folder, self.env(), self.passed)[0]

    def by_count(self):
        ids, share = list(self.durations), -(-len(self.durations) // self.workers)
        return [ids[i:i + share] for i in range(0, len(ids), share)]

    def by_durations(self):
        """Longest first to the least loaded, with the durations of the plain run: better than any history knows."""
        shares, load = [[] for _ in range(self.workers)], [0.0] * self.workers
        for name, took in sorted(self.durations.items(), key=lambda item: -item[1]):
            least = load.index(min(load))
            shares[least].append(name)
            load[least] += took
        return shares

    def static(self, kind):
        runs = []
        for share in self.shares[kind]:
            own = self.place.file("share.json")
            own.write_text(json.dumps(share))
            runs.append(([*self.command, "-p", "bench_split"], dict(BENCH_OWN=str(own))))
        return self.together(runs)

    def together(self, runs):
        """Starts all, waits for all; the tests that passed are those of all."""
        begin, passed = time.perf_counter(), 0
        started = [subprocess.Popen([str(part) for part in command], cwd=self.folder, env=self.env(**more),
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                   for command, more in runs]
        try:
            for process in started:
                output = process.communicate(timeout=LIMIT_S)[0].decode(errors="replace")
                counts = COUNT.findall(output)
                passed += int(counts[-1]) if counts else 0
                if process.returncode != 0:
                    raise Failed(f"ended with {process.returncode}: {process.args}\n{output[-2000:]}")
        finally:
            for process in started:
                process.kill()
                process.wait()
        took = time.perf_counter() - begin
        if passed != self.passed:
            raise Failed(f"{passed} passed instead of {self.passed}: {runs[0][0]}")
        return took
