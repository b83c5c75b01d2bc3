"""Imports a file of tests when the first of its tests is to run, instead of every file before the first test.

While pytest scans, each file that it finds is answered for as if it were empty, and put aside; conftest files are
loaded as always. What a file holds is collected later, by pytest's own means, and told to the worker, which knows what
it has to hold. A file of which the command line names single tests is collected at once: the scan looks for them in it.
shard_pytest.py is the only user. PYTEST_DONT_REWRITE
"""
import os
from contextlib import contextmanager, suppress

import pytest
from _pytest.reports import CollectReport
from _pytest.warnings import catch_warnings_for_item

from shard_pytest_lib import Skipped, describe, digest_of, file_of, name_tests, path_of

CHUNK_BYTES = 256 * 1024  # of one line about a file's tests


class WithItems:
    """pytest_collection_modifyitems, but for calls without an item: the scan finds none, and conftest files may count
    on some."""

    def __init__(self, caller):
        self.caller = caller

    def __call__(self, **arguments):
        return self.caller(**arguments) if arguments["items"] else []

    def __getattr__(self, name):
        return getattr(self.caller, name)


class Lazy:
    """The files that were found and not yet opened."""

    def __init__(self, adapter):
        self.adapter, self.config = adapter, adapter.config
        self.root = str(self.config.rootpath)
        self.files = {}  # file: its collectors, and what of it was collected at once; in the order of the scan
        self.given = {}  # id: its file
        self.scanning, self.all_wanted = True, False
        self.at_once = None  # paths that the scan has to look into
        self.errors = []  # reports of what could not be collected
        hook = self.config.hook
        hook.pytest_collection_modifyitems = WithItems(hook.pytest_collection_modifyitems)

    # The scan.

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector):
        if not self.scanning or not isinstance(collector, pytest.File) or isinstance(collector, pytest.Package):
            return None
        if self.is_named(collector):
            return None
        self.files.setdefault(file_of(collector, self.root), []).append(collector)
        return CollectReport(collector.nodeid, "passed", None, [])

    def is_named(self, collector):
        """Whether the command line names tests inside of this file, or may do so."""
        if self.at_once is None:
            named = [str(word).split("::")[0] for word in self.config.args if "::" in str(word)]
            here = str(self.config.invocation_params.dir)
            self.at_once = {os.path.realpath(os.path.join(here, word)) for word in named}
            self.at_once_all = bool(named) and self.config.option.pyargs  # names of modules
        return self.at_once_all or os.path.realpath(path_of(collector)) in self.at_once

    @pytest.hookimpl
    def pytest_collectreport(self, report):
        if report.failed:
            self.errors.append(report)

    def scanned(self):
        """The scan is over. False: it left nothing to open, all is collected."""
        self.scanning = False
        if not self.files:
            return False
        adapter = self.adapter
        for node in adapter.session.items + adapter.skipped:
            self.files.setdefault(file_of(node, self.root), []).append(node)
        adapter.link.say("listed", n=0, lazy=True, duplicates=[], maxfail=adapter.maxfail,
                         errors=adapter.session.testsfailed, sources=digest_of(adapter.sources, self.config))
        adapter.tell("shard: %d files of tests, each is imported when its first test comes" % len(self.files))
        return True

    # What is given.

    def note(self, ids, files):
        if ids and not (isinstance(files, list) and len(files) == len(ids)):
            self.adapter.link.complain("'run' came without a list of files")
            return
        self.given.update(zip(ids, files or []))

    def place_of(self, name):
        """Where a test stands whose file is not yet opened: what it shares with others is above that."""
        nodes = self.files.get(self.given.get(name), [])
        return next((node for node in nodes if not isinstance(node, Skipped)), self.adapter.session)

    def open(self, name):
        """Whether the test can run; its file is opened first. False: it was skipped with its file."""
        tests, file = self.adapter.tests, self.given.get(name)
        if name not in tests:
            here = file in self.files
            for each in [file] if here else list(self.files):
                self.open_file(each)
            if name not in tests:
                if not here:
                    self.say_opened(file, [], "")
                self.adapter.not_here(name)
                self.adapter.raise_trouble()
            self.say_skipped()
        if not isinstance(tests[name], Skipped):
            return True
        self.adapter.say_skipped(name)
        return False

    def open_file(self, file):
        self.adapter.link.say("open", file=file)
        known = len(self.adapter.skipped)
        nodes = self.files.pop(file)
        items = self.collect([node for node in nodes if isinstance(node, pytest.Collector)])
        items = [node for node in nodes if isinstance(node, pytest.Item)] + items
        skipped = [node for node in nodes if isinstance(node, Skipped)] + self.adapter.skipped[known:]
        tests, _ = name_tests(items + skipped)
        self.adapter.tests.update(tests)
        self.say_opened(file, [name for name, node in tests.items() if file_of(node, self.root) == file],
                        describe(self.errors))

    def say_opened(self, file, ids, text):
        part, size = [], 0
        for name in ids:
            part.append(name)
            size += 4 * len(name) + 4
            if size > CHUNK_BYTES:
                self.adapter.link.say("opened", file=file, ids=part, more=True)
                part, size = [], 0
        self.adapter.link.say("opened", file=file, ids=part, more=False, text=text)

    def say_skipped(self):
        """What was given before it was known to be skipped."""
        tests, queue = self.adapter.tests, self.adapter.queue
        for name in [name for name in queue if isinstance(tests.get(name), Skipped)]:
            queue.remove(name)
            self.adapter.say_skipped(name)

    def open_all(self):
        """There is no list, and nobody else is making it."""
        self.all_wanted = False
        self.collect([node for nodes in self.files.values() for node in nodes if isinstance(node, pytest.Collector)])
        self.adapter.say_list()
        self.adapter.asked = False  # it may be over: an empty list

    # Collecting.

    def collect(self, collectors):
        """The items of some files; pytest counts them with those it has."""
        session, failed = self.adapter.session, self.adapter.session.testsfailed
        self.errors = []
        with self.as_collecting():
            items = [item for collector in collectors for item in session.genitems(collector)]
            self.config.hook.pytest_collection_modifyitems(session=session, config=self.config, items=items)
        session.items.extend(items)
        session.testscollected = len(session.items)
        errors = session.testsfailed - failed
        if self.adapter.fails_to_collect(errors):
            raise session.Interrupted("%d error%s during collection" % (errors, "" if errors == 1 else "s"))
        return items

    @contextmanager
    def as_collecting(self):
        """Warnings are caught as while collecting; the terminal's line about it does not come between the tests'."""
        manager = self.config.pluginmanager
        terminal = manager.getplugin("terminalreporter")
        tty = getattr(terminal, "isatty", False)
        caught = catch_warnings_for_item(self.config, self.config.hook, "collect", None)
        try:
            if tty:
                terminal.isatty = False
            with caught if manager.hasplugin("warnings") else suppress():
                yield
        finally:
            if tty:
                terminal.isatty = tty

    def count_unopened(self):
        """For pytest not to say that there are no tests when none was given to this worker."""
        self.adapter.session.testscollected += len(self.files)
