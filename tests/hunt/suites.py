"""Small suites with known truth: what each test does is a word (ACTS), and a suite is written out for one of the FORMS
in which results reach shard. A suite's tests have short names; case_id() says what they are called in shard's list.

What the words mean:
    pass, fail, skip    always
    once                fails the first time in a history, whoever runs it
    needs, needsfail    are skipped where something lacks, and pass or fail elsewhere
    error               a fixture fails (pytest)
    crash, exit0        the process dies of a signal, or ends with 0, in the middle of the test
    hang                longer than the limit that the history sets
    none                the program says that it found no test, and ends with 0 (exit)
    silent              the tool says nothing of the test
    status, statusonce  the test passes, and its process ends with an odd status (always, or the first time)
    gone                the test's program does not exist (ctest)
    hold                the first time, waits for the worker to be killed
    gate                in a job that the hunt starts first, waits until it lets it go on
"""
import json
import os
import pathlib

PARTS = pathlib.Path(__file__).resolve().parent / "suite"
PYTHON = os.environ.get("SHARD_TEST_PYTHON", "/usr/bin/python3")
CRASHES = ["crash", "exit0"]
ACTS = {
    "exit": ["fail", "once", "crash", "none"],
    "order": ["fail", "once", "skip"],
    "tap": ["fail", "once", "skip", "needs", "needsfail", "crash", "exit0", "silent", "status", "statusonce"],
    "junit": ["fail", "once", "skip", "needs", "needsfail", "crash", "exit0", "silent", "status", "statusonce"],
    "ctest": ["fail", "once", "skip", "needs", "needsfail", "gone", "crash"],
    "pytest": ["fail", "once", "skip", "needs", "needsfail", "error", "crash", "exit0"],
}
FORMS = list(ACTS)
CTEST = '''
  names=$(sed "s/[][().*+?^\\$|\\\\\\\\]/\\\\\\\\&/g" "$2" | paste -sd"|")
  ctest --test-dir build --output-junit "$1" -R "^($names)\\$" >/dev/null 2>&1
'''
CONFTEST = '''
import pytest
import hunt_act


@pytest.fixture(scope="session", autouse=True)
def service():
    yield
    hunt_act.leave()


def pytest_configure(config):
    config.add_cleanup(lambda: hunt_act.end("cleanup"))


def pytest_sessionfinish(session):
    hunt_act.SESSIONS.append(session)
    hunt_act.end("finish")
    hunt_act.end("exit")


def pytest_unconfigure():
    hunt_act.end("status")


@pytest.fixture
def spoilt(request):
    hunt_act.spoil(request.node.name[5:])
'''


def case_id(form, name):
    """What the test is called in shard's list."""
    return {"exit": "%s.sh", "order": "%s.t", "pytest": "test_%s.py::test_%s" % (name[0], "%s")}.get(form, "%s") % name


def write(folder, form, tests, addopts=""):
    """Writes the suite of {name: act} into a new folder."""
    os.makedirs(folder)
    if form == "pytest":
        files = python_files(tests, addopts)
    elif form == "ctest":
        files = ctest_files(tests)
    else:
        files = shell_files(form, tests)
    for path, text in files.items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)


def shell_files(form, tests):
    if form in ("tap", "junit"):
        return {"acts.sh": "".join("act_%s=%s\n" % pair for pair in tests.items()),
                "list": "".join(name + "\n" for name in tests)}
    last = {"exit": "single %s\n", "order": "rows %s %d \"$@\"\n"}[form]
    return {case_id(form, name): '. "$HUNT_LIB"\nact_%s=%s\n' % (name, act)
            + last % ((name, len(tests) - place) if form == "order" else name)
            for place, (name, act) in enumerate(tests.items())}


def ctest_files(tests):
    lines = []
    for name, act in tests.items():
        script = '. "\\$HUNT_LIB"; act_%s=%s; single %s || exit 1; [ "\\$did" != skip ] || exit 77' % (name, act, name)
        program = '"/no/such/program"' if act == "gone" else '"sh" "-c" "%s"' % script.replace('"', '\\"')
        lines.append("add_test(%s %s)\n" % (name, program))
        lines.append("set_tests_properties(%s PROPERTIES SKIP_RETURN_CODE 77)\n" % name)
    return {"build/CTestTestfile.cmake": "".join(lines), "run.sh": CTEST}


def python_files(tests, addopts):
    files = {"pytest.ini": "[pytest]\n%s" % (addopts and "addopts = %s\n" % addopts), "conftest.py": CONFTEST,
             "acts.json": json.dumps(tests)}
    for name, act in tests.items():
        path = "test_%s.py" % name[0]
        call = "(spoilt):\n    pass" if act == "error" else "():\n    hunt_act.act(%r)" % name
        files[path] = files.get(path, "import hunt_act\n") + "\n\ndef test_%s%s\n" % (name, call)
    return files


def command(form):
    """(options of shard run, the command)."""
    batch = ["sh", "-c", '. ./acts.sh; . "$HUNT_LIB"; batch "$@"', "sh"]
    return {
        "exit": (["--list", "ls *.sh"], ["sh"]),
        "order": (["--list", "ls *.t", "--results", "tap"], ["sh"]),
        "tap": (["--list-file", "list", "--results", "tap"], batch + ["tap", "-", "{}"]),
        "junit": (["--list-file", "list", "--results", "junit:{tmp}/r.xml"], batch + ["junit", "{tmp}/r.xml", "{}"]),
        "ctest": (["--list", "ctest --test-dir build --show-only=json-v1", "--results", "junit:{tmp}/r.xml"],
                  ["sh", "run.sh", "{tmp}/r.xml", "{file}"]),
        "pytest": ([], [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider"]),
    }[form]


def variables(form):
    """What the suite's processes need to know besides the history's own folders."""
    more = {"HUNT_LIB": str(PARTS / "hunt.sh")}
    if form == "pytest":
        more.update(PYTHONPATH=str(PARTS), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    return more
