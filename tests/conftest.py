"""How pytest-xdist divides the tests: one by one, so that no long file is what all wait for in the end, and those that
take long first. tests/check.py makes pytest read this file whatever it runs."""
import pytest

# Begin first, in this order: they take long. A part of a name is enough.
LONG = ("test_networkx.py", "test_planted_bugs_are_found", "test_what_was_acknowledged_outlives", "test_bisect_finds",
        "test_thirty_builds.py", "test_a_short_soak", "test_all_invariants_hold", "test_corpus", "test_no_verdict_is",
        "test_hunt.py", "test_while_results_are_brought", "test_adapter_outcomes.py", "test_part", "test_adapter",
        "test_recipes.py", "test_replay.py", "test_too_few", "test_chaos.py", "test_lazy.py")
# Files whose tests stay in one process, as they share something that takes long to make.
WHOLE = ("chaos/test_kill_storm.py", "e2e/test_command_evidence.py", "e2e/test_networkx.py", "e2e/test_plan.py")
ALIKE = "e2e/adapter/"  # here the tests of one name stay together: their sessions are kept (conftest.py there)


def unit(nodeid):
    """What one process takes at a time: a test, unless it shares something."""
    file, _, name = nodeid.partition("::")
    if file.endswith(WHOLE):
        return file
    return file + "::" + name.partition("[")[0] if ALIKE in file else nodeid


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if name in item.nodeid), len(LONG)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling  # pylint: disable=import-outside-toplevel

    class ByUnit(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return unit(nodeid)

    return ByUnit(config, log)
