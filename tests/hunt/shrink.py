"""Makes a history smaller while something about it still differs: fewer steps, jobs, tests and options. It runs the
real programs, so it stops after a number of tries."""
import copy

TRIES = 60


def smaller(history):
    """Histories that are one step smaller, the boldest first."""
    for place in reversed(range(1, len(history["steps"]))):
        yield without(history, lambda one: one["steps"].pop(place))
    for label in list(history["commits"])[1:]:
        if not any(step.get("commit") == label for step in history["steps"]):
            yield without(history, lambda one: one["commits"].pop(label))
    for number, step in enumerate(history["steps"]):
        for place in range(len(step.get("jobs", [])) if len(step.get("jobs", [])) > 1 else 0):
            yield without(history, lambda one: one["steps"][number]["jobs"].pop(place))
    for name in sorted({name for commit in history["commits"].values() for name in commit["tests"]}):
        yield without(history, lambda one: [commit["tests"].pop(name, None) for commit in one["commits"].values()])
    for key, plain in (("retries", 0), ("lazy", False), ("ci", "plain"), ("on_retry", ""),
                       ("bound", "")):
        if history[key] != plain:
            yield without(history, lambda one: one.update({key: plain}))
    for number, step in enumerate(history["steps"]):
        if step.get("together"):
            yield without(history, lambda one: one["steps"][number].update(together=False))


def without(history, change):
    """A copy of history with the change; the original when nothing would be left."""
    copied = copy.deepcopy(history)
    change(copied)
    return copied if all(commit["tests"] for commit in copied["commits"].values()) else history


def kind(differences):
    """What a difference is about, without the numbers and names in it."""
    return {text.partition(": ")[2].split(",")[0][:24] for text in differences}


def shrink(history, run):
    """(history, differences, records) of the smallest found; run(history) gives the latter two."""
    differences, records = run(history)
    wanted, tries, progress = kind(differences), 0, True
    while progress and differences and tries < TRIES:
        progress = False
        for candidate in smaller(history):
            tries += 1
            if candidate == history or tries > TRIES:
                continue
            try:
                found, made = run(candidate)
            except Exception:
                continue
            if kind(found) & wanted:
                history, differences, records, progress = candidate, found, made, True
                break
    return history, differences, records
