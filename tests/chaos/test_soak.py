"""The short run of soak.py, and that its judge finds what grows."""
import pytest
import soak

RSS, FDS, BYTES, ROWS, BUILDS = range(5)  # of a sample
HORIZON_S = 20


def samples(grows=None, by=0.0):
    """Made up: 100 s of ten builds a second that keep a level, but for the one number that grows by that part of itself
    from begin to end."""
    found = []
    for second in range(100):
        values = [30000, 24, 5_000_000, 10 * soak.TESTS * HORIZON_S, 5000 + 10 * second]
        if grows is not None:
            values[grows] = int(values[grows] * (1 + by * second / 100))
        found.append((1000.0 + second, tuple(values)))
    return found


def test_a_level_passes():
    found, (rss, fds, size, rows) = soak.judge(samples(), HORIZON_S)
    assert not found and rss == [30000] * 2 and fds == [24] * 2 and size == [5_000_000] * 2 and rows == [4000] * 2


@pytest.mark.parametrize("what, grows, by", [
    ("memory", RSS, 0.2), ("descriptors", FDS, 3.0), ("file", BYTES, 1.0), ("results", ROWS, 1.0)])
def test_what_grows_is_found(what, grows, by):
    found, _ = soak.judge(samples(grows, by), HORIZON_S)
    assert set(found) == {what}, found


@pytest.mark.parametrize("grows, by", [(RSS, 0.02), (FDS, 0.3), (BYTES, 0.05), (ROWS, 0.1)])
def test_noise_is_not(grows, by):
    found, _ = soak.judge(samples(grows, by), HORIZON_S)
    assert not found


def test_more_builds_leave_more_results():
    """Rows are judged by the builds that brought them: a machine that has more time later is no leak."""
    found, _ = soak.judge([(when, (*values[:ROWS], values[ROWS] * (1 + (when > 1060)), values[BUILDS] + (
        0 if when <= 1040 else int(10 * (when - 1040))))) for when, values in samples()], HORIZON_S)
    assert not found


def test_a_short_soak():
    """The daemon's clock goes twelve times as fast, so that retention looks every five seconds. Memory and the file are
    left to `make soak`: with other tests beside it, the builds a second go up and down, and those with them."""
    builds, (found, (_, fds, _, rows)) = soak.run(soak.LEAST_S, 12)
    assert "descriptors" not in found and "results" not in found, found
    assert builds > 200 and max(fds) < 60, (builds, fds)
    assert 0 < max(rows) < 0.7 * builds * soak.TESTS, (builds, rows)
