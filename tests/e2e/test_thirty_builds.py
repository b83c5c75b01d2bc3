"""The short form of `make thirty-builds`: flaky tests enter the quarantine by themselves, builds in which they fail are
green and say so, a broken test is never muted, and what has expired gates again."""
import sys

from shardlib import ROOT

sys.path.insert(0, str(ROOT / "tests/bench"))
import thirty_builds  # noqa: E402  pylint: disable=wrong-import-position


def test_the_quarantine_over_nine_builds(tmp_path):
    thirty_builds.run(tmp_path, thirty_builds.SHORT)
