"""Fixtures of the tests of what breaks: those of the end-to-end tests, and where the programs of tests/chaos are."""
import importlib.util
import pathlib
import sys

E2E = pathlib.Path(__file__).resolve().parent.parent / "e2e"
sys.path.insert(0, str(E2E))
_spec = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
_e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_e2e)

pytest_configure, no_process_left, make_daemon, daemon = (
    _e2e.pytest_configure, _e2e.no_process_left, _e2e.make_daemon, _e2e.daemon)
