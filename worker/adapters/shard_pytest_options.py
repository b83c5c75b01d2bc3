"""The options of a pytest session that does not run all tests in one process: those that cannot hold, and those with
which nothing runs. shard_pytest.py is the only user. PYTEST_DONT_REWRITE
"""
import os
import re
from contextlib import suppress

import pytest

# Options with which pytest runs no test, by their member in its options; some of them set others of them.
RUNS_NOTHING = {
    "collectonly": ("--collect-only", "--collectonly", "--co"),
    "setupplan": ("--setup-plan", "--setupplan"),
    "setuponly": ("--setup-only", "--setuponly"),
    "showfixtures": ("--fixtures", "--funcargs"),
    "show_fixtures_per_test": ("--fixtures-per-test",),
    "cacheshow": ("--cache-show",),
    "markers": ("--markers",),
    "version": ("--version", "-V"),
    "help": ("--help", "-h"),
}


# Options by which each job runs a fixed part of the tests, by what gives them. Both of a pair have to be there: their
# names are common ones.
DIVIDES = {"pytest-split": ("--splits", "--group"), "pytest-test-groups": ("--test-group-count", "--test-group")}


def refuse_division(args):
    """What divides the tests would leave a part of each part: nobody runs the rest."""
    given = {str(word).split("=")[0] for word in args}
    for plugin, words in DIVIDES.items():
        if given.issuperset(words):
            raise pytest.UsageError("shard: %s and %s of %s give each job a fixed part of the tests, and shard hands "
                                    "them out itself: remove both" % (words + (plugin,)))


def runs_nothing(options):
    return next((name for name in RUNS_NOTHING if getattr(options, name, None)), None)


def where_given(config, words):
    """The word, and where it stands, for a person."""
    places = (("in the command", config.invocation_params.args),
              ("in PYTEST_ADDOPTS", os.environ.get("PYTEST_ADDOPTS", "").split()))
    for place, given in places:
        for word in given:
            if str(word).split("=")[0] in words:
                return "%s (%s)" % (word, place)
    return "%s (in addopts of %s)" % (words[0], config.inipath or "the configuration")


def note_idle(config, path):
    """A session that runs no test does not join the queue. The worker finds the note if no other session comes."""
    option = runs_nothing(config.option)
    if not option:
        return
    why = "pytest was told %s, with which it runs no tests" % where_given(config, RUNS_NOTHING[option])
    with suppress(OSError), open(path, "w", encoding="utf-8", errors="replace") as note:
        note.write(why)
    if option in ("setuponly", "setupplan"):  # fixtures of all tests would be set up, here and in each other worker
        raise pytest.UsageError("shard: " + why)


def name_coverage_file(options):
    """One coverage file per worker, so that those which share a folder do not overwrite each other's."""
    from coverage import Coverage

    name = Coverage(config_file=options.cov_config).config.data_file or ".coverage"
    suffix = "." + re.sub("[^A-Za-z0-9_-]", "_", os.environ["SHARD_NODE"])
    if not name.endswith(suffix):
        os.environ["COVERAGE_FILE"] = name + suffix


def refuse_xdist(options):
    wanted = getattr(options, "numprocesses", None) or getattr(options, "tx", None)
    if not wanted:
        return None
    options.numprocesses, options.tx, options.dist = None, [], "no"
    count = len(wanted) if isinstance(wanted, list) else wanted
    return "shard: WARNING: pytest-xdist (-n %s) is off: each shard worker runs one test process; start more workers " \
        "instead (shard local -n %s)" % (count, count)


def drop_cov_minimum(config):
    cov = config.pluginmanager.getplugin("_cov")
    minimum = getattr(getattr(cov, "options", None), "cov_fail_under", None)
    if not minimum:
        return None
    cov.options.cov_fail_under = config.option.cov_fail_under = 0
    return "shard: --cov-fail-under=%g is not checked here, one worker runs only part of the tests: use " \
        "'coverage combine && coverage report --fail-under=%g' after the last one" % (minimum, minimum)
