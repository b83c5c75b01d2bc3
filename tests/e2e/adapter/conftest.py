"""Generated suites, run by plain pytest and by pytest with the plugin, to be compared."""
import collections
import json
import os
import shutil
import stat
import subprocess
import tempfile
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

# What sessions have found out, by all that it depends on: a test of both kinds of collection asks for the same twice.
LISTS = {}  # {id: (file, unit)} of known()
PLAINS = {}  # (Plain, files that the session left) of plain()
Plain = collections.namedtuple("Plain", "rc output stats notes statuses")


class Suite:
    """A folder of tests. With collect="lazy" its sessions are those of a worker that is not the first of its build."""

    def __init__(self, folder, collect, plugins=False):
        self.folder = folder
        self.collect = collect
        self.plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": None} if plugins else {}
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
                    PYTEST_PLUGINS="shard_recorder", **self.plugins)

    def gathered(self):
        stats = json.loads(self.outcomes_path.read_text()) if self.outcomes_path.exists() else {}
        notes = self.notes_path.read_text().splitlines() if self.notes_path.exists() else []
        statuses = {}
        for kind in WORST_LAST:
            statuses.update({nodeid: kind for nodeid in stats.get(kind, [])
                             if kind == "skipped" or not nodeid.endswith(".py")})
        return stats, notes, statuses

    def files(self):
        return {path.relative_to(self.folder): path.read_bytes() for path in sorted(self.folder.rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts}

    def key(self, args, env):
        """All that a session depends on."""
        return args, tuple(self.plugins), tuple(sorted(env.items())), tuple(self.files().items())

    def plain(self, *args, **env):
        key = self.key(args, env)
        if key not in PLAINS:
            done = subprocess.run([PYTHON, "-m", "pytest"] + list(args), cwd=str(self.folder),
                                  env=clean_env(**self.env(env)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=120)
            PLAINS[key] = Plain(done.returncode, done.stdout.decode("utf-8", "replace"), *self.gathered()), self.files()
        plain, left = PLAINS[key]
        files = self.files()
        for path in [path for path, text in left.items() if files.get(path) != text]:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(left[path])
        return plain

    def fed(self, *args, answer=None, worker=FakeWorker, **env):
        """The FakeWorker after the session; .stats, .notes and .counted as plain() has them."""
        key = self.key(args, env)
        known = self.known(args, env) if self.collect == "lazy" else None
        done = worker(self.folder, answer or Answer(), known).start(args, self.env(env))
        done.stats, done.notes, done.counted = self.gathered()
        if known is None and worker is FakeWorker and done.bye:
            LISTS.setdefault(key, dict(zip(done.ids, zip(done.files, done.units))))
        return done

    def known(self, args, env):
        """The list as the build's first worker has it, {id: (file, unit)}; made in a copy, which leaves no trace here.
        Empty when that worker did not come to a list."""
        key = self.key(args, env)
        if key not in LISTS:
            with tempfile.TemporaryDirectory(prefix="shard-adapter-") as place:
                copy = shutil.copytree(str(self.folder), os.path.join(place, "suite"),
                                       ignore=lambda folder, names: [name for name in names if stat.S_ISFIFO(
                                           os.stat(os.path.join(folder, name)).st_mode)])
                variables = dict(env, NOTES=os.devnull, OUTCOMES=os.devnull, PYTHONPATH=copy, **self.plugins)
                first = FakeWorker(copy, Answer([])).start(args, variables)
            LISTS[key] = dict(zip(first.ids, zip(first.files, first.units)))
        return LISTS[key]

    def same(self, *args, answer=None, **env):
        """Both, and that they agree: order, outcomes, fixtures' notes, exit status."""
        plain, fed = self.plain(*args, **env), self.fed(*args, answer=answer, **env)
        assert fed.bye == {"t": "bye", "rc": plain.rc, "stopped": False, "unexplained": False} and fed.ended, fed.output
        assert fed.rc == plain.rc, fed.output
        assert self.counted(fed.stats) == self.counted(plain.stats), fed.output
        assert fed.statuses == plain.statuses
        assert sorted(fed.started) == sorted(fed.ids) == sorted(fed.statuses)
        # In order, but for files that were skipped as a whole: they are reported as soon as they are given.
        assert tests_of(fed.started) == tests_of(fed.ids) == tests_of(fed.statuses)
        assert not fed.errors
        assert len(fed.ids) == len(fed.files) == len(fed.units)
        if fed.listed.get("lazy"):
            self.check_opened(fed)
        else:
            assert fed.listed["n"] == len(fed.ids)
        return plain, fed

    def counted(self, stats):
        """What both runs have alike: files whose tests were all deselected are not opened, others later."""
        if self.collect == "full":
            return stats
        return {kind: sorted(names) for kind, names in stats.items() if kind != "deselected"}

    @staticmethod
    def check_opened(fed):
        """Each file was opened once and holds what the list has of it."""
        holds = {}
        for name, file in zip(fed.ids, fed.files):
            holds.setdefault(file, set()).add(name)
        assert {file: set(ids) for file, ids in fed.opened.items()} == holds


def tests_of(ids):
    return [name for name in ids if not name.endswith(".py")]


def pytest_generate_tests(metafunc):
    marks = [metafunc.definition.get_closest_marker(mark) for mark in ("full", "lazy")]
    if "collect" in metafunc.fixturenames and not any(marks):
        metafunc.parametrize("collect", ["full", "lazy"])


@pytest.fixture
def collect(request):
    """How the suite's sessions collect: both ways, but for tests that have a mark for one of them."""
    return "lazy" if request.node.get_closest_marker("lazy") else "full"


@pytest.fixture
def suite(request, tmp_path, collect):
    (tmp_path / "suite").mkdir()
    return Suite(tmp_path / "suite", collect, plugins=request.node.get_closest_marker("plugins") is not None)


@pytest.fixture(scope="session")
def runner_version():
    return tuple(map(int, subprocess.check_output(
        [PYTHON, "-c", "import pytest; print(pytest.__version__)"], env=clean_env()).split(b".")[:2]))


def pytest_configure(config):
    config.addinivalue_line("markers", "full: about a session that collects everything, or the same in both ways")
    config.addinivalue_line("markers", "lazy: about a session that imports files as their tests come")
    config.addinivalue_line("markers", "plugins: with every plugin of pytest that is installed")
    os.environ.pop("PYTEST_ADDOPTS", None)
