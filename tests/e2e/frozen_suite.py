"""A suite whose fixtures stop the clock before the call and let it go behind it."""
import pytest
from freezegun import freeze_time


@pytest.fixture
def past():
    frozen = freeze_time("2012-01-14")
    frozen.start()
    yield
    frozen.stop()


@pytest.fixture
def future():
    with freeze_time("2031-05-06"):
        yield


def test_past(past):
    pass


def test_future(future):
    pass


def test_plain():
    pass
