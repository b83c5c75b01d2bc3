"""How a session ends: what its exit status comes from, and the last word of its process.

A failed test and a crash at the end of the session give a process the same exit status, and a failure may be forgiven:
retried or muted. So every other origin of the status is told: who assigned it, which exception ended the session, and
whether the process came to the end of its own accord. shard_pytest.py is the only user. PYTEST_DONT_REWRITE
"""
import atexit
import sys

import pytest

from shard_pytest_lib import traced

CORE = "_pytest.main"


class Ending:
    """A plugin outside of all others. Made before anything that a suite registers with atexit, so that its own handler
    is called behind them."""

    def __init__(self):
        self.adapter = None  # of a session that has joined the queue
        self.lost = False  # a test called what was registered with atexit
        self.forget()
        atexit.register(self.last_word)

    def forget(self):
        self.judged = False  # pytest has set the exit status that its tests lead to
        self.assigned = False  # another one was set since
        self.exit = None  # text of an exception that pytest takes for an exit status
        self.said_bye = False
        self.known = ()  # exceptions that were told, or that Python had noted before `bye`

    def watch(self, session):
        """Notice each assignment of the exit status; what is read is what was assigned."""
        self.forget()
        kind, ending = type(session), self

        def get(session):
            return session.__dict__["exitstatus"]

        def assign(session, status):
            session.__dict__["exitstatus"] = status
            ending.note(sys._getframe(1).f_globals.get("__name__"))

        members = {"exitstatus": property(get, assign), "__module__": kind.__module__, "__doc__": kind.__doc__,
                   "__qualname__": kind.__qualname__}
        session.__class__ = type(kind)(kind.__name__, (kind,), members)

    def note(self, module):
        """Core assigns once what the tests led to; again only what a hook told it."""
        self.assigned = self.judged or module != CORE
        self.judged = self.judged or module == CORE

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session):
        outcome = yield
        if self.adapter:
            self.adapter.count_failures(session)
        if outcome.excinfo:
            self.exit = traced("pytest_sessionfinish ended with", outcome.excinfo[1])

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_cmdline_main(self):
        """Around the session, pytest_unconfigure and all cleanups."""
        outcome = yield
        if self.adapter and self.adapter.link:
            self.say_bye(outcome.excinfo and outcome.excinfo[1], None if outcome.excinfo else outcome.get_result())

    def say_bye(self, error, result):
        adapter = self.adapter
        status = status_of(error) if error else result
        if error and status and not isinstance(error, pytest.UsageError):
            adapter.link.say("late", text=traced("the end of the pytest session failed with", error))
        elif self.exit and self.assigned and status:
            adapter.link.say("late", text=self.exit)
        unexplained = bool(error) or self.assigned or adapter.unexplained or result is not adapter.session.exitstatus
        adapter.link.say("bye", rc=number(status), stopped=adapter.stopped, unexplained=unexplained)
        self.known, self.said_bye = (error, getattr(sys, "last_value", None)), True
        if self.lost:
            atexit.register(self.last_word)

    def last_word(self):
        """An exit handler that ends the process does not come to it."""
        if not self.said_bye:
            self.lost = True
            return
        link, error = self.adapter.link, getattr(sys, "last_value", None)
        if error is not None and not any(error is known for known in self.known):
            link.say("late", text=traced("the test process failed behind its pytest session with", error))
        link.say("end")
        link.close()


def status_of(error):
    """What an exception makes the exit status of the process."""
    if isinstance(error, SystemExit):
        return error.code
    return pytest.ExitCode.USAGE_ERROR if isinstance(error, pytest.UsageError) else 1


def number(status):
    """As sys.exit() takes it."""
    if status is None:
        return 0
    return int(status) if isinstance(status, int) else 1
