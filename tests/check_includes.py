#!/usr/bin/python3
"""Who may include whom, and who may do what: the rules of docs/architecture.md as tables, checked on the sources.

Run by `make lint`; tests/test_checks.py shows that each rule catches its violation. An argument names another root.
The daemon points one way: main, server, dispatch, handlers, deliver, the context, sockets and store, queue, sched,
estimate. A file includes only what stands below it (a greater rank), or its own header.
"""
import pathlib
import re
import sys

FOLDERS = {  # folder: the folders it may include from
    "server": {"server", "proto", "config"},
    "worker": {"worker", "proto", "config"},
    "proto": {"proto"},
    "config": {"config"},
}
# A file's place is that of its name, else of the longest word-wise prefix of its stem: queue_lease.c stands with queue.
RANKS = [
    {"main"},
    {"server.c"},
    {"dispatch"},
    {"session", "query"},
    {"plan", "build.c"},
    {"listing", "recover"},
    {"deliver", "same"},
    {"twin"},
    {"server.h"},  # the context that handlers share; it knows the parts below
    {"unrun"},
    {"net", "build.h"},
    {"scope", "upload", "asker"},
    {"conn", "store", "auth", "settings", "patience"},
    {"schema"},
    {"marks"},
    {"simulation"},
    {"queue"},
    {"sched", "tokens", "effect"},
    {"names"},
    {"estimate", "forecast", "flaky", "heap", "map", "rows", "limits", "budget"},
]
PURE = {"budget", "simulation", "queue", "sched", "tokens", "marks", "estimate", "forecast", "flaky", "heap", "map",
        "names", "effect", "limits"}
PURE_PROJECT = {f"server/{name}.h" for name in PURE | {"queue_impl"}} | {"config/base.h"}
PURE_SYSTEM = {"assert.h", "inttypes.h", "limits.h", "math.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h",
               "string.h"}
PURE_CALLS = ("base_now_us", "base_wall_us", "base_log\\w*", "base_die\\w*", "rand\\w*", "time", "clock_gettime",
              "getenv", "printf", "fprintf", "fopen", "read", "write", "open", "exit")
FORKS = ("fork", "vfork", "_Fork", "posix_spawnp?", "exec[lv]p?e?", "fexecve", "execvpe", "popen", "system")
STORE = re.compile(r"server/(store|store_\w+)\.[ch]$")
SQL = re.compile(r'"[^"]*\b(SELECT\s|INSERT\s+(OR\s+\w+\s+)?INTO\b|UPDATE\s+\w+\s+SET\b|DELETE\s+FROM\b'
                 r'|CREATE\s+TABLE\b|BEGIN\s|PRAGMA\s+\w+)')
ONLY = {  # header: who may include it, as a pattern of paths, and why
    "sqlite3.h": (STORE, "SQL lives in the store alone"),
    "server/store_impl.h": (STORE, "it is the inside of the store"),
    "server/queue_impl.h": (re.compile(r"server/queue(_\w+)?\.[ch]$"), "it is the inside of the queue"),
    "worker/pytest_impl.h": (re.compile(r"worker/(runner_)?pytest\w*\.[ch]$"), "it is the inside of the pytest runner"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, keep_strings):
    """The text without comments, and without the insides of strings unless kept; lines keep their numbers."""
    def replace(match):
        token = match.group()
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        return token if keep_strings else token[0] * 2
    return TOKEN.sub(replace, text)


class Source:
    def __init__(self, root, path):
        text = path.read_text(encoding="utf-8")
        self.name = str(path.relative_to(root))
        self.folder, self.file = self.name.split("/", 1)
        self.code = blank(text, keep_strings=False)
        self.strings = blank(text, keep_strings=True)
        self.includes = [(self.line(m.start(1), self.strings), m.group(1) == "<", m.group(2))
                         for m in INCLUDE.finditer(self.strings)]

    @staticmethod
    def line(offset, text):
        return text.count("\n", 0, offset) + 1

    def calls(self, names):
        for match in re.finditer(r"(?<![\w.>])(%s)\s*\(" % "|".join(names), self.code):
            yield self.line(match.start(), self.code), match.group(1)

    def is_pure(self):
        return self.folder == "server" and family(self.file, PURE) is not None


def family(file, names):
    """The name under which a file stands in a table: itself, else the longest prefix of its stem in whole words."""
    words = pathlib.PurePath(file).stem.split("_")
    prefixes = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
    return next((name for name in [file] + prefixes if name in names), None)


def rank(file):
    for number, names in enumerate(RANKS):
        if family(file, names) == file:
            return number
    return next((number for number, names in enumerate(RANKS) if family(file, names)), None)


def same_part(one, other):
    stems = {pathlib.PurePath(name).stem for name in (one, other)}
    every = set().union(*RANKS)
    return len(stems) == 1 or family(one, every) == family(other, every)


def check_folder(source, line, target):
    folder = target.split("/", 1)[0]
    if "/" in target and folder in FOLDERS and folder not in FOLDERS[source.folder]:
        yield line, f"{source.folder}/ must not include {target}"


def check_rank(source, line, target):
    if source.folder != "server" or not target.startswith("server/"):
        return
    file = target.split("/", 1)[1]
    here, there = rank(source.file), rank(file)
    if there is None:
        yield line, f"{target} has no place in RANKS of tests/check_includes.py"
    elif here is not None and here >= there and not same_part(source.file, file):
        yield line, f"{target} stands above or beside {source.name}: includes point one way (RANKS)"


def check_pure(source, line, is_system, target):
    allowed = PURE_SYSTEM if is_system else PURE_PROJECT
    if source.is_pure() and target not in allowed:
        yield line, f"{source.name} is pure core and must not include {target}"


def check_only(source, line, target):
    if target in ONLY and not ONLY[target][0].search(source.name):
        yield line, f"{source.name} must not include {target}: {ONLY[target][1]}"


def check_source(source):
    if source.folder == "server" and rank(source.file) is None:
        yield 1, f"{source.name} has no place in RANKS of tests/check_includes.py"
    for line, is_system, target in source.includes:
        if not is_system:
            yield from check_folder(source, line, target)
            yield from check_rank(source, line, target)
        yield from check_pure(source, line, is_system, target)
        yield from check_only(source, line, target)
    if source.is_pure():
        yield from ((line, f"pure core must not call {name}") for line, name in source.calls(PURE_CALLS))
    if source.name != "worker/proc.c":
        yield from ((line, f"only worker/proc.c starts processes, no {name}") for line, name in source.calls(FORKS))
    if not STORE.search(source.name):
        for match in SQL.finditer(source.strings):
            yield source.line(match.start(), source.strings), "SQL outside server/store_*"


def check_cycles(sources):
    headers = {s.name: [target for _, is_system, target in s.includes if not is_system] for s in sources}
    done = set()

    def walk(name, path):
        if name in path:
            yield path[-1], f"includes go round: {' -> '.join(path[path.index(name):] + [name])}"
        elif name in headers and name not in done:
            for target in headers[name]:
                yield from walk(target, path + [name])
            done.add(name)
    for name in sorted(headers):
        yield from walk(name, [])


def check(root):
    """Findings as 'file:line: text', in order."""
    sources = [Source(root, path) for folder in FOLDERS for path in sorted((root / folder).glob("*.[ch]"))]
    if not sources:
        return [f"{root}: no sources found"]
    found = [f"{source.name}:{line}: {text}" for source in sources for line, text in check_source(source)]
    return found + [f"{name}:1: {text}" for name, text in check_cycles(sources)]


def main(argv):
    root = pathlib.Path(argv[1] if len(argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = check(root)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
