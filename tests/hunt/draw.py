"""Draws a history from a seed: a suite, its jobs, and what a CI does with them, as plain data (dicts and lists), which
play.py runs, judge.py judges and shrink.py makes smaller. Same seed and theme, same history.

A history has commits {label: {"sha", "tests": {name: act}, "addopts"}} and steps. A step is one of
    {"do": "run", "key": pipeline, "commit": label, "together": bool, "away": bool, "jobs": [job…], "hold": "kill"…}
    {"do": "mute", "test": name}
    {"do": "submit", "key": pipeline}
    {"do": "restart"}, of the daemon
and a job {"node", "try": 0, 1, … of this node in this pipeline, "env": name, "lacks": bool, "late": where its
session's end goes wrong, or ""}, with a "label" if it is of another commit than the step, "at_end" if it is held at the
end of its session.
"""
import random

import suites

# What a history is mainly about, how often it is drawn, and the cases of the known wrong verdicts that it covers.
THEMES = {
    "plain": (14, ""), "rerun": (16, "v1 v11"), "late": (7, "v1"), "reuse": (9, "v2"), "batch": (10, "v7"),
    "status": (6, "v4"), "notrun": (5, "v4"), "order": (5, "v5"), "setup": (3, "v9"), "matrix": (6, "v10"),
    "skips": (7, "v12"), "lost": (5, ""), "cancel": (4, ""), "mute": (5, ""), "fallback": (5, "v3"),
    "ends": (5, "v1 v11"), "none": (3, "v6"), "twins": (4, "v3"), "hang": (1, ""),
}
CIS = "plain plain plain github github gitlab gitlab buildkite circleci azure semaphore".split()
NAMES_MATRIX = ["gitlab", "buildkite", "circleci", "azure", "semaphore"]  # they tell the entry of a matrix
RESTARTS = {"rerun": 0.12, "late": 0.12, "skips": 0.1, "fallback": 0.1}
ENDS = ["finish", "exit", "cleanup", "status", "handler"]
ODD_OPTIONS = ["--setup-only", "--setup-plan", "--setup-show"]


def themes_of(case):
    """The themes that cover a case, or the one of that name."""
    found = [name for name, (_, cases) in THEMES.items() if case in cases.split() or case == name]
    if not found:
        raise ValueError("%s is neither a theme (%s) nor a case that one covers" % (case, ", ".join(THEMES)))
    return found


def draw(seed, theme=None):
    """The history of a seed."""
    rng = random.Random("shard hunt %s" % seed)
    drawn = rng.choices(list(THEMES), [weight for weight, _ in THEMES.values()])[0]
    theme = theme or drawn
    history = {"seed": seed, "theme": theme, "form": draw_form(rng, theme), "ci": rng.choice(CIS), "retries": 0,
               "lazy": False, "nodes": rng.randint(1, 3), "on_retry": "", "cap": "", "bound": "", "mixed": "",
               "variant": False, "env_key": False,
               "commits": {}, "steps": []}
    if rng.random() < 0.4:
        history["retries"] = rng.randint(1, 2)
    if history["form"] == "pytest" and rng.random() < 0.3:
        history["lazy"] = True
    if theme in ("plain", "rerun") and rng.random() < 0.12:
        history["bound"] = str(rng.randint(1, 2))
    if theme == "rerun" and rng.random() < 0.2:
        history["on_retry"] = rng.choice(["mine", "all", "unresolved"])
    DRAWERS[theme](rng, history)
    if len(history["steps"]) > 1 and rng.random() < RESTARTS.get(theme, 0.04):
        history["steps"].insert(rng.randint(1, len(history["steps"])), {"do": "restart"})
    return history


def draw_form(rng, theme):
    only = {"late": ["pytest"], "ends": ["pytest"], "setup": ["pytest"], "notrun": ["ctest"], "order": ["order"],
            "batch": ["tap", "junit"], "status": ["tap", "junit"], "skips": ["tap", "junit", "ctest", "pytest"],
            "none": ["exit"], "matrix": ["exit", "tap", "junit", "pytest"]}.get(theme, suites.FORMS)
    weights = {"exit": 25, "order": 10, "tap": 25, "junit": 20, "ctest": 6, "pytest": 14}
    return rng.choices(only, [weights[form] for form in only])[0]


def draw_tests(rng, form, bad=0.25, least=2, most=7, never=()):
    """{name: act}; the names are in two or three files."""
    acts = [act for act in suites.ACTS[form] if act not in never]
    names = ["%s%d" % (rng.choice("abc"), i) for i in range(rng.randint(least, most))]
    return {name: rng.choice(acts) if rng.random() < bad else "pass" for name in sorted(names)}


def add_commit(history, label, tests, sha=None, addopts=""):
    history["commits"][label] = {"sha": sha or (label * 20)[:40], "tests": tests, "addopts": addopts}


def job(node, attempt=0, env="e1", **more):
    return dict({"node": node, "try": attempt, "env": env, "lacks": False, "late": ""}, **more)


def run(history, jobs, commit="c1", key=1, **more):
    """Adds a step of jobs and returns it."""
    step = dict({"do": "run", "key": key, "commit": commit, "together": True, "away": False, "hold": "", "jobs": jobs},
                **more)
    history["steps"].append(step)
    return step


def first_run(rng, history, **more):
    jobs = [job(node) for node in range(history["nodes"])]
    return run(history, jobs, together=rng.random() < 0.6, **more)


def tries(history, key=1):
    """{node: the number of its next try}."""
    found = {}
    for step in history["steps"]:
        if step["do"] == "run" and step["key"] == key:
            found.update({one["node"]: max(found.get(one["node"], 0), one["try"] + 1) for one in step["jobs"]})
    return found


def again(rng, history, every=None, key=1, commit="c1", **more):
    """Adds a step in which jobs are run again: one, or all."""
    nexts = tries(history, key)
    every = rng.random() < 0.5 if every is None else every
    nodes = sorted(nexts) if every else [rng.choice(sorted(nexts))]
    return run(history, [job(node, nexts[node], **more) for node in nodes], commit, key, together=rng.random() < 0.5)


# ---- themes

def draw_plain(rng, history):
    add_commit(history, "c1", draw_tests(rng, history["form"]))
    first_run(rng, history)


def draw_rerun(rng, history):
    add_commit(history, "c1", draw_tests(rng, history["form"], rng.choice([0, 0, 0.2, 0.4])))
    first_run(rng, history)
    for _ in range(rng.randint(1, 3)):
        again(rng, history)


def draw_late(rng, history):
    add_commit(history, "c1", draw_tests(rng, "pytest", 0.1, most=4))
    step = first_run(rng, history)
    for one in step["jobs"]:
        one["late"] = "fixture" if rng.random() < 0.7 else ""
    for _ in range(rng.randint(1, 2)):
        again(rng, history, late="fixture" if rng.random() < 0.2 else "")
    if rng.random() < 0.3:
        again(rng, history, every=False, at_end=True)["hold"] = rng.choice(["kill", "cancel"])
        if rng.random() < 0.7:
            again(rng, history)


def draw_ends(rng, history):
    """A session's end goes wrong with the status of a failing test, and that test is forgiven: it is tried again, run
    again or muted."""
    tests, key = draw_tests(rng, "pytest", 0.1, most=4, never=suites.CRASHES), 1
    victim = rng.choice(sorted(tests))
    tests[victim] = rng.choice(["once", "once", "fail"])
    add_commit(history, "c1", tests)
    history["nodes"], history["retries"] = rng.randint(1, 2), rng.randint(0, 1)
    if tests[victim] == "fail":
        first_run(rng, history)
        history["steps"].append({"do": "mute", "test": victim})
        key = 2
    step = first_run(rng, history, key=key)
    for one in step["jobs"]:
        one["late"] = rng.choice(ENDS) if rng.random() < 0.8 else ""
    for _ in range(rng.randint(0, 2)):
        again(rng, history, key=key, late=rng.choice(ENDS) if rng.random() < 0.2 else "")


def draw_reuse(rng, history):
    """A pipeline's key is used for another commit, or for another list."""
    form = history["form"]
    tests = draw_tests(rng, form, rng.choice([0, 0, 0.3]))
    add_commit(history, "c1", tests)
    other = dict(tests)
    kind = rng.choice(["code", "code", "list", "list", "same"])
    if kind == "code":
        other[rng.choice(sorted(other))] = "fail"
    elif kind == "list":
        other["%s9" % rng.choice("abc")] = "pass"
    same_sha = kind == "list" and rng.random() < 0.5
    add_commit(history, "c2", other, history["commits"]["c1"]["sha"] if same_sha else None)
    step = first_run(rng, history)
    if same_sha and rng.random() < 0.5:
        step["jobs"].append(job(history["nodes"], label="c2"))  # its list command gives another list
        return
    if rng.random() < 0.3:
        again(rng, history)
    nexts = tries(history)
    node = rng.choice(sorted(nexts) + [max(nexts) + 1])
    run(history, [job(node, nexts.get(node, 0))], "c2")
    if rng.random() < 0.5:
        run(history, [job(0)], "c2", key=2)


def draw_batch(rng, history):
    """Several tests in one process, in the middle of which something happens."""
    tests = draw_tests(rng, history["form"], 0.15, least=3)
    tests[rng.choice(sorted(tests))] = rng.choice(["crash", "exit0", "silent"])
    add_commit(history, "c1", tests)
    history["nodes"] = rng.randint(1, 2)
    first_run(rng, history)
    if rng.random() < 0.4:
        again(rng, history)


def draw_status(rng, history):
    """Processes that end with a status which no failing test explains, or only one that is tried again."""
    tests = draw_tests(rng, history["form"], 0.1)
    names = sorted(tests)
    tests[rng.choice(names)] = rng.choice(["status", "statusonce"])
    if rng.random() < 0.5:
        tests[rng.choice(names)] = "once"
        history["retries"] = 1
    add_commit(history, "c1", tests)
    history["nodes"] = rng.randint(1, 2)
    first_run(rng, history)
    for _ in range(rng.randint(0, 2)):
        again(rng, history)


def draw_notrun(rng, history):
    tests = draw_tests(rng, "ctest", 0.3, most=5, never=("crash",))
    names = sorted(tests)
    tests[rng.choice(names)] = "gone"
    if rng.random() < 0.6:
        tests["a8"] = "once"
        history["retries"] = rng.randint(1, 2)
    add_commit(history, "c1", tests)
    history["nodes"] = rng.randint(1, 2)
    first_run(rng, history)
    if rng.random() < 0.4:
        again(rng, history)


def draw_order(rng, history):
    add_commit(history, "c1", draw_tests(rng, "order", rng.choice([0, 0.3])))
    first_run(rng, history)
    if rng.random() < 0.3:
        again(rng, history)


def draw_setup(rng, history):
    """Options under which pytest runs no body of a test, or shows more and runs all."""
    add_commit(history, "c1", draw_tests(rng, "pytest", 0, most=4), addopts=rng.choice(ODD_OPTIONS))
    history["nodes"] = rng.randint(1, 2)
    first_run(rng, history)


def draw_matrix(rng, history):
    """Jobs of two environments, side by side."""
    add_commit(history, "c1", draw_tests(rng, history["form"], rng.choice([0, 0.2]), least=3))
    if rng.random() < 0.6:
        history["ci"] = rng.choice(NAMES_MATRIX)
    elif rng.random() < 0.4:
        history["variant"] = True
    elif rng.random() < 0.5:
        history["env_key"] = True
    elif rng.random() < 0.5:
        history["mixed"] = "environment"
    run(history, [job(0, env="e1"), job(1, env="e2")], together=rng.random() < 0.7)
    if is_separate(history) and rng.random() < 0.4:
        node = rng.randint(0, 1)
        run(history, [job(node, 1, env="e%d" % (node + 1))])


def is_separate(history):
    """Are the entries of the matrix builds of their own?"""
    return history["theme"] == "matrix" and (history["ci"] in NAMES_MATRIX or history["variant"])


def draw_skips(rng, history):
    """A machine that lacks something works beside one that does not. The first of them is held until the other one is
    there, or has skipped a test."""
    tests = draw_tests(rng, history["form"], 0, least=4, most=8)
    names = sorted(tests)
    tests.update({name: "needs" if rng.random() < 0.6 else "pass" for name in names})
    tests[names[-1]], tests[names[0]] = "needs", "gate"
    add_commit(history, "c1", tests)
    history.update(nodes=2, lazy=False)
    lacking = rng.random() < 0.75
    if rng.random() < 0.4:
        run(history, [job(0)], key=2)
    run(history, [job(0, lacks=lacking, first=True), job(1, lacks=not lacking)])


def draw_lost(rng, history):
    """A machine dies, or its job is cancelled, in the middle of a test."""
    tests = draw_tests(rng, history["form"], 0.1, least=3)
    tests[rng.choice(sorted(tests))] = "hold"
    add_commit(history, "c1", tests)
    step = first_run(rng, history)
    step["hold"] = "kill" if history["theme"] == "lost" else "cancel"
    if len(step["jobs"]) == 1 or rng.random() < 0.4:
        again(rng, history, every=len(step["jobs"]) == 1)


def draw_mute(rng, history):
    form = history["form"]
    tests = draw_tests(rng, form, rng.choice([0, 0.2]), least=3, never=suites.CRASHES)
    victim = rng.choice(sorted(tests))
    tests[victim] = rng.choice(["fail", "fail", "once"])
    add_commit(history, "c1", tests)
    first_run(rng, history)
    history["steps"].append({"do": "mute", "test": victim})
    first_run(rng, history, key=2)
    if rng.random() < 0.5:
        again(rng, history, key=2)


def draw_fallback(rng, history):
    """Jobs that cannot reach the server, and hand over what they ran later; two may have one number."""
    history["nodes"], history["lazy"] = rng.randint(2, 3), False
    add_commit(history, "c1", draw_tests(rng, history["form"], rng.choice([0, 0.2]), least=3, never=("hang",)))
    step = first_run(rng, history, away=True)
    kind = rng.choice(["all", "all", "twice", "less"])
    if kind == "twice":
        step["jobs"][-1]["node"] = 0
    elif kind == "less":
        step["jobs"].pop()
    history["steps"].append({"do": "submit", "key": 1})
    if rng.random() < 0.2:
        history["steps"].append({"do": "submit", "key": 1})
    if kind != "twice" and rng.random() < 0.4:
        again(rng, history)


def draw_none(rng, history):
    """A program that does not find the test that it is told to run."""
    tests = draw_tests(rng, "exit", 0.2)
    tests[rng.choice(sorted(tests))] = "none"
    add_commit(history, "c1", tests)
    first_run(rng, history)
    if rng.random() < 0.4:
        again(rng, history)


def draw_twins(rng, history):
    """Two jobs have one number."""
    add_commit(history, "c1", draw_tests(rng, history["form"], rng.choice([0, 0.2])))
    history["nodes"] = max(2, history["nodes"])
    step = first_run(rng, history)
    step["jobs"].append(job(0, attempt=rng.choice([0, 0, 1])))
    if rng.random() < 0.3:
        again(rng, history)


def draw_hang(rng, history):
    tests = draw_tests(rng, history["form"], 0.1, least=2, most=4)
    tests[rng.choice(sorted(tests))] = "hang"
    history.update(cap="1s", retries=0)
    add_commit(history, "c1", tests)
    first_run(rng, history)


DRAWERS = {name: globals()["draw_" + ("lost" if name == "cancel" else name)] for name in THEMES}


# ---- for people

def readable(history):
    """The history as text."""
    lines = ["seed %s, theme %s: %s, CI %s, retries %d%s%s%s" % (
        history["seed"], history["theme"], history["form"], history["ci"], history["retries"],
        ", lazy" if history["lazy"] else "", history["cap"] and ", limit " + history["cap"],
        (", --variant" if history["variant"] else "") + (", --env-key" if history["env_key"] else "")
        + (history["on_retry"] and ", --on-retry " + history["on_retry"])
        + (history["mixed"] and ", --allow-mixed " + history["mixed"])
        + (history["bound"] and ", --max-failures " + history["bound"]))]
    for label, commit in history["commits"].items():
        tests = " ".join("%s=%s" % pair for pair in commit["tests"].items())
        lines.append("  commit %s (%s) %s: %s" % (label, commit["sha"][:8], commit["addopts"], tests))
    for number, step in enumerate(history["steps"]):
        lines.append("  step %d: %s" % (number, readable_step(step)))
    return "\n".join(lines)


def readable_step(step):
    if step["do"] == "mute":
        return "mute %s" % step["test"]
    if step["do"] == "restart":
        return "the daemon is killed and starts again"
    if step["do"] == "submit":
        return "shard submit, pipeline %d" % step["key"]
    jobs = ["node %d try %d %s%s%s%s" % (one["node"], one["try"], one["env"], " lacks docker" if one["lacks"] else "",
                                         readable_end(one), " of " + one["label"] if "label" in one else "")
            for one in step["jobs"]]
    return "pipeline %d, commit %s, %s%s%s: %s" % (
        step["key"], step["commit"], "together" if step["together"] else "one after the other",
        ", server away" if step["away"] else "", step["hold"] and ", %s who holds" % step["hold"], "; ".join(jobs))


def readable_end(one):
    if one["late"]:
        return " wrong at the end (%s)" % one["late"]
    return " ends late" if one.get("at_end") else ""
