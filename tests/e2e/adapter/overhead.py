"""What the plugin costs: 2,000 trivial tests by plain pytest and through the plugin, in turn; medians of the ratios.
Run by hand: /usr/bin/python3 tests/e2e/adapter/overhead.py [tests [rounds]]"""
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from fake_worker import PYTHON, Answer, FakeWorker, clean_env

TEST = "def test_%d(): pass\n"


def measured(call):
    """(wall seconds, the child's CPU seconds)"""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    call()
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(tests=2000, rounds=7):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for number in range(20):
            (folder / ("test_%02d.py" % number)).write_text("".join(TEST % n for n in range(tests // 20)))
        args = ["-q", "-p", "no:cacheprovider"]

        def plain():
            subprocess.run([PYTHON, "-m", "pytest"] + args, cwd=str(folder), env=clean_env(), check=True,
                           stdout=subprocess.DEVNULL)

        def fed(size):
            done = FakeWorker(folder, Answer(size)).start(args)
            assert done.rc == 0 and len(done.results) == tests

        sizes = (20, 1, None)
        plain()
        rows = [[measured(plain)] + [measured(lambda: fed(size)) for size in sizes] for _ in range(rounds)]
        base = statistics.median(row[0][0] for row in rows)
        print("plain: %.3f s wall, medians of %d rounds, %d tests" % (base, rounds, tests))
        for place, size in enumerate(sizes, 1):
            wall, cpu = (statistics.median(row[place][i] / row[0][i] for row in rows) for i in (0, 1))
            print("leases of %-4s  wall %.2fx (+%.0f us per test), CPU of the test process %.2fx" % (
                size or "all", wall, (wall - 1) * base / tests * 1e6, cpu))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
