"""Fixtures of the end-to-end tests; the parts they are made of are in shardlib.py."""
import signal

import pytest
import shardlib


def pytest_configure(config):
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what runs is ended then, too
    config.addinivalue_line("markers", "slow: a large public suite; deselect with -m 'not slow'")


@pytest.fixture(autouse=True)
def no_process_left():
    yield
    shardlib.end_all()


@pytest.fixture
def make_daemon(tmp_path):
    """make_daemon(**options): a started shardd with a short lease; further flags as options."""
    def make(**options):
        return shardlib.Daemon(tmp_path, **dict(dict(lease_ttl="3s", heartbeat="1s"), **options)).start()
    return make


@pytest.fixture
def daemon(make_daemon):
    return make_daemon()


@pytest.fixture
def away(tmp_path):
    """A daemon that is not there yet."""
    daemon = shardlib.Daemon(tmp_path, lease_ttl="3s", heartbeat="1s")
    yield daemon
    daemon.kill() if daemon.running() else None
