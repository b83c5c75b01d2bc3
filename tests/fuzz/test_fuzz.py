"""Feeds each fuzz target its corpus, and the same mutations of it each time. The search itself is `make fuzz-NAME`."""
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import seeds  # noqa: E402
import shardlib  # noqa: E402

TARGETS = sorted(path.stem[len("fuzz_"):] for path in HERE.glob("fuzz_*.c"))
MUTATIONS = 300
FEWER = {"query": 10, "spool": 30}  # those that wait for a database or a disk


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    seeds.main(["seeds", folder])
    return lambda name: [path for path in (HERE / "corpus" / name, folder / name) if path.exists()]


def feed(name, paths, mutations):
    program = shardlib.BUILD_DIR / "fuzz" / ("fuzz_" + name)
    return subprocess.run([program, "--mutations", str(mutations), *paths], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, errors="replace", timeout=1800,
                          env=shardlib.clean_env())


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(corpora, name):
    paths = corpora(name)
    files = sum(1 for path in paths for entry in path.iterdir())
    mutations = FEWER.get(name, MUTATIONS)
    done = feed(name, paths, mutations)
    assert done.returncode == 0, done.stdout
    assert files >= 4 and int(re.search(r"replay: (\d+) inputs", done.stdout).group(1)) == files * (mutations + 1)


def test_command_lines_are_known():
    """A new subcommand or option is in the dictionary, too; the seeds follow the programs' tables by themselves."""
    words = (HERE / "dict" / "cli.dict").read_text().splitlines()
    wanted = ['"%s\\x0a"' % name for name in seeds.subcommands()] + ['"--%s"' % name for name in seeds.option_names()]
    assert len(wanted) > 80 and set(wanted) - set(words) == set()


def test_messages_are_known():
    """Every target has a dictionary; that of the messages begins each of them."""
    assert {path.stem for path in (HERE / "dict").glob("*.dict")} == set(TARGETS)
    assert set(seeds.tags(seeds.wire.pb.Frame())) <= set((HERE / "dict" / "msg.dict").read_text().splitlines())


def test_questions_are_known(corpora):
    """Each kind has seeds, each is answered with rows by a database of nonsense; the dictionary begins each field."""
    kinds = set(seeds.wire.pb.QueryKind.keys()) - {"QUERY_UNSET"}
    done = feed("query", corpora("query"), mutations=0)
    assert done.returncode == 0, done.stdout
    told = re.search("query: answered with rows:(.*)", done.stdout).group(1)
    assert len(kinds) >= 27 and set(told.split()) == kinds
    assert set(seeds.tags(seeds.wire.pb.Query())) <= set((HERE / "dict" / "query.dict").read_text().splitlines())


def test_nothing_to_feed_is_no_success(tmp_path):
    assert feed("ids", [tmp_path], MUTATIONS).returncode == 1
