"""Runs a history (draw.py) with the real programs, and writes down what came of it: exit codes, what `shard wait` and
`shard report` say, and the executions that the tests noted on their own. Judges nothing.

One Server serves many histories, each as a project of its own.
"""
import json
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import draw
import suites

LIMIT_S = 40  # a bound for what hangs, never a wait for an outcome
TURN_MS = 4
FOREIGN = ("PYTEST_", "SHARD", "CI_", "GITLAB", "BUILDKITE", "GITHUB_", "CIRCLE", "HUNT_", "TOX", "PYTHON",
           "SEMAPHORE", "TF_BUILD", "SYSTEM_", "BUILD_")
OPTIONS = {"lease-ttl": "2s", "heartbeat": "500ms", "idle-timeout": "1s", "ballast": "64k", "log-level": "warn",
           "max-builds": "5000"}


def clean_env():
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # tests crash on purpose
    env = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN) and key != "CI"}
    return dict(env, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1", XDG_CACHE_HOME="/nonexistent")


class Server:
    """A shardd on a Unix socket below a new folder."""

    def __init__(self, build):
        self.shard, self.env = os.path.join(build, "shard"), clean_env()
        self.folder = tempfile.mkdtemp(prefix="hunt")
        self.address = "unix:%s/s" % self.folder
        options = dict(OPTIONS, listen=self.address, database=self.folder + "/db")
        self.argv = [os.path.join(build, "shardd")] + ["--%s=%s" % pair for pair in options.items()]
        self.lock = threading.Lock()
        self.start()

    def start(self):
        with open(self.folder + "/log", "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env=self.env)
        self.wait_until_it_answers()

    def restart(self):
        """Kills it and starts it again, under the histories that it serves."""
        with self.lock:
            if self.process.poll() is not None:
                raise RuntimeError("shardd ended by itself:\n" + self.log())
            self.process.kill()
            self.process.wait()
            self.start()

    def wait_until_it_answers(self):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.connect(self.folder + "/s")
                    return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("shardd did not start:\n" + self.log())

    def log(self):
        return pathlib.Path(self.folder, "log").read_text(errors="replace")

    def abandon(self):
        """Ends all of this process at once."""
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)

    def close(self):
        """Ends it; what it had to say if it ended by itself or with another status than 0."""
        alive = self.process.poll() is None
        self.process.terminate()
        code = self.process.wait(LIMIT_S)
        said = "" if alive and code == 0 else "shardd ended with %s:\n%s" % (code, self.log()[-4000:])
        shutil.rmtree(self.folder, ignore_errors=True)
        return said


class Player:
    """Plays one history: play() gives a list of a record per step."""

    def __init__(self, server, history):
        self.server, self.history = server, history
        self.folder = tempfile.mkdtemp(prefix="h", dir=server.folder)
        self.log_path, self.state = self.folder + "/log", self.folder + "/state"
        self.read_lines = 0
        os.mkdir(self.state)
        open(self.log_path, "w").close()
        self.base = dict(server.env, SHARD_PROJECT=self.folder.rpartition("/")[2], HUNT_LOG=self.log_path,
                         HUNT_STATE=self.state, SHARD_SPOOL=self.folder + "/spool", SHARD_SERVER=server.address,
                         **suites.variables(history["form"]))

    def play(self):
        """[{"jobs": [{"name", "code", "output"}], "log": [(job, test, what)…], "asked": {env: {"wait", "report"}}}]"""
        for label, commit in self.history["commits"].items():
            suites.write(os.path.join(self.folder, label), self.history["form"], commit["tests"], commit["addopts"])
        return [getattr(self, "play_" + step["do"])(number, step) for number, step in enumerate(self.history["steps"])]

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- steps

    def play_mute(self, number, step):
        name = suites.case_id(self.history["form"], step["test"])
        done = self.ask(self.base, "quarantine", "add", name, "--reason", "known")
        return {"jobs": [], "log": [], "asked": {}, "code": done.returncode, "output": done.stderr}

    def play_submit(self, number, step):
        with self.server.lock:  # another history's restart would be a disturbance that nobody drew
            done = self.ask(self.base, "submit")
        last = [one for one in self.history["steps"][:number] if one["do"] == "run"][-1]
        return {"jobs": [], "log": [], "asked": self.ask_all(last), "code": done.returncode, "output": done.stderr}

    def play_restart(self, number, step):
        self.server.restart()
        ran = [one for one in self.history["steps"][:number] if one["do"] == "run" and not one["away"]]
        return {"jobs": [], "log": [], "asked": self.ask_all(ran[-1]) if ran else {}}

    def play_run(self, number, step):
        waiting, running, jobs = list(enumerate(step["jobs"])), {}, []
        end = time.monotonic() + LIMIT_S
        while waiting or running:
            if waiting and (not running or self.may_begin(step)):
                place, one = waiting.pop(0)
                made = {"name": "%d.%d" % (number, place), "output": "%s/%d.%d" % (self.folder, number, place),
                        "victim": False, "hung": False, "said": ""}
                made["process"] = self.start(step, one, made)
                jobs.append(made)
                running[os.pidfd_open(made["process"].pid)] = made
                continue
            watched = step["hold"] or waiting or step["jobs"][0].get("first")
            self.reap(running, TURN_MS if watched else None, end)
            self.meddle(step, jobs)
            if time.monotonic() > end:
                self.give_up(running)
        for made in jobs:
            del made["process"]
            text = pathlib.Path(made["output"]).read_text(errors="replace")
            made["said"] = "\n".join(line for line in text.splitlines() if line.startswith("shard: "))
        return {"jobs": jobs, "log": self.new_lines(), "asked": {} if step["away"] else self.ask_all(step)}

    def may_begin(self, step):
        if not step["together"]:
            return False
        return not step["jobs"][0].get("first") or " gated" in self.noted()

    def start(self, step, one, made):
        label = one.get("label", step["commit"])
        commit = self.history["commits"][label]
        env = dict(self.base, HUNT_JOB=made["name"], **self.job_variables(step, one, commit))
        options, words = suites.command(self.history["form"])
        argv = [self.server.shard, "run"] + options + ["--"] + words
        with open(made["output"], "wb") as out:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                                    cwd=os.path.join(self.folder, label), start_new_session=True)

    def job_variables(self, step, one, commit):
        history = self.history
        env = ci_variables(history, step, one, commit)
        env.update(SHARD_RETRIES=str(history["retries"]), SHARD_ON_RETRY=history["on_retry"],
                   SHARD_TIMEOUT_PER_TEST=history["cap"], SHARD_COLLECT="lazy" if history["lazy"] else "",
                   HUNT_LACKS="docker" if one["lacks"] else "", HUNT_LATE=one["late"],
                   HUNT_AT_END="1" if one.get("at_end") else "",
                   HUNT_GATE="1" if one.get("first") else "", SHARD_MAX_FAILURES=history["bound"],
                   SHARD_LINGER="4s", SHARD_ALLOW_MIXED=history["mixed"])
        env.update({"SERVICE": one["env"], "SHARD_ENV_KEY": "DATABASE,SERVICE"} if history["env_key"] else
                   {"TOXENV": one["env"]})
        if step["away"]:
            env.update(SHARD_SERVER=self.server.address + ".away", SHARD_FALLBACK="static", SHARD_RETRIED="no",
                       SHARD_CONNECT_TIMEOUT="100ms")
        return {key: value for key, value in env.items() if value}

    def reap(self, running, most_ms, end):
        """Waits for the end of a job, most_ms at most."""
        poll = select.poll()
        for fd in running:
            poll.register(fd, select.POLLIN)
        rest_ms = max(0, int((end - time.monotonic()) * 1000))
        for fd, _ in poll.poll(rest_ms if most_ms is None else min(most_ms, rest_ms)):
            os.close(fd)
            made = running.pop(fd)
            made["code"] = made["process"].wait()

    def meddle(self, step, jobs):
        """Kills or cancels the job that holds; opens the gate for the first job."""
        if step["hold"] and not any(made["victim"] for made in jobs):
            self.end_holder(step, jobs)
        if step["jobs"][0].get("first") and not os.path.exists(self.state + "/open"):
            if len(jobs) > 1 and self.may_open(step, jobs[1:]):
                open(self.state + "/open", "w").close()

    def may_open(self, step, others):
        """Has the machine that lacks something skipped, or, if that is the one that waits, has another one come?"""
        if all("code" in made for made in others):
            return True
        if not step["jobs"][0]["lacks"]:
            return " skip" in self.noted()
        env = dict(self.base, SHARD_BUILD=self.key_of(self.base, step, step["jobs"][0]))
        return len(json.loads(self.ask_surely(env, "workers", "--json").stdout or "[]")) > 1

    def end_holder(self, step, jobs):
        for place in pathlib.Path(self.state).glob("held.*/pid"):
            pid = int(place.read_text())
            name = next((line.split()[0] for line in self.noted().splitlines() if line.endswith(" held")), None)
            victim = next((made for made in jobs if made["name"] == name), None)
            if not victim:
                continue
            victim["victim"] = True
            os.kill(victim["process"].pid, signal.SIGKILL if step["hold"] == "kill" else signal.SIGTERM)
            if step["hold"] == "kill":
                kill_group(pid)

    def give_up(self, running):
        for made in running.values():
            made["hung"] = True
            kill_session(made["process"].pid)
        self.reap(running, None, time.monotonic() + LIMIT_S)

    # ---- what came of it

    def noted(self):
        """What the tests noted since the step began."""
        return "".join(pathlib.Path(self.log_path).read_text().splitlines(True)[self.read_lines:])

    def new_lines(self):
        lines = pathlib.Path(self.log_path).read_text().splitlines()
        new, self.read_lines = lines[self.read_lines:], len(lines)
        return [tuple(line.split()) for line in new]

    def ask(self, env, *args):
        return subprocess.run([self.server.shard] + list(args), env=env, stdin=subprocess.DEVNULL, cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=LIMIT_S)

    def ask_surely(self, env, *args):
        """Asks once more where another history restarted the daemon in the middle of it."""
        done = self.ask(env, *args)
        if done.returncode != 0:
            with self.server.lock:
                done = self.ask(env, *args)
        return done

    def ask_all(self, step):
        """{env: what wait and report say of the build that the step's jobs of that environment belong to}."""
        found = {}
        for one in step["jobs"]:
            if one["env"] in found:
                continue
            commit = self.history["commits"][step["commit"]]
            env = dict(self.base, SHARD_START_TIMEOUT="3s", **ci_variables(self.history, step, one, commit))
            env["SHARD_BUILD"] = self.key_of(env, step, one)
            waited, reported = self.ask(env, "wait"), self.ask_surely(env, "report", "--json")
            rows = json.loads(reported.stdout) if reported.returncode == 0 else []
            merged = self.ask_surely(env, "report", "--junit", "-")
            found[one["env"]] = {"wait": waited.returncode, "said": waited.stdout + waited.stderr, "report": rows,
                                 "junit": merged.stdout if merged.returncode == 0 else ""}
        return found

    def key_of(self, env, step, one):
        """The key of the job's build. Where a CI names its matrix, the builds of the pipeline say how."""
        pipeline = KEYS[self.history["ci"]] % step["key"]
        if not draw.is_separate(self.history):
            return pipeline
        listed = self.ask_surely(env, "builds", "--json")
        keys = [row["build"] for row in json.loads(listed.stdout) if row["build"].startswith(pipeline)]
        return next((key for key in keys if one["env"] in key), keys[0] if keys else pipeline)


def kill_group(pid):
    try:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_session(pid):
    """Kills all processes of a session."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == pid:
                os.kill(int(entry), signal.SIGKILL)
        except ProcessLookupError:
            pass


# ---- the variables of the CIs

KEYS = {"github": "8%04d/t", "gitlab": "7%03d/t", "buildkite": "b%d/s", "circleci": "w%d/t", "azure": "9%03d/t",
        "semaphore": "s%d/t", "plain": "k%d"}


def ci_variables(history, step, one, commit):
    """What the CI tells a job. In a matrix its entry, and not the job's place, where the CI does it so. GitLab and
    Semaphore number no job without `parallel`."""
    total = max(history["nodes"], len(step["jobs"]), one["node"] + 1)
    serial = "%d%02d%02d" % (step["key"], one["node"], one["try"])
    entry = one["env"] if draw.is_separate(history) and not history["variant"] else ""
    env = VARIABLES[history["ci"]](step["key"], one, total, serial, commit["sha"], entry)
    if history["ci"] != "plain":
        env["CI"] = "true"
    if history["variant"]:
        env["SHARD_VARIANT"] = one["env"]
    return env


def github(key, one, total, serial, sha, entry):
    return {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": str(80000 + key), "GITHUB_JOB": "t", "GITHUB_SHA": sha,
            "GITHUB_RUN_ATTEMPT": str(one["try"] + 1), "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "o/r",
            "SHARD_NODE": str(one["node"]), "SHARD_TOTAL": str(total)}


def gitlab(key, one, total, serial, sha, entry):
    name = "t: [%s]" % entry if entry else "t %d/%d" % (one["node"] + 1, total) if total > 1 else "t"
    return dict({"GITLAB_CI": "true", "CI_PIPELINE_ID": str(7000 + key), "CI_JOB_GROUP_NAME": "t", "CI_JOB_ID": serial,
                 "CI_JOB_NAME": name, "CI_NODE_TOTAL": str(total), "CI_COMMIT_SHA": sha, "CI_COMMIT_REF_NAME": "main"},
                **({"CI_NODE_INDEX": str(one["node"] + 1)} if entry or total > 1 else {}))


def buildkite(key, one, total, serial, sha, entry):
    place = {"BUILDKITE_PARALLEL_JOB": str(one["node"]), "BUILDKITE_PARALLEL_JOB_COUNT": str(total)}
    return dict({"BUILDKITE": "true", "BUILDKITE_BUILD_ID": "b%d" % key, "BUILDKITE_STEP_ID": "s",
                 "BUILDKITE_JOB_ID": serial, "BUILDKITE_BRANCH": "main", "BUILDKITE_RETRY_COUNT": str(one["try"]),
                 "BUILDKITE_COMMIT": sha, "BUILDKITE_LABEL": "tests " + entry}, **({} if entry else place))


def circleci(key, one, total, serial, sha, entry):
    """Each entry of a matrix is a job with nodes of its own; running again makes another workflow."""
    node, total = (0, 1) if entry else (one["node"], total)
    return {"CIRCLECI": "true", "CIRCLE_WORKFLOW_WORKSPACE_ID": "w%d" % key, "CIRCLE_BRANCH": "main",
            "CIRCLE_WORKFLOW_ID": "w%d.%d" % (key, one["try"]), "CIRCLE_BUILD_NUM": serial, "CIRCLE_SHA1": sha,
            "CIRCLE_JOB": "t-" + entry if entry else "t", "CIRCLE_NODE_INDEX": str(node),
            "CIRCLE_NODE_TOTAL": str(total)}


def azure(key, one, total, serial, sha, entry):
    return {"TF_BUILD": "True", "BUILD_BUILDID": str(9000 + key), "SYSTEM_PHASENAME": "t", "BUILD_SOURCEVERSION": sha,
            "SYSTEM_STAGENAME": "__default", "SYSTEM_JOBNAME": entry or "Job%d" % (one["node"] + 1),
            "SYSTEM_JOBPOSITIONINPHASE": str(one["node"] + 1), "SYSTEM_TOTALJOBSINPHASE": str(total),
            "SYSTEM_JOBATTEMPT": str(one["try"] + 1), "BUILD_SOURCEBRANCH": "refs/heads/main"}


def semaphore(key, one, total, serial, sha, entry):
    name = "t - PY=%s" % entry if entry else "t %d/%d" % (one["node"] + 1, total) if total > 1 else "t"
    place = {"SEMAPHORE_JOB_INDEX": str(one["node"] + 1), "SEMAPHORE_JOB_COUNT": str(total)}
    return dict({"SEMAPHORE_WORKFLOW_ID": "s%d" % key, "SEMAPHORE_JOB_NAME": name, "SEMAPHORE_JOB_ID": serial,
                 "SEMAPHORE_PIPELINE_RERUN": "true" if one["try"] else "false", "SEMAPHORE_GIT_SHA": sha,
                 "SEMAPHORE_GIT_BRANCH": "main"}, **(place if total > 1 and not entry else {}))


def plain(key, one, total, serial, sha, entry):
    return {"SHARD_BUILD": "k%d" % key, "SHARD_NODE": str(one["node"]), "SHARD_TOTAL": str(total),
            "SHARD_BRANCH": "main", "SHARD_COMMIT": sha, "SHARD_ATTEMPT": serial,
            "SHARD_RETRIED": "yes" if one["try"] else "no"}


VARIABLES = {"github": github, "gitlab": gitlab, "buildkite": buildkite, "circleci": circleci, "azure": azure,
             "semaphore": semaphore, "plain": plain}
