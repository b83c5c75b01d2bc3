"""Compares what came of a history (play.py) with the truth, by rules that know nothing of how shard works:

- A test is good once an execution of its body passed after the last one that failed, on this commit and in this
  environment; a skip changes nothing about a failure.
- What goes wrong outside of tests (a late error, an odd status of a process, a failing row that could be of several
  tests and that none of them repeats alone) stands until every test that ran there has
  been executed again by something that ended well; what was killed did not.
- Nothing is green while a test is not good, unless it was muted, or skipped where nobody could have run it; and nothing
  is red when everything is good.
- A job of another commit, list or environment ends with 16 and executes nothing.
- Of two jobs with one number the second ends with 16 while the first is at work, or is taken for a re-run. Without the
  server, both are named when they are handed over, as long as something never ran.
- A machine that skips what others run is named.
- A job that failed a test for good ends with 1, the others do not.
- A job that is run again runs what it failed or left behind; when that is nothing, what it had decided; when that is
  nothing, too, it says so.

judge() returns what differs, in words; nothing is an agreement.
"""
import collections
import itertools
import xml.etree.ElementTree as ElementTree

import draw
import suites

OUTCOMES = {"pass": {"passed"}, "fail": {"failed"}, "error": {"error"}, "skip": {"skipped"}, "crash": {"crashed"},
            "hang": {"timed_out"}, "exit0": {"error", "failed", "crashed"}, "silent": {"error", "failed"},
            "none": {"error"}, "lost": {None}}
JUNIT = {"passed": "passed", "failed": "failure", "error": "error", "skipped": "skipped"}
SILENT = 3
BAD = {"fail", "error", "crash", "exit0", "hang", "silent", "none"}
SAID_NOTHING = "the others already settled everything"
NOTHING_RUNS = ("--setup-only", "--setup-plan")

Execution = collections.namedtuple("Execution", "job test what step at")
Late = collections.namedtuple("Late", "job tests at stray")


class Build:
    """What is known of one pipeline's tests, on one commit and in one environment."""

    def __init__(self, identity, tests, muted):
        self.identity, self.tests, self.muted = identity, tests, set(muted)
        self.runs, self.late = [], []
        self.nodes, self.jobs, self.victims = {}, {}, set()

    def of(self, test, step=None):
        return [run for run in self.runs if run.test == test and step in (None, run.step)]

    def state(self, test, strict=False):
        """good, bad, skipped or missing. Whether shard heard of what a killed job ran is not known; strict leaves it
        out."""
        state = "missing"
        for run in self.of(test):
            if strict and run.job in self.victims:
                continue
            if run.what in BAD:
                state = "bad"
            elif run.what == "pass":
                state = "good"
            elif run.what == "skip" and state == "missing":
                state = "skipped"
        return state

    def open_late(self):
        """What went wrong outside of tests and was not verified since."""
        return [late for late in self.late if not self.cleared(late)]

    def cleared(self, late):
        """Is it explained by a failing test, or was it verified?"""
        return (late.stray and self.repeated(late)) or all(self.verified(test, late) for test in late.tests)

    def repeated(self, late):
        """Did a test of the process fail by itself, which explains the row that could be of any of them?"""
        return any(run.job == late.job and run.test in late.tests and run.at > late.at and run.what in BAD
                   for run in self.runs)

    def verified(self, test, late):
        """Was it executed again by something that ended well? What fails again keeps the build red by itself."""
        not_by = self.victims | ({late.job} if late.stray else set())  # that it passes alone is why it is nobody's
        later = [run for run in self.runs if run.test == test and run.at > late.at
                 and run.what in BAD | {"pass", "skip"} and run.job not in not_by]
        return any(not any(other.job == run.job and test in other.tests and other.at > run.at for other in self.late)
                   for run in later)

    def wrong(self, strict=False):
        """{test: its state} of those that keep the build from being green."""
        states = {test: self.state(test, strict) for test in self.tests}
        return {test: state for test, state in states.items()
                if state == "missing" or (state == "bad" and test not in self.muted)}

    def may_be_green(self):
        return not self.wrong() and not [late for late in self.open_late() if not self.untold(late)]

    def untold(self, late):
        """A row that could be of several tests is told of once they have run alone. Who was killed told of none."""
        return late.stray and late.job in self.victims

    def must_be_green(self):
        """Another job may have run by chance all that an error came behind; its own is red until it comes again. A row
        that could be of several tests may be one that passes alone, even if another one fails alone."""
        return self.may_be_green() and not self.wrong(strict=True) and all(map(self.came_again, self.late))

    def came_again(self, late):
        return not late.tests or any(
            run.at > late.at and self.jobs[run.job]["node"] == self.jobs[late.job]["node"]
            and not (late.stray and run.job == late.job) for run in self.runs)


class Judge:
    def __init__(self, history, records):
        self.history, self.records = history, records
        self.form, self.found = history["form"], []
        self.builds, self.owner, self.muted = {}, {}, set()
        self.refused = False  # one that was sent away may have opened what failed before, and was to run it
        self.at = itertools.count()

    def differ(self, text, *values):
        self.found.append(text % values)

    def judge(self):
        for number, (step, record) in enumerate(zip(self.history["steps"], self.records)):
            self.number = number
            if step["do"] == "mute":
                if record["code"] == 0:  # a test that shard calls broken cannot be muted
                    self.muted.add(step["test"])
            elif step["do"] == "restart":
                self.judge_restart(number, record)
            elif step["do"] == "submit":
                self.judge_submit(step, record)
            else:
                self.judge_run(step, record)
        return self.found

    # ---- what belongs together

    def place(self, step, one):
        """The build that shard would find by its key."""
        return (step["key"], one["env"] if draw.is_separate(self.history) else "")

    def identity(self, step, one):
        commit = self.commit(step, one)
        env = "any" if self.history["mixed"] else one["env"]
        return (commit["sha"], tuple(sorted(commit["tests"])), env)

    def commit(self, step, one):
        return self.history["commits"][one.get("label", step["commit"])]

    def build_of(self, step, one):
        key = (self.place(step, one), self.identity(step, one))
        if key not in self.builds:
            self.builds[key] = Build(key[1], self.commit(step, one)["tests"], self.muted)
        return self.builds[key]

    def take_log(self, step, record):
        """Sorts the step's executions to the builds of their jobs."""
        owners = {made["name"]: self.build_of(step, one) for made, one in zip(record["jobs"], step["jobs"])}
        for made, one in zip(record["jobs"], step["jobs"]):
            owners[made["name"]].jobs[made["name"]] = one
            if made["victim"]:
                owners[made["name"]].victims.add(made["name"])
        begun = {}
        for words in record["log"]:
            job, test, what = words[:3]
            if test == "-":
                covers = words[3:] or {run.test for run in owners[job].runs if run.job == job}
                owners[job].late.append(Late(job, tuple(covers), next(self.at), what == "stray"))
            elif what == "begin":
                begun[job, test] = True
            elif what in OUTCOMES:
                begun.pop((job, test), None)
                owners[job].runs.append(Execution(job, test, what, self.number, next(self.at)))

    # ---- a step of jobs

    def judge_run(self, step, record):
        self.take_log(step, record)
        native, foreign = self.split(step, record)
        for made, one in foreign:
            self.judge_foreign(step, made, one, record)
        by_build = {}
        for made, one in native:
            by_build.setdefault(id(self.build_of(step, one)), (self.build_of(step, one), []))[1].append((made, one))
        for build, jobs in by_build.values():
            for made, one in jobs:
                build.nodes[one["node"]] = made["code"]
            self.judge_build(step, record, build, jobs)

    def split(self, step, record):
        """(jobs of the build's own commit, list and environment, the others). The first to come owns a build; of
        several that came at once, the one that was not sent away."""
        native, foreign, pairs = [], [], list(zip(record["jobs"], step["jobs"]))
        for made, one in [pair for pair in pairs if self.is_twin(step, *pair)]:
            pairs.remove((made, one))
            self.judge_nothing_ran("with the number of another one", made, record)
        for made, one in pairs:
            if made["code"] != 16 or len(pairs) == 1:
                self.owner.setdefault(self.place(step, one), self.identity(step, one))
        for made, one in pairs:
            owner, identity = self.owner.get(self.place(step, one)), self.identity(step, one)
            (native if owner in (None, identity) else foreign).append((made, one))
        return native, foreign

    def judge_foreign(self, step, made, one, record):
        self.refused = True
        if made["code"] != 16:
            self.differ("step %d, job %s: of another commit, list or environment, ended with %d instead of 16",
                        self.number, made["name"], made["code"])
        self.judge_nothing_ran("of another commit, list or environment", made, record)

    def is_twin(self, step, made, one):
        """Was the job refused because another one at work has its number?"""
        nodes = [other["node"] for other in step["jobs"]]
        return nodes.count(one["node"]) > 1 and made["code"] == 16 and "have the number" in made["said"]

    def judge_nothing_ran(self, which, made, record):
        ran = [words for words in record["log"] if words[0] == made["name"] and words[2] == "begin"]
        if ran:
            self.differ("step %d, job %s: %s, executed %d tests", self.number, made["name"], which, len(ran))

    def judge_build(self, step, record, build, jobs):
        green, wrong = build.may_be_green(), build.wrong()
        skipped = self.needless_skips(build, jobs)
        facts = "%s%s" % (" ".join("%s=%s" % pair for pair in sorted(wrong.items())),
                          " late errors" if build.open_late() else "")
        asked = record["asked"].get(jobs[0][1]["env"])
        if all(code == 0 for code in build.nodes.values()) and not step["away"]:
            if not green:
                self.differ("step %d: FALSE GREEN, all jobs ended with 0, although: %s", self.number, facts)
            elif skipped:
                self.differ("step %d: FALSE GREEN, skipped although another machine would run it: %s", self.number,
                            " ".join(skipped))
        if asked:
            self.judge_wait(asked, build, green, wrong, facts)
            self.judge_report(asked, build)
        for made, one in jobs:
            self.judge_job(step, made, one, build, build.must_be_green())
        if not step["away"]:
            self.judge_owners(build, jobs)
        self.judge_named(build, jobs)
        self.judge_rerun(step, build, jobs)
        self.judge_retries(step, build, jobs)

    def judge_wait(self, asked, build, green, wrong, facts):
        code = asked["wait"]
        if code == 0 and not green:
            self.differ("step %d: FALSE GREEN, wait ended with 0, although: %s", self.number, facts)
        if code != 0 and build.must_be_green():
            self.differ("step %d: FALSE RED, wait ended with %d, although everything is good: %s", self.number, code,
                        asked["said"])
        if not green and "missing" not in build.wrong(strict=True).values() and code not in (0, 1) and not (
                code == 16 and (build.victims or self.refused or gives_up(build.runs))):
            self.differ("step %d: wait ended with %d instead of 1: %s", self.number, code, asked["said"])

    def judge_report(self, asked, build):
        settled = {row["id"]: row["status"] for row in asked["report"] if row["attempt"] and row["flags"] & 1}
        cases = junit_cases(asked["junit"])
        for test in build.tests:
            runs, name = build.of(test), suites.case_id(self.form, test)
            if not runs:
                if settled.get(name) in ("passed", "skipped", "xfailed", "xpassed"):
                    self.differ("step %d: report says %s of %s, which never ran", self.number, settled[name], name)
                continue
            last = [run.what for run in runs]
            allowed = set(OUTCOMES[last[-1]])
            if self.form == "ctest" and last[-1] == "crash":
                allowed.add("failed")  # in ctest's JUnit XML they are alike
            if last[-1] == "skip" and set(last) - {"skip"}:
                allowed |= {"passed", "failed"}
            if self.history["bound"]:
                allowed.add(None)  # the build may have ended before it was confirmed, or tried again
            if any(run.job in build.victims for run in runs):
                allowed |= set().union({None}, *(OUTCOMES[what] for what in last))
            if len({run.job for run in runs if run.step == runs[-1].step}) > 1 and self.is_disturbed():
                allowed |= set().union(*(OUTCOMES[what] for what in last))
            if asked["junit"] and settled.get(name) in JUNIT and None not in allowed:
                self.judge_case(test, JUNIT[settled[name]], cases.get(short_name(name)), test in build.muted)
            if settled.get(name) not in allowed:
                self.differ("step %d: report says %s of %s, whose executions were: %s", self.number, settled.get(name),
                            name, " ".join(last))

    def judge_case(self, test, wanted, said, muted):
        """JUnit XML says of a test what the other report says; a muted failure may stand as a skip."""
        if said != wanted and not (muted and wanted in ("failure", "error")):
            self.differ("step %d: JUnit XML has %s for %s, the report %s", self.number, said, test, wanted)

    def is_disturbed(self):
        """Is a test perhaps with two workers at once?"""
        return any(step.get("hold") or step.get("away") for step in self.history["steps"][:self.number + 1])

    def judge_job(self, step, made, one, build, green):
        code, name = made["code"], made["name"]
        if made["hung"]:
            self.differ("step %d, job %s: did not end", self.number, name)
            return
        if code == 2 and not self.runs_nothing(step):
            self.differ("step %d, job %s: ended with 2", self.number, name)
        if made["victim"]:
            if code == 0:
                self.differ("step %d, job %s: was killed and ended with 0", self.number, name)
            return
        own = [run for run in build.runs if run.job == name]
        failed = {run.test for run in own if run.what in BAD and run.test not in build.muted}
        final = {test for test in failed if build.of(test)[-1].job == name and build.of(test)[-1].what in BAD
                 and self.failed_by(build, test) == {name}}
        late = [fact for fact in build.late if fact.job == name]
        open_late = [fact for fact in build.open_late() if fact.job == name]
        if final or open_late:
            if code != 1 and not (code == 16 and gives_up(own)):
                self.differ("step %d, job %s: ended with %d instead of 1, although it failed: %s", self.number, name,
                            code, " ".join(sorted(final)) or "outside of tests")
        elif failed or late or self.comes_late(step, own, one) or "gone" in build.tests.values():
            return  # whether it decided a failure is not known
        elif code != 0 and green:
            self.differ("step %d, job %s: FALSE RED, ended with %d, although everything is good", self.number, name,
                        code)
        elif code == 1 and own and not self.history["bound"]:
            self.differ("step %d, job %s: ended with 1, although it failed nothing", self.number, name)

    def failed_by(self, build, test):
        """The step's jobs in which the test failed. Where there are several, the last to run it may only have wanted to
        know how its process ends."""
        return {run.job for run in build.of(test, self.number) if run.what in BAD}

    def judge_owners(self, build, jobs):
        """What stays failed, some job that failed it answers for."""
        codes = {made["name"]: made["code"] for made, _ in jobs}
        for test, state in build.wrong().items():
            by = self.failed_by(build, test)
            if state == "bad" and len(by) > 1 and not by & build.victims and all(codes.get(name) == 0 for name in by):
                self.differ("step %d: %s failed, and all jobs that failed it ended with 0: %s", self.number, test,
                            " ".join(sorted(by)))

    def runs_nothing(self, step):
        """Do the options of the command let no test run, so that it may be refused?"""
        return self.history["commits"][step["commit"]]["addopts"] in NOTHING_RUNS

    def comes_late(self, step, own, one):
        """A first try that finds the build over ends as the build has."""
        return not own and not step["together"] and one["try"] == 0

    def judge_rerun(self, step, build, jobs):
        """What a green job that was run again had to run was run, by whichever job of the step."""
        if self.history["on_retry"] == "unresolved" or step["hold"]:
            return
        ran = {run.test for run in build.runs if run.step == self.number}
        for made, one in jobs:
            if not one["try"] or made["code"] != 0:
                continue
            left = self.to_run_again(build, one["node"]) - ran
            if left:
                self.differ("step %d, job %s: is run again, ended with 0, and nobody executed what it had decided: %s",
                            self.number, made["name"], " ".join(sorted(left)))
            elif self.ran_nothing(build, made["name"]) and SAID_NOTHING not in made["said"]:
                self.differ("step %d, job %s: is run again, ended with 0, executed nothing, and does not say so",
                            self.number, made["name"])

    def ran_nothing(self, build, job):
        return job not in {run.job for run in build.runs} and "gone" not in build.tests.values()

    def to_run_again(self, build, node):
        """The tests that a job which is run again at least has to run."""
        decided = {test for test in build.tests if self.decided(build, node, test)}
        bad = {test for test in decided - build.muted if self.before(build, test)[-1].what in BAD}
        failed = any(run.what in BAD and build.jobs[run.job]["node"] == node and run.test not in build.muted
                     for test in build.tests for run in self.latest(build, test))
        now = {made["name"] for made in self.records[self.number]["jobs"]}
        for late in build.late:
            if late.job not in now and build.jobs[late.job]["node"] == node:
                ran_since = {run.test for run in build.runs if run.at > late.at and run.step < self.number}
                open_late = not build.cleared(late) and not build.untold(late)
                if open_late and not ran_since.issuperset(late.tests):  # else it is whose who ran them
                    bad |= set(late.tests)
        # A program that is gone runs never; and a build that its bound on failures ended never was complete.
        unfinished = self.history["bound"] or not all(self.before(build, test) for test in build.tests)
        return bad or (set() if unfinished or failed else decided)

    def before(self, build, test):
        return [run for run in build.of(test) if run.step < self.number]

    def latest(self, build, test):
        """Its executions in the last step before this one that had any."""
        runs = self.before(build, test)
        return [run for run in runs if run.step == runs[-1].step]

    def decided(self, build, node, test):
        """Is it certain that a job of the node decided the test, when it ran last before this step?"""
        last = self.latest(build, test)
        return bool(last) and all(build.jobs[run.job]["node"] == node and run.job not in build.victims for run in last)

    def judge_retries(self, step, build, jobs):
        """Who asks for retries gets them: a failing verdict needs so many failures."""
        history = self.history
        if any(made["code"] not in (0, 1) for made, _ in jobs) or history["cap"] or history["bound"] or step["away"]:
            return
        for test in build.tests:
            runs = build.of(test, None if build.victims else self.number)  # what was lost goes on later
            if runs and {run.what for run in runs} <= {"fail", "error"} and len(runs) <= self.history["retries"]:
                self.differ("step %d: %s failed %d times and was not tried again", self.number, test, len(runs))

    def needless_skips(self, build, jobs):
        """Tests that were skipped on one machine while another was there that would have run them."""
        if not any(one.get("first") for _, one in jobs):
            return []
        acts = build.tests
        return [test for test in build.tests if acts[test] == "needs" and build.state(test) == "skipped"]

    def judge_named(self, build, jobs):
        """Whoever skipped what ran elsewhere stands in the closing lines."""
        passed = {run.test for run in build.runs if run.step == self.number and run.what == "pass"}
        for made, one in jobs if any(one.get("first") for _, one in jobs) else ():
            skipped = {run.test for run in build.runs if run.job == made["name"] and run.what == "skip"}
            named = any("node %d skipped" % one["node"] in other["said"] for other, _ in jobs)
            if one["lacks"] and skipped & passed and not named:
                self.differ("step %d, job %s: nobody says that it skipped what ran elsewhere: %s", self.number,
                            made["name"], " ".join(sorted(skipped & passed)))

    # ---- what changes nothing

    def judge_restart(self, number, record):
        before = [made for step, made in zip(self.history["steps"][:number], self.records)
                  if step["do"] == "run" and made["asked"]]
        for env, asked in record["asked"].items() if before else []:
            was = before[-1]["asked"][env]
            if (asked["wait"], asked["report"]) != (was["wait"], was["report"]):
                self.differ("step %d: a restart of the daemon changes wait from %d to %d, or the report", number,
                            was["wait"], asked["wait"])

    # ---- results that are brought later

    def judge_submit(self, step, record):
        builds = [build for (place, _), build in self.builds.items() if place[0] == step["key"]]
        for build in builds:
            asked = next(iter(record["asked"].values()))
            green, wrong = build.may_be_green(), build.wrong()
            facts = " ".join("%s=%s" % pair for pair in sorted(wrong.items()))
            self.judge_wait(asked, build, green, wrong, facts)
            if asked["wait"] in (0, 1):
                self.judge_report(asked, build)
            self.judge_twins(build, record)

    def judge_twins(self, build, record):
        """Jobs that ran one part are named when the second of them is handed over."""
        step, made = self.history["steps"][self.number - 1], self.records[self.number - 1]["jobs"]
        ran = {run.job for run in build.runs}
        nodes = [one["node"] for one, job in zip(step.get("jobs", []), made) if job["name"] in ran]
        if step.get("away") and len(nodes) > len(set(nodes)) and "missing" in build.wrong().values():
            if record["code"] != 16 or "both ran part" not in record["output"]:
                self.differ("step %d: submit ended with %d and names no two jobs of one number", self.number,
                            record["code"])


def gives_up(runs):
    """Did so many tests pass by without a word from the tool that the tool itself may be to blame?"""
    return sum(run.what in ("silent", "exit0") for run in runs) >= SILENT


def short_name(name):
    return name.rpartition("::")[2]


def junit_cases(text):
    """{name of a test without its file: what its row is}."""
    found = {}
    for case in ElementTree.fromstring(text).iter("testcase") if text else []:
        tags = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[short_name(case.get("name"))] = tags[0] if tags else "passed"
    return found


def judge(history, records):
    """What differs from the truth, a line each."""
    return Judge(history, records).judge()
