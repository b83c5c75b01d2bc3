"""A plugin of pytest for suites of others: some of their tests draw random graphs without a seed, and now and then one
that takes minutes. Each test begins with numbers of its own, alike in every run."""
import random
import sys
import zlib


def pytest_runtest_setup(item):
    seed = zlib.crc32(item.nodeid.encode("utf-8", "backslashreplace"))
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
