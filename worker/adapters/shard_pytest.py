"""The pytest side of a shard worker: runs, in one long-lived session, the tests it is handed, as plain pytest would.

The worker carries this file inside itself, puts it on PYTHONPATH and names it in PYTEST_PLUGINS; with SHARD_RUNNER_SOCK
it says where it listens. The two speak JSON, one object a line (worker/runner_pytest.c is the other end). Nothing in
here knows of servers, leases or builds: ids come in, results go out. Without the variable, under --collect-only and in
a process started by a test this plugin does nothing.

Needs only the standard library; Python 3.7 and pytest 6.2 or newer. PYTEST_DONT_REWRITE
"""
import os
import sys
from collections import deque
from contextlib import suppress
from os import _exit

import pytest
from _pytest.reports import TestReport
from _pytest.runner import CallInfo

from shard_pytest_end import Ending
from shard_pytest_lazy import Lazy
from shard_pytest_options import (drop_cov_minimum, name_coverage_file, note_idle, refuse_division, refuse_xdist,
                                  runs_nothing)
from shard_pytest_lib import (Link, Skipped, bounded, clocks, describe, digest_of, facts_of, file_of, is_subtest,
                              judge, marks_of, name_tests, path_of, quote, seconds_of, unit_of, valid)

CHUNK_BYTES = 256 * 1024  # of one line of the test list
GRACE_S = 0.05  # how long a teardown waits to know the next test
DUPLICATES_NAMED = 20
RESULT = '{"t":"result","id":%s,"status":"%s","start":%d,"setup":%d,"call":%d,"teardown":%d,"first":%s%s}\n'


def take_address():
    """Take the socket's address, and all that names this plugin, out of what child processes inherit: the address, and
    whether files are imported when their first test comes."""
    address = os.environ.pop("SHARD_RUNNER_SOCK", None)
    lazy = os.environ.pop("SHARD_RUNNER_COLLECT", None) == "lazy"
    if not address:
        return None, False
    here = os.path.dirname(os.path.abspath(__file__))
    leave_out("PYTEST_PLUGINS", ",", __name__)
    leave_out("PYTHONPATH", os.pathsep, here)
    sys.path[:] = [entry for entry in sys.path if entry != here]
    return address, lazy


def leave_out(variable, separator, word):
    words = os.environ.pop(variable, "").split(separator)
    rest = separator.join(other for other in words if other != word)
    if rest:
        os.environ[variable] = rest


HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS, LAZY = take_address()
ENDING = Ending() if ADDRESS else None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """A session that runs no test does not join the queue. The worker finds the note if no other session comes."""
    if ADDRESS and not hasattr(config, "workerinput"):
        note_idle(config, os.path.join(HERE, "refused"))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config, args):
    """Before pytest-cov starts: it looks here for the name of its file and whether xdist will be at work. What sees the
    end of the session is registered behind the conftest files, and so outside of them."""
    options = early_config.known_args_namespace
    if ADDRESS and not runs_nothing(options):
        refuse_division(args)
        if getattr(options, "cov_source", None) and os.environ.get("SHARD_NODE"):
            name_coverage_file(options)
        refuse_xdist(options)
    yield
    if ADDRESS:
        early_config.pluginmanager.register(ENDING, "shard_ending")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    if not ADDRESS or runs_nothing(config.option) or hasattr(config, "workerinput"):
        return
    config.addinivalue_line("markers", "serial: runs while no other such test does, over all workers of the build")
    config.addinivalue_line("markers", "shard(serial=False, exclusive=False, tokens=(), group=None): what may run "
                            "beside it, over all workers of the build")
    notes = [refuse_xdist(config.option), drop_cov_minimum(config)]
    adapter = Adapter(config, [note for note in notes if note])
    config.pluginmanager.register(adapter, "shard_adapter")
    ENDING.adapter = adapter
    if LAZY:
        adapter.lazy = Lazy(adapter)
        config.pluginmanager.register(adapter.lazy, "shard_lazy")


class NextItem:
    """Stands for the next test while nobody knows it, and asks only when touched: core does so in teardown alone."""

    def __init__(self, adapter, item):
        self._adapter = adapter
        self._item = item

    def __bool__(self):
        return self._adapter.following() is not None

    def listchain(self):
        node = self._adapter.following()
        if node is None:
            return []
        # The same test again: all that it shares with itself but itself.
        return node.listchain()[:-1] if node is self._item else node.listchain()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        node = self._adapter.following()
        if isinstance(node, pytest.Item):
            return getattr(node, name)
        return getattr(self._adapter.session, name, None)


class Adapter:
    """Runs the session: `queue` holds the ids given and not begun."""

    def __init__(self, config, notes):
        self.config = config
        self.notes = notes
        self.maxfail = config.getvalue("maxfail")
        self.session = self.link = None
        self.lazy = None  # what finds and opens the files; None: all is collected
        self.tests = {}  # id: item, in collection order
        self.collector = None  # the last that began to collect
        self.sources = set()  # paths of the files that were looked through for tests
        self.skipped = []  # what was skipped as a whole while collecting
        self.queue = deque()
        self.asked = self.parked = self.finished = False  # what was said since the last ids came
        self.reports = None  # of the running test: (report, seconds, whether it proves a pass); None between tests
        self.phase, self.phase_begin, self.phase_floor = None, 0.0, 0.0  # running; since when; not before
        self.measured = {}  # phase: its seconds, of reports not yet seen
        self.called = False  # pytest made a report of the running test's call
        self.open_end = False  # the running test is the last known
        self.grace_end = None  # until when its teardown waits
        self.waited = 0.0  # inside the running phase
        self.item = None  # the last begun
        self.stopped = self.forked = self.unexplained = False
        self.failures = 0  # reports that failed
        self.clock, self.wall = clocks()  # not as globals, which freezegun replaces

    # The session's life.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session):
        self.session = session
        try:
            self.link = Link(ADDRESS)
        except OSError as error:
            pytest.exit("shard: cannot connect to the worker at %s: %s" % (ADDRESS, error), 2)
        os.register_at_fork(after_in_child=self.on_fork)
        ENDING.watch(session)
        self.link.say("hello", proto=1, runner="pytest/" + pytest.__version__, pid=os.getpid(),
                      facts=facts_of())

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self):
        for note in self.notes:
            self.tell(note, yellow=True)

    def tell(self, text, **markup):
        terminal = self.config.pluginmanager.getplugin("terminalreporter")
        if terminal:
            terminal.write_line(text, **markup)
        else:
            sys.stderr.write(text + "\n")

    @pytest.hookimpl
    def pytest_collectstart(self, collector):
        self.collector = collector
        if isinstance(collector, pytest.File) and not isinstance(collector, pytest.Package):
            self.sources.add(path_of(collector))

    @pytest.hookimpl
    def pytest_collectreport(self, report):
        self.failures += report.failed
        if report.skipped:
            self.skipped.append(Skipped(report, self.collector))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        # Not in pytest_collection_finish: that one comes with half a list too when collection is interrupted.
        if self.fails_to_collect(session.testsfailed):
            return None
        if not self.lazy or not self.lazy.scanned():
            self.say_list()
        try:
            self.run_tests()
            if self.lazy:
                self.lazy.count_unopened()
        except pytest.exit.Exception:  # for a reason of its own, and with a status of its own
            self.stopped = self.unexplained = True
            raise
        finally:
            if self.forked:  # a test's child that came back by an exception
                _exit(2)
            self.link.flush()
        return True

    def count_failures(self, session):
        """Some plugins count a failure that no test had."""
        self.unexplained = self.unexplained or session.testsfailed > self.failures

    def on_fork(self):
        """In a forked child: the connection is the parent's."""
        self.forked = True
        if self.link:
            self.link.close()

    # The list.

    def fails_to_collect(self, errors):
        if not errors or self.config.option.continue_on_collection_errors:
            return False
        self.link.say("listed", n=0, duplicates=[], maxfail=self.maxfail, errors=errors)
        return True

    def say_list(self):
        """All that was collected."""
        self.lazy = None
        items = self.session.items
        self.tests, duplicates = name_tests(items + self.skipped if items else [])
        self.say_tests()
        self.link.say("listed", n=len(self.tests), duplicates=duplicates[:DUPLICATES_NAMED], maxfail=self.maxfail,
                      errors=self.session.testsfailed, sources=digest_of(self.sources, self.config))

    def say_tests(self):
        root = str(self.config.rootpath)
        relative = {}  # path: the same as the worker gets it
        ids, files, units, marks, size, unit, last = [], [], [], [], 0, 0, None
        for name, item in self.tests.items():
            path = path_of(item)
            if path not in relative:
                relative[path] = file_of(item, root)
            key = unit_of(item)
            if key != last:
                unit, last = unit + 1, key
            marks.extend([len(ids), mark] for mark in marks_of(item))
            ids.append(name)
            files.append(relative[path])
            units.append(unit)
            size += 4 * (len(name) + len(relative[path] or "")) + 32
            if size > CHUNK_BYTES:
                self.link.say("tests", ids=ids, files=files, units=units, marks=marks)
                ids, files, units, marks, size = [], [], [], [], 0
        if ids:
            self.link.say("tests", ids=ids, files=files, units=units, marks=marks)

    # The loop.

    def run_tests(self):
        first = True
        while self.await_test():
            name = self.queue.popleft()
            if self.lazy and not self.lazy.open(name):
                self.tear_down(NextItem(self, self.item))  # what would have been shared with the skipped one
                continue
            self.run_test(name, first)
            first = False
            self.check_stop()
            if self.queue:
                self.hear(0)  # the rest may have been dropped
        self.tear_down(None)
        self.check_stop()

    def await_test(self):
        """False when the queue is over."""
        while not self.queue and not self.finished and not self.link.trouble:
            self.ask()
            self.hear(None)
            if self.lazy and self.lazy.all_wanted:
                self.lazy.open_all()
        self.raise_trouble()
        return bool(self.queue)

    def run_test(self, name, first):
        self.item = item = self.tests[name]
        self.open_end = not self.queue and not self.finished
        self.grace_end = None
        nextitem = self.tests.get(self.queue[0], item) if self.queue else None  # of a file not yet opened: not known
        if self.open_end or nextitem is item:
            nextitem = NextItem(self, item)
        name = quote(name)
        self.link.put('{"t":"start","id":%s}\n' % name)
        self.link.flush()  # with the result of the test before
        self.reports = reports = []
        self.phase, self.called = None, False
        self.measured.clear()
        start, self.phase_floor = self.wall(), self.clock()
        begin = self.phase_floor
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if self.forked:
            _exit(0)
        self.reports = None
        status, spent, text = judge(reports)
        bounded(spent, self.clock() - begin)
        self.link.put(RESULT % (name, status, start * 1e6, spent["setup"] * 1e6, spent["call"] * 1e6,
                                spent["teardown"] * 1e6, "true" if first else "false",
                                ',"text":' + quote(text) if text else ""))

    def check_stop(self):
        """As core does after each test."""
        session = self.session
        if session.shouldfail or session.shouldstop:
            self.stopped = bool(self.queue) or not self.finished
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            raise session.Interrupted(session.shouldstop)
        self.raise_trouble()

    def raise_trouble(self):
        if self.link.trouble:
            raise self.session.Interrupted("shard: " + self.link.trouble)

    def tear_down(self, nextitem):
        """What the last test would have, had it known what follows; None: the queue ended while parked."""
        state, item = self.session._setupstate, self.item
        if not item or not state.stack:
            return
        arguments = (item, nextitem) if hasattr(state, "teardown_all") else (nextitem,)  # pytest < 7: the first
        capture = self.config.pluginmanager.getplugin("capturemanager")
        self.grace_end = None

        def teardown():
            with capture.item_capture("teardown", item) if capture else suppress():
                state.teardown_exact(*arguments)

        call = CallInfo.from_call(teardown, when="teardown", reraise=(pytest.exit.Exception, KeyboardInterrupt))
        self.waited = 0.0
        # Without pytest_runtest_makereport: hooks find an item there that has its funcargs, which are gone.
        report = TestReport.from_item_and_call(item, call)
        if report.failed:
            item.ihook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        self.phase, self.phase_begin = "setup", self.clock()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self):
        self.phase, self.phase_begin = "call", self.clock()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self):
        self.phase, self.phase_begin = "teardown", self.clock()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item, call):
        """Waiting for the next test is not the test's own time; pytest's clock may be one that a test has set."""
        waited, self.waited = self.waited, 0.0
        if waited:
            call.duration = max(0.0, call.duration - waited)
        now = self.clock()
        least = now - self.phase_begin - waited if self.phase == call.when else 0.0
        self.measured[call.when] = min(now - self.phase_floor - waited, max(0.0, least, call.duration))
        self.called = self.called or (call.when == "call" and item is self.item)
        if call.when != "call":  # a subtest ends inside of its test's
            self.phase_floor = now

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        if self.forked:  # a test's child that came back to us
            _exit(1 if report.failed else 0)
        self.failures += report.failed and not hasattr(report, "wasxfail")
        if self.reports is not None:
            self.keep_report(report)
            if self.open_end and report.when == "call" and not (report.failed and self.maxfail):
                self.ask()
        elif report.failed and self.link:
            self.link.say("late", text=describe([report]))

    def keep_report(self, report):
        """A pass needs a report of this very test's call: some plugins rename it, others report of another test."""
        seconds = self.measured.pop(report.when, None)
        if seconds is None:  # of a process or a plugin that runs tests on its own
            seconds = seconds_of(report, self.clock() - self.phase_floor)
        proof = report.when == "call" and report.outcome == "passed" and not is_subtest(report)
        self.reports.append((report, seconds, proof and (self.called or report.nodeid == self.item.nodeid)))

    # What is to be run.

    def ask(self):
        """Say, once, that there is nothing left to begin; and send what waits to be sent."""
        if not self.asked:
            self.asked = True
            self.link.put('{"t":"need"}\n')
        self.link.flush()

    def hear(self, seconds):
        for message in self.link.hear(seconds):
            kind = message.get("t")
            if kind == "run":
                self.take(message.get("ids"), message.get("files"))
            elif kind == "park":
                self.parked = True
            elif kind == "finish":
                self.finished = True
            elif kind == "drop":
                self.queue.clear()
                self.finished = True
            elif kind == "collect" and self.lazy:
                self.lazy.all_wanted = True

    def take(self, ids, files):
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            self.link.complain("'run' came without a list of ids")
            return
        if self.lazy:
            self.lazy.note(ids, files)
        for name in ids:
            if name not in self.tests and not self.lazy:
                self.not_here(name)
                return
        for name in ids:
            if isinstance(self.tests.get(name), Skipped):
                self.say_skipped(name)
            else:
                self.queue.append(name)
        if ids:
            self.asked = self.parked = False

    def not_here(self, name):
        self.link.complain("was told to run a test that was not collected here: %s" % name)

    def say_skipped(self, name):
        """Collecting has run it already."""
        name, reason = quote(name), quote(valid(self.tests[name].reason))
        self.link.put('{"t":"start","id":%s}\n' % name)
        self.link.put(RESULT % (name, "skipped", self.wall() * 1e6, 0, 0, 0, "false", ',"text":' + reason))

    def following(self):
        """What comes after the running test: an item; the session if that may take a while; None: nothing."""
        session = self.session
        if session.shouldfail or session.shouldstop or self.forked:
            return None
        if not self.queue and not self.finished:
            self.await_following()
        if self.queue:
            return self.tests.get(self.queue[0]) or self.lazy.place_of(self.queue[0])
        return None if self.finished or self.link.trouble else session

    def await_following(self):
        begin = now = self.clock()
        if self.grace_end is None:
            self.grace_end = begin + GRACE_S
        while True:
            self.ask()
            self.hear(0 if self.parked else self.grace_end - now)
            now = self.clock()
            if self.queue or self.parked or self.finished or self.link.trouble or now >= self.grace_end:
                break
        self.waited += now - begin
