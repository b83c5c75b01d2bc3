"""A real suite of some five thousand tests over four jobs of GitLab, then Buildkite's, then GitHub's, against one plain
run of it."""
import collections
import shutil

import pytest
from shardlib import PYTEST, ROOT, Worker, attempts, codes, junit, outputs, plain_pytest, ran_again, settling
from test_ci_env import CI, JOBS, buildkite, github, gitlab

pytestmark = pytest.mark.slow
# Some sixty of the five thousand take two thirds of the time, which shows nothing that the others do not.
LONG = ("memory_leak articulation_points test_example_1 test_omega test_torrents held_karp_ascent ascent_method "
        "davis_southern_women_graph fruchterman_reingold tree_isomorphism node_cutset_random smoke_int "
        "arborescence_iterator_m asadpour_tsp directed_joint_degree_graph modularity_communities test_sigma").split()
COMMAND = PYTEST + ["-p", "seeded", "--pyargs", "networkx",  # seeded.py, found in the working folder
                    "-k", "not (%s)" % " or ".join(LONG)]
PHASES = ("setup_us", "call_us", "teardown_us")


def with_seeds(folder):
    shutil.copy(str(ROOT / "tests/e2e/seeded.py"), str(folder))
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return plain_pytest(with_seeds(tmp_path_factory.mktemp("plain")), command=COMMAND, timeout=3600)


def run_build(daemon, folder, ci, plain):
    """{id: attempts} of a build that came out as plain pytest did."""
    folder.mkdir()
    with_seeds(folder)
    jobs = [Worker(daemon, folder, node=str(i), build=None, env=ci(1, i), command=COMMAND) for i in range(JOBS)]
    codes(jobs, timeout=3600)
    found = attempts(daemon, ci.key(), env=ci())
    assert len(found) > 5000 and ran_again(found, JOBS) == {}
    assert {name: settling(rows)[-1]["status"] for name, rows in found.items()} == plain.outcomes, outputs(jobs)
    ran = collections.Counter(name for job in jobs for name in job.ran())
    assert {name for name, count in ran.items() if count != 1 and plain.outcomes[name] != "skipped"} == set()
    assert set(ran) == {name for name in plain.outcomes if "::" in name}
    assert junit(daemon, folder / "merged.xml", ci.key(), env=ci()) == plain.junit
    assert max(codes(jobs)) == plain.code == ci.wait(daemon)
    return found


def longest_files(found, count):
    spent = collections.Counter()
    for rows in found.values():
        spent[rows[-1]["file"]] += sum(rows[-1][phase] for phase in PHASES)
    return {name for name, _ in spent.most_common(count)}


def first_files(found, count):
    rows = sorted((rows[-1] for rows in found.values()), key=lambda row: row["start"])
    return list(collections.OrderedDict((row["file"], 1) for row in rows if "::" in row["id"]))[:count]


def test_networkx_on_three_cis(tmp_path, daemon, plain):
    first = run_build(daemon, tmp_path / "gitlab", CI(gitlab), plain)
    # Knowing the durations, the later builds begin with the longest files.
    for variables in (buildkite, github):
        found = run_build(daemon, tmp_path / variables.__name__, CI(variables), plain)
        begun = first_files(found, 12)
        assert len(longest_files(first, 8) & set(begun)) >= 6, begun
