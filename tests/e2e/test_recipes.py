"""The recipes of docs/ci and docs/runners.md do what they say.

Each CI's file is read as the CI would read it: its shell lines are taken out, its own variables are set, and the jobs
run at the same time in checkouts of their own, against a real daemon that asks for a token. What the CI itself would
do between jobs (artifacts, expressions) is done here, by the file's own words.
"""
import fnmatch
import json
import os
import re
import shutil
import subprocess
import textwrap

import pytest
import shardlib
import yaml

CI = shardlib.ROOT / "docs/ci"
JOBS = 3
TOKEN = "a-token-for-the-recipes-only"
CONFTEST = '''
    import os, pathlib, time
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def everybody_is_here():
        """No job may be so late that the others have run everything."""
        meet = os.environ.get("E2E_MEET")
        if meet:
            folder, jobs = meet.rsplit(":", 1)
            (pathlib.Path(folder) / str(os.getpid())).touch()
            end = time.monotonic() + 240
            while len(os.listdir(folder)) < int(jobs):
                assert time.monotonic() < end, "not all jobs have begun a test"
                time.sleep(0.01)
'''
TESTS = '''
    from app import part%(n)d

    def test_small():
        assert part%(n)d.kind(1) == "small"

    def test_large():
        assert part%(n)d.kind(100) == "large"

    def test_unused_branch_stays_unused():
        assert part%(n)d.kind(5) == "small"
'''
PART = '''
    def kind(n):
        if n > 10:
            return "large"
        if n < 0:
            return "negative"
        return "small"
'''
ODD = '''
    import os, pathlib
    import pytest

    def test_now_and_then():
        mark = os.environ.get("E2E_MARK")
        if mark and not os.path.exists(mark):
            pathlib.Path(mark).touch()
            pytest.fail("the first time")

    @pytest.mark.skip(reason="never here")
    def test_skipped():
        pass

    @pytest.mark.xfail
    def test_expected():
        assert False

    def test_until_it_is_mended():
        assert not os.path.exists(os.environ.get("E2E_BROKEN", "/nonexistent"))
'''
AGENT = '''
    import fnmatch, os, shutil, sys
    if sys.argv[1:] == ["annotate", "--context", "shardd"]:
        with open(os.path.join(os.environ["E2E_ARTIFACTS"], "annotation"), "wb") as file:
            sys.exit(0 if file.write(sys.stdin.buffer.read()) else 1)
    query, to = sys.argv[-2:]
    assert sys.argv[1:3] == ["artifact", "download"] and sys.argv[3:-2] == ["--include-retried-jobs"]
    names = fnmatch.filter(os.listdir(os.environ["E2E_ARTIFACTS"]), query)
    for name in names:
        shutil.copy(os.path.join(os.environ["E2E_ARTIFACTS"], name), to)
    sys.exit(0 if names else 1)
'''
DOCKER = '''
    import os, re, shlex, subprocess, sys
    import yaml

    def value(found):
        name, default = found.group(1), found.group(2)
        assert name in os.environ or not default.startswith(":?"), name + " must be set"
        return os.environ.get(name) or default[2:]

    with open(os.environ["E2E_CALLS"], "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\\\\n")
    assert sys.argv[1:3] == ["compose", "--project-name"]
    if sys.argv[4] == "down":
        sys.exit(0)
    assert sys.argv[4:] == ["run", "--rm", "tests"], sys.argv
    with open("docker-compose.yml") as file:
        service = yaml.safe_load(file)["services"]["tests"]
    assert service["working_dir"] == "/src" and ".:/src" in service["volumes"]
    env = {key: re.sub(r"[$][{](\\\\w+)(:[-?][^}]*)[}]", value, str(text))
           for key, text in service["environment"].items()}
    env.update({key: os.environ[key] for key in os.environ if key.startswith("E2E_") or key in ("PATH", "HOME")})
    sys.exit(subprocess.run(shlex.split(service["command"]), env=env).returncode)
'''


class Site:
    """A repository with a suite, a daemon that asks for a token, and a place for artifacts."""

    def __init__(self, tmp_path, daemon):
        self.path, self.daemon = tmp_path, daemon
        files = {".coveragerc": "[run]\nsource = app\nrelative_files = true\n", "app/__init__.py": "",
                 "tests/conftest.py": CONFTEST, "tests/test_odd.py": ODD}
        for n in range(4):
            files["app/part%d.py" % n] = PART
            files["tests/test_part%d.py" % n] = TESTS % {"n": n}
        self.repository = shardlib.make_suite(tmp_path, files, name="repository")
        self.artifacts = self.folder("artifacts")
        self.bin = self.folder("bin")
        (self.bin / "python3").symlink_to(shardlib.PYTHON)
        self.number = 0

    def folder(self, name):
        folder = self.path / name
        folder.mkdir()
        return folder

    def program(self, name, text):
        path = self.bin / name
        path.write_text("#!%s\n%s" % (shardlib.PYTHON, textwrap.dedent(text).replace("\\\\", "\\")))
        path.chmod(0o755)

    def checkout(self):
        """As on another machine: another path."""
        self.number += 1
        folder = self.path / ("machine%d" % self.number) / "src"
        shutil.copytree(str(self.repository), str(folder))
        return folder

    def env(self, **variables):
        env = {"PATH": "%s:%s:/usr/bin:/bin" % (self.bin, shardlib.BUILD_DIR), "HOME": str(self.path),
               "LANG": "C.UTF-8", "TMPDIR": os.environ.get("TMPDIR", "/tmp"), "E2E_MARK": str(self.path / "mark"),
               "E2E_BROKEN": str(self.path / "broken"), "E2E_ARTIFACTS": str(self.artifacts)}
        for key, value in variables.items():
            env[key] = str(value)
        assert re.fullmatch(r"tcp://[a-z.]+:4270", env.get("SHARD_SERVER", "tcp://a:4270")), env["SHARD_SERVER"]
        env.update(SHARD_SERVER=self.daemon.address, SHARD_TOKEN=TOKEN)
        return env

    def meeting(self, jobs):
        self.number += 1
        return "%s:%d" % (self.folder("meet%d" % self.number), jobs)

    def start(self, lines, folder, env):
        """As CIs run the lines of a job: one shell, which ends at the first that fails."""
        self.number += 1
        script = ["bash", "-e", "-c", "\n".join(lines)]
        return shardlib.Process(script, self.path / ("log%d" % self.number), env, folder)

    def keep(self, folder, pattern, into=None, hidden=True):
        into = into or self.artifacts
        into.mkdir(exist_ok=True)
        for path in sorted(folder.iterdir()):
            if fnmatch.fnmatch(path.name, pattern) and (hidden or not path.name.startswith(".")):
                assert not (into / path.name).exists(), "two artifacts are called %s" % path.name
                shutil.copy(str(path), str(into))

    def plain(self):
        """What one plain pytest in one checkout makes of the suite."""
        folder = self.checkout()
        (self.path / "mark").touch()
        found = shardlib.plain_pytest(folder, "--cov=app", "--cov-report=", env=shardlib.ALL_PLUGINS)
        assert found.code == 0, found.output
        return found, coverage_lines(folder)

    def check(self, folder, flaky=("test_now_and_then",)):
        """The merged files in the folder are those of one plain run."""
        cases = shardlib.junit_cases(folder / "junit.xml")
        plain, lines = self.plain()
        assert {name: case.outcome for name, case in cases.items()} == plain.junit
        properties = [{item.get("name"): item.get("value") for item in case.element.iter("property")}
                      for case in cases.values()]
        assert {found["shardd.node"] for found in properties} <= {str(node) for node in range(JOBS)}
        flakes = [name for name, case in cases.items() if case.element.find("flakyFailure") is not None]
        assert flakes == ["tests.test_odd::" + name for name in flaky]
        assert coverage_lines(folder) == lines
        assert (folder / "coverage.xml").read_text().count("<class ") == 5


def coverage_lines(folder):
    """{file: (lines that ran, lines that did not)} of the folder's .coverage."""
    command = [shardlib.PYTHON, "-m", "coverage", "json", "-q", "-o", "coverage.json"]
    subprocess.run(command, cwd=str(folder), check=True, env=shardlib.clean_env(), timeout=60)
    files = json.loads((folder / "coverage.json").read_text())["files"]
    assert len(files) == 5 and any(entry["missing_lines"] for entry in files.values())
    return {name: (entry["executed_lines"], entry["missing_lines"]) for name, entry in files.items()}


@pytest.fixture
def site(tmp_path, make_daemon):
    token_file = tmp_path / "tokens"
    token_file.write_text(TOKEN + "\n")
    daemon = shardlib.Daemon(tmp_path, listen="tcp://127.0.0.1:0", token_file=token_file).start(ready=False)
    found = shardlib.eventually(lambda: re.search(r"listening address=(\S+)", daemon.log()), what="shardd listens")
    daemon.address = found.group(1)
    return Site(tmp_path, daemon)


def recipe(name):
    with open(CI / name) as file:
        return yaml.safe_load(file)


def finish(jobs):
    codes = [job.wait() for job in jobs]
    return codes, "\n".join(job.output() for job in jobs)


def all_ran(output):
    """Every node has run something. (Its name need not be in the report: its one test may have been tried again.)"""
    nodes = re.findall(r"^shard: node (\d+): ran [1-9]\d* tests", output, re.MULTILINE)
    return sorted(nodes) == [str(node) for node in range(JOBS)]


# ---- GitLab

def test_gitlab(site):
    pipeline = recipe("gitlab-ci.yml")
    job, report = pipeline["tests"], pipeline["report"]
    assert job["parallel"] >= JOBS
    assert pipeline["stages"] == [job["stage"], report["stage"]]
    assert job["retry"]["exit_codes"] == 16 and job["artifacts"]["when"] == report["when"] == "always"

    def env(name, number, **more):
        return site.env(**dict(pipeline["variables"], CI="true", GITLAB_CI="true", CI_PIPELINE_ID=812, CI_JOB_NAME=name,
                               CI_JOB_ID=9000 + number, CI_PROJECT_PATH="group/app", CI_COMMIT_SHA="c0ffee",
                               CI_COMMIT_REF_NAME="main", **more))

    meet, folders = site.meeting(JOBS), [site.checkout() for _ in range(JOBS)]
    jobs = [site.start(job["script"], folder,
                       env("tests %d/%d" % (i + 1, JOBS), i, CI_JOB_GROUP_NAME="tests", CI_NODE_INDEX=i + 1,
                           CI_NODE_TOTAL=JOBS, E2E_MEET=meet))
            for i, folder in enumerate(folders)]
    codes, output = finish(jobs)
    assert codes == [0] * JOBS and all_ran(output), output
    for node in range(JOBS):
        assert "shard: build 812/tests, node %d (from gitlab)\n" % node in output
    for folder in folders:
        for pattern in job["artifacts"]["paths"]:
            site.keep(folder, pattern)
    folder = site.checkout()
    shutil.copytree(str(site.artifacts), str(folder), dirs_exist_ok=True)
    codes, output = finish([site.start(report["script"], folder, env("report", 99))])
    assert codes == [0], output
    assert report["artifacts"]["reports"]["junit"] == "junit.xml"
    assert report["artifacts"]["reports"]["coverage_report"]["path"] == "coverage.xml"
    assert re.search(report["coverage"].strip("/"), output, re.MULTILINE), output
    site.check(folder)


# ---- Buildkite

def uploaded(text):
    """As `buildkite-agent pipeline upload` leaves it."""
    assert not re.search(r"(?<!\$)\$(?!\$)", text), "a variable of the uploading job: %s" % text
    return text.replace("$$", "$")


def test_buildkite(site):
    pipeline = recipe("buildkite.yml")
    tests, wait, report = pipeline["steps"]
    assert tests["parallelism"] >= JOBS and wait["continue_on_failure"] is True
    assert tests["retry"]["automatic"][0]["exit_status"] == 16
    site.program("buildkite-agent", AGENT)

    def env(step, number, **more):
        return site.env(**dict(pipeline["env"], CI="true", BUILDKITE="true", BUILDKITE_BUILD_ID="5f1e-build",
                               BUILDKITE_STEP_ID=step, BUILDKITE_JOB_ID="job-%d" % number, BUILDKITE_RETRY_COUNT=0,
                               BUILDKITE_REPO="git@example.net:group/app.git", BUILDKITE_COMMIT="c0ffee",
                               BUILDKITE_BRANCH="main", **more))

    meet, folders = site.meeting(JOBS), [site.checkout() for _ in range(JOBS)]
    jobs = [site.start(map(uploaded, tests["command"]), folder,
                       env("step-1", i, BUILDKITE_PARALLEL_JOB=i, BUILDKITE_PARALLEL_JOB_COUNT=JOBS, E2E_MEET=meet))
            for i, folder in enumerate(folders)]
    codes, output = finish(jobs)
    assert codes == [0] * JOBS and all_ran(output), output
    for folder in folders:
        site.keep(folder, tests["artifact_paths"])
    folder = site.checkout()
    codes, output = finish([site.start(map(uploaded, report["command"]), folder, env("step-2", 99))])
    assert codes == [0], output
    assert all((folder / name).exists() for name in report["artifact_paths"].split(";"))
    assert "1 skipped" in output and re.search(r" \(1 flaky\), .* in \d", output), output
    annotation = (site.artifacts / "annotation").read_text()
    assert annotation.startswith("### \u2705 ") and "1 flaky, passed after failing" in annotation
    site.check(folder)


# ---- GitHub Actions

class Workflow:
    def __init__(self, site):
        self.site, self.text = site, recipe("github.yml")

    def job(self, name, attempt, index=0, **more):
        """Starts the job's shell steps up to the first that is none; the rest is done by finish()."""
        return Run(self, name, attempt, index, more)


class Run:
    def __init__(self, workflow, name, attempt, index, more):
        self.site, self.job, self.name = workflow.site, workflow.text["jobs"][name], name
        self.context = {"strategy.job-index": index, "strategy.job-total": JOBS, "github.run_attempt": attempt,
                        "secrets.SHARD_TOKEN": TOKEN}
        variables = dict(workflow.text["env"], **self.job.get("env", {}))
        self.env = self.site.env(CI="true", GITHUB_ACTIONS="true", GITHUB_RUN_ID=4711, GITHUB_JOB=name,
                                 GITHUB_RUN_ATTEMPT=attempt, GITHUB_REPOSITORY="group/app", GITHUB_SHA="c0ffee",
                                 GITHUB_REF_NAME="main", GITHUB_STEP_SUMMARY=self.site.path / ("summary%s" % attempt),
                                 **dict({key: self.value(text) for key, text in variables.items()}, **more))
        self.steps, self.code, self.output, self.running = list(self.job["steps"]), 0, "", None
        self.folder = self.site.checkout()
        assert self.steps.pop(0)["uses"] == "actions/checkout@v4"
        self.go_on()

    def value(self, text):
        return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: str(self.context[found.group(1)]), str(text))

    def go_on(self):
        while self.steps and self.running is None:
            step = self.steps.pop(0)
            if self.code and step.get("if") != "always()":
                continue
            if "run" in step:
                self.running = self.site.start([self.value(step["run"])], self.folder, self.env)
            else:
                self.use(step["uses"], {key: self.value(text) for key, text in step["with"].items()})

    def use(self, action, given):
        if action == "actions/upload-artifact@v4":
            into = self.site.artifacts / given["name"]
            assert not into.exists(), "an artifact's name is used once in a run: %s" % given["name"]
            for pattern in given["path"].split():
                self.site.keep(self.folder, pattern, into, given.get("include-hidden-files") == "True")
        else:
            assert action == "actions/download-artifact@v4" and given["merge-multiple"] == "True"
            for folder in fnmatch.filter(sorted(os.listdir(self.site.artifacts)), given["pattern"]):
                self.site.keep(self.site.artifacts / folder, "*", self.folder)

    def finish(self):
        while self.running:
            code, self.output = self.running.wait(), self.output + self.running.output()
            self.running, self.code = None, self.code or code
            self.go_on()
        return self.code


def test_github_and_its_rerun_of_failed_jobs(site):
    workflow = Workflow(site)
    assert workflow.text["jobs"]["tests"]["strategy"]["fail-fast"] is False
    assert len(workflow.text["jobs"]["tests"]["strategy"]["matrix"]["node"]) >= JOBS
    broken = site.path / "broken"
    broken.touch()
    meet = site.meeting(JOBS)
    runs = [workflow.job("tests", 1, index, E2E_MEET=meet) for index in range(JOBS)]
    codes = [run.finish() for run in runs]
    output = "\n".join(run.output for run in runs)
    assert sorted(codes) == [0, 0, 1] and all_ran(output), output
    report = workflow.job("report", 1)
    assert report.finish() == 0, report.output
    cases = shardlib.junit_cases(report.folder / "junit.xml")
    failed = [name for name, case in cases.items() if case.outcome == "failed"]
    assert failed == ["tests.test_odd::test_until_it_is_mended"]
    assert re.findall("^::error .*title=(.*?)::", report.output, re.MULTILINE) == [
        "tests/test_odd.py%3A%3Atest_until_it_is_mended"]
    summary = (site.path / "summary1").read_text()
    assert summary.startswith("### \u274c ") and "test&#95;until&#95;it&#95;is&#95;mended</code>: failed" in summary

    broken.unlink()
    again = workflow.job("tests", 2, codes.index(1))
    assert again.finish() == 0, again.output
    assert "ran 1 tests" in again.output
    report = workflow.job("report", 2)
    assert report.finish() == 0, report.output
    site.check(report.folder, flaky=("test_now_and_then", "test_until_it_is_mended"))


# ---- docker compose

def test_compose(site):
    site.program("docker", DOCKER)
    folder = site.checkout()
    for name in ("docker-compose.yml", "compose.sh"):
        shutil.copy(str(CI / name), str(folder))
    calls = site.path / "calls"
    job = site.start(["exec ./compose.sh %d" % JOBS], folder, site.env(E2E_CALLS=calls, E2E_MEET=site.meeting(JOBS)))
    codes, output = finish([job])
    assert codes == [0] and all_ran(output), output
    projects = ["compose --project-name tests-%d " % node for node in range(JOBS)]
    called = calls.read_text().splitlines()
    assert sorted(called[:JOBS]) == [project + "run --rm tests" for project in projects]
    assert called[JOBS:] == [project + "down --volumes --timeout 5" for project in projects]
    site.check(folder)


def test_compose_ends_with_the_verdict(site):
    site.program("docker", DOCKER)
    folder = site.checkout()
    for name in ("docker-compose.yml", "compose.sh"):
        shutil.copy(str(CI / name), str(folder))
    (site.path / "broken").touch()
    job = site.start(["exec ./compose.sh 1"], folder, site.env(E2E_CALLS=site.path / "calls"))
    codes, output = finish([job])
    assert codes == [1], output
    assert shardlib.junit_cases(folder / "junit.xml")["tests.test_odd::test_until_it_is_mended"].outcome == "failed"


# ---- docs/runners.md

RUNNERS = {
    "shell": ({"tests/good.sh": "exit 0\n", "tests/bad.sh": "echo out of order; exit 3\n"}, ["tests/bad.sh"]),
    "bats": ({"tests/a.bats": '@test "adds" { [ 1 -eq 1 ]; }\n', "tests/b.bats": '@test "fails" { false; }\n'},
             ["tests/b.bats"]),
    "ctest": ({"CMakeLists.txt": """
                   cmake_minimum_required(VERSION 3.20)
                   project(demo NONE)
                   enable_testing()
                   foreach(name suite.one suite.one_more suite+two)
                     add_test(NAME ${name} COMMAND true)
                   endforeach()
                   add_test(NAME bad COMMAND false)
               """}, ["bad"]),
    "googletest": ({"tests.cc": """
                        #include <gtest/gtest.h>
                        TEST(A, Good) {}
                        TEST(A, Bad) { FAIL(); }
                        TEST(B, Skipped) { GTEST_SKIP(); }
                   """}, ["A.Bad", "B.Skipped"]),
    "pytest-command": ({"test_a.py": "def test_good():\n    pass\n\n\ndef test_bad():\n    assert False\n"},
                       ["test_a.py::test_bad"]),
}


def runner_recipes():
    text = (shardlib.ROOT / "docs/runners.md").read_text()
    return dict(re.findall(r"<!-- recipe: (\S+) -->\n```sh\n(.*?)```", text, re.DOTALL))


def test_every_marked_recipe_is_run():
    assert set(runner_recipes()) == set(RUNNERS)


@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_runner_recipe(tmp_path, name):
    files, failing = RUNNERS[name]
    suite = shardlib.make_suite(tmp_path, files)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(shardlib.PYTHON)
    env = shardlib.clean_env(PATH="%s:%s:/usr/bin:/bin" % (programs, shardlib.BUILD_DIR), HOME=str(tmp_path))
    if name == "ctest":
        subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=str(suite), env=env, check=True, timeout=60,
                       stdout=subprocess.DEVNULL)
    if name == "googletest":
        subprocess.run(["c++", "-o", "unit-tests", "tests.cc", "-lgtest", "-lgtest_main", "-pthread"], cwd=str(suite),
                       check=True, timeout=60)
    line = runner_recipes()[name].replace("-n 4", "-n 2 --junit ../report.xml")
    assert "--junit" in line
    job = shardlib.Process(["sh", "-c", line], tmp_path / "log", env, suite)
    assert job.wait() == 1, job.output()
    ids = {}
    for case in shardlib.junit_cases(tmp_path / "report.xml").values():
        found = {item.get("name"): item.get("value") for item in case.element.iter("property")}
        ids[found["shardd.id"]] = case.outcome
    assert [test for test, outcome in ids.items() if outcome != "passed"] == failing, job.output()
    assert len(ids) == {"shell": 2, "bats": 2, "ctest": 4, "googletest": 3, "pytest-command": 2}[name]
