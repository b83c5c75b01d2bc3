"""Generated suites, run by plain pytest and by pytest with the plugin, to be compared."""
import collections
import json
import os
import subprocess
import textwrap

import pytest
from fake_worker import PYTHON, Answer, FakeWorker, clean_env

# Goes into every suite: what the terminal counted, and what the suite's fixtures noted.
RECORDER = '''
import json, os
import pytest

def pytest_terminal_summary(terminalreporter):
    stats = {kind: [getattr(report, "nodeid", "") for report in reports]
             for kind, reports in terminalreporter.stats.items() if kind != "warnings"}
    with open(os.environ["OUTCOMES"], "w") as out:
        json.dump(stats, out)
'''
NOTE = '''
import os
def note(*words):
    with open(os.environ["NOTES"], "a") as out:
        out.write(" ".join(map(str, words)) + "\\n")
'''
WORST_LAST = ["passed", "xpassed", "xfailed", "skipped", "failed", "error"]

Plain = collections.namedtuple("Plain", "rc output stats notes statuses")


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.runs = 0
        self.write("shard_recorder.py", RECORDER)
        self.write("noting.py", NOTE)
        self.write("pytest.ini", "[pytest]\naddopts =\n")

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def env(self, more):
        self.runs += 1
        self.notes_path = self.folder.parent / ("notes%d" % self.runs)
        self.outcomes_path = self.folder.parent / ("outcomes%d" % self.runs)
        return dict(more, NOTES=str(self.notes_path), OUTCOMES=str(self.outcomes_path), PYTHONPATH=str(self.folder),
                    PYTEST_PLUGINS="shard_recorder")

    def gathered(self):
        stats = json.loads(self.outcomes_path.read_text()) if self.outcomes_path.exists() else {}
        notes = self.notes_path.read_text().splitlines() if self.notes_path.exists() else []
        statuses = {}
        for kind in WORST_LAST:
            statuses.update({nodeid: kind for nodeid in stats.get(kind, [])
                             if kind == "skipped" or not nodeid.endswith(".py")})
        return stats, notes, statuses

    def plain(self, *args, **env):
        env = clean_env(**self.env(env))
        done = subprocess.run([PYTHON, "-m", "pytest"] + list(args), cwd=str(self.folder), env=env,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
        return Plain(done.returncode, done.stdout.decode("utf-8", "replace"), *self.gathered())

    def fed(self, *args, answer=None, worker=FakeWorker, **env):
        """The FakeWorker after the session; .stats, .notes and .counted as plain() has them."""
        done = worker(self.folder, answer or Answer()).start(args, self.env(env))
        done.stats, done.notes, done.counted = self.gathered()
        return done

    def same(self, *args, answer=None, **env):
        """Both, and that they agree: order, outcomes, fixtures' notes, exit status."""
        plain, fed = self.plain(*args, **env), self.fed(*args, answer=answer, **env)
        assert fed.bye == {"t": "bye", "rc": plain.rc, "stopped": False}, fed.output
        assert fed.rc == plain.rc, fed.output
        assert fed.stats == plain.stats, fed.output
        assert fed.statuses == plain.statuses
        assert sorted(fed.started) == sorted(fed.ids) == sorted(fed.statuses)
        # In order, but for files that were skipped as a whole: they are reported as soon as they are given.
        assert tests_of(fed.started) == tests_of(fed.ids) == tests_of(fed.statuses)
        assert not fed.errors
        assert fed.listed["n"] == len(fed.ids) == len(fed.files) == len(fed.units)
        return plain, fed


def tests_of(ids):
    return [name for name in ids if not name.endswith(".py")]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "suite").mkdir()
    return Suite(tmp_path / "suite")


@pytest.fixture(scope="session")
def runner_version():
    return tuple(map(int, subprocess.check_output(
        [PYTHON, "-c", "import pytest; print(pytest.__version__)"], env=clean_env()).split(b".")[:2]))


def pytest_configure(config):
    os.environ.pop("PYTEST_ADDOPTS", None)
