"""A real suite of some five thousand tests over four workers, against one plain run of it."""
import collections

import pytest
from shardlib import PYTEST, Worker, attempts, codes, junit, outputs, plain_pytest, settling
from test_ci_env import CI, JOBS, gitlab

pytestmark = pytest.mark.slow
COMMAND = PYTEST + ["--pyargs", "networkx"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return plain_pytest(tmp_path_factory.mktemp("plain"), command=COMMAND, timeout=600)


def run_jobs(daemon, folder, ci, pipeline):
    jobs = [Worker(daemon, folder, node=str(i), env=ci(pipeline, i), command=COMMAND) for i in range(JOBS)]
    codes(jobs, timeout=600)
    return jobs


def test_networkx_on_gitlab(tmp_path, daemon, plain):
    ci = CI(gitlab)
    jobs = run_jobs(daemon, tmp_path, ci, 1)
    found = attempts(daemon, ci.key(), env=ci())
    assert len(found) > 5000 and {name for name, rows in found.items() if len(rows) != 1} == set()
    assert {name: settling(rows)[-1]["status"] for name, rows in found.items()} == plain.outcomes, outputs(jobs)
    ran = collections.Counter(name for job in jobs for name in job.ran())
    assert set(ran.values()) == {1} and set(ran) == {name for name in plain.outcomes if "::" in name}
    assert junit(daemon, tmp_path / "merged.xml", ci.key(), env=ci()) == plain.junit
    assert max(codes(jobs)) == plain.code == ci.wait(daemon)

    # Knowing the durations, the second build begins with the longest files.
    run_jobs(daemon, tmp_path, ci, 2)
    rows = [rows[-1] for rows in attempts(daemon, ci.key(2), env=ci(2)).values()]
    assert len(rows) == len(found)
    spent = collections.Counter()
    for each in found.values():
        spent[each[-1]["file"]] += sum(each[-1][part] for part in ("setup_us", "call_us", "teardown_us"))
    begun = list(collections.OrderedDict((row["file"], 1) for row in sorted(rows, key=lambda row: row["start"])
                                         if "::" in row["id"]))
    longest = {name for name, _ in spent.most_common(8)}
    assert len(longest & set(begun[:12])) >= 6, begun[:12]
