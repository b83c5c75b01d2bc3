#!/usr/bin/python3
"""The rules of CONTRIBUTING.md that a program can check: lengths, first comments, names of exports, banned calls.

Run by `make lint` after clang-format, on whose layout it counts: definitions start at column 0 and end with a brace
there. tests/test_checks.py shows that each rule catches its violation. An argument names another root.
"""
import pathlib
import re
import sys

from check_includes import blank

FILE_LINES, FUNCTION_LINES = 500, 70
C_FOLDERS = ("server", "worker", "proto", "config", "tests/unit", "tests/bench",
             "tests/sim", "tests/fuzz", "tests/chaos")
PY_FOLDERS = ("tests", "worker/adapters")
BANNED = ("strcpy", "strcat", "sprintf", "vsprintf", "strtok", "atoi", "atol", "atof", "alloca", "gets", "stpcpy")
# Files that export under another word than one their name starts with.
EXPORTS = {"server/listing.c": ("listing", "upload"), "worker/pytest_lines.c": ("pytest",)}
HEAD = re.compile(r"^(?!static\b|typedef\b|extern\b|struct \w+ \{|enum\b|union\b|#|\}|/)[A-Za-z_][\w \*]*?\b(\w+)\(")
START = re.compile(r"^[A-Za-z_][^=;(]*?\b(\w+)\((?!.*;\s*$)")
PY_FUNCTION = re.compile(r"^( *)(?:async )?def (\w+)")


def functions(lines):
    """(line, name, length, exported) of each definition in a C file laid out by clang-format."""
    start = opened = None
    for number, line in enumerate(lines, 1):
        head = START.match(line)
        if head:
            start, opened = (number, head.group(1), bool(HEAD.match(line))), False
        if start and not opened:
            opened = line.rstrip().endswith(("{", "{}"))
            start = start if opened or not line.rstrip().endswith(";") else None
        if start and opened and (line.startswith("}") or line.rstrip().endswith("{}")):
            yield start[0], start[1], number - start[0] + 1, start[2]
            start = None


def check_first(lines):
    first = lines[0] if lines else ""
    if not first.startswith(("//", "/*", "#", '"""')):
        yield 1, "opens without a comment: its role, who calls it, what it must not know"


def check_length(lines):
    if len(lines) > FILE_LINES:
        yield 1, f"{len(lines)} lines, more than {FILE_LINES}: split it"


def check_functions(name, lines):
    path = pathlib.PurePath(name)
    words = EXPORTS.get(name, (path.stem.split("_")[0],))
    for line, function, length, exported in functions(lines):
        if length > FUNCTION_LINES:
            yield line, f"{function} has {length} lines, more than {FUNCTION_LINES}"
        is_ours = function in words or re.match("(%s)s?_" % "|".join(words), function)
        if exported and path.suffix == ".c" and path.parts[0] != "tests" and function != "main" and not is_ours:
            yield line, f"{function} is exported: {path.name} exports {words[0]}_* (or make it static)"


def check_c(name, text):
    lines, code = text.splitlines(), blank(text, keep_strings=False)
    yield from check_first(lines)
    yield from check_length(lines)
    yield from check_functions(name, code.splitlines())
    for match in re.finditer(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED), code):
        yield code.count("\n", 0, match.start()) + 1, f"{match.group(1)} is banned"


def check_python(text):
    lines = text.splitlines()
    yield from check_first(lines)
    yield from check_length(lines)
    heads = [(n, PY_FUNCTION.match(line)) for n, line in enumerate(lines)]
    for start, head in ((n, match) for n, match in heads if match):
        indent, end = len(head.group(1)), start + 1
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > indent):
            end += 1
        length = len("\n".join(lines[start:end]).rstrip().splitlines())
        if length > FUNCTION_LINES:
            yield start + 1, f"{head.group(2)} has {length} lines, more than {FUNCTION_LINES}"


def check(root):
    """Findings as 'file:line: text', in order."""
    found, seen = [], 0
    for folder in C_FOLDERS:
        for path in sorted((root / folder).glob("*.[ch]")):
            name, seen = str(path.relative_to(root)), seen + 1
            found += [f"{name}:{line}: {text}" for line, text in check_c(name, path.read_text(encoding="utf-8"))]
    for folder in PY_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name, text = str(path.relative_to(root)), path.read_text(encoding="utf-8")
            found += [f"{name}:{line}: {finding}" for line, finding in check_python(text)] if text.strip() else []
    return found if seen else [f"{root}: no sources found"]


def main(argv):
    root = pathlib.Path(argv[1] if len(argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    found = check(root)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
