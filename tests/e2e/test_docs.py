"""The documents name what the code has, and nothing else: options, defaults, messages, error codes, queries,
subcommands, log events, error texts, functions and links. README's commands are run."""
import pathlib
import re
import subprocess

import pytest
import shardlib

ROOT = shardlib.ROOT
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("man/*.[158]"))
MARKDOWN = sorted(ROOT.glob("*.md")) + sorted(DOCS.rglob("*.md"))
OPTION = re.compile(r"^ {2}(?:-(\w), | {4})--([a-z-]+)(?: ([A-Z|a-z]+))?", re.MULTILINE)


def read(path):
    return (ROOT / path).read_text()


def sources(*folders):
    return {path: path.read_text() for folder in folders for path in sorted((ROOT / folder).glob("*.[ch]"))}


def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=60,
                          env=shardlib.clean_env())


def options(text):
    """{name: (letter, default, variable)} of what --help prints."""
    found = {}
    starts = [match for match in OPTION.finditer(text)]
    for match, after in zip(starts, starts[1:] + [None]):
        entry = " ".join(text[match.start():after.start() if after else len(text)].split())
        default = re.search(r"\(default: (.*?)\)", entry)
        variable = re.search(r"\[(SHARDD?_[A-Z_]+)\]", entry)
        found[match.group(2)] = (match.group(1), default and default.group(1), variable and variable.group(1))
    return found


def shardd_options():
    return options(run(shardlib.SHARDD, "--help").stdout)


def subcommands():
    text = run(shardlib.SHARD, "help").stdout
    return re.findall(r"^  ([a-z]+) +\S", text, re.MULTILINE)


def shard_options():
    found = {}
    for name in subcommands():
        if name != "help":
            found.update(options(run(shardlib.SHARD, "help", name).stdout))
    return found


def test_reliability_names_tests_that_exist():
    """Each test that docs/reliability.md calls upon is a program, a file or a function of the tests."""
    there = set()
    for path in [*ROOT.glob("tests/**/test_*.c"), *ROOT.glob("tests/**/test_*.py")]:
        there.add(path.stem)
        there.update(re.findall(r"^(?:static void|def) (test_\w+)\(", path.read_text(), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", read("docs/reliability.md")))
    assert len(named) > 40 and sorted(named - there) == []


def page(name):
    """A man page as a reader sees it, on one line."""
    done = run("mandoc", "-Tutf8", "-Owidth=200", str(DOCS / "man" / name))
    assert done.returncode == 0, done.stdout
    return " ".join(re.sub(".\b", "", done.stdout).split())


def entries(name):
    """{term: text} of a man page's lists, from its source."""
    found = {}
    for part in re.split(r"^\.It ", read("docs/man/%s" % name), flags=re.MULTILINE)[1:]:
        head, _, text = part.partition("\n")
        for term in re.findall(r"(?:Fl -|Cm )([a-z-]+)", head):
            found.setdefault(term, "")
            found[term] += " ".join(re.sub(r"^\.\w+ ", "", text, flags=re.MULTILINE).split())
    return found


def test_help_is_understood():
    assert len(shardd_options()) == 21 and len(shard_options()) >= 37
    assert shardd_options()["lease-ttl"] == (None, "15s", "SHARDD_LEASE_TTL")
    assert shard_options()["workers"] == ("n", "auto", "SHARD_WORKERS")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_man_pages_are_clean(path):
    done = run("mandoc", "-Tlint", "-W", "warning", str(path))
    assert (done.returncode, done.stdout) == (0, "")


def test_shardd_8_names_every_flag_and_variable():
    text = page("shardd.8")
    for name, (letter, _, variable) in shardd_options().items():
        assert ("-%s, --%s" % (letter, name) if letter else "--" + name) in text, name
        assert not variable or variable in text, variable
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))
    assert named <= set(shardd_options()) | {"version", "help"}


def test_shardd_yml_5_and_the_sample_name_every_key_and_default():
    text, sample = entries("shardd.yml.5"), read("config/shardd.yml")
    keys = {name: found for name, found in shardd_options().items() if name not in ("help", "version")}
    for name, (_, default, _) in keys.items():
        if name in ("config", "check-config"):
            continue
        assert name in text, name
        assert default is None or default in text[name], "%s: the default is %s" % (name, default)
        assert re.search(r"^#%s: " % re.escape(name), sample, re.MULTILINE), name
    assert set(re.findall(r"^#([a-z-]+): ", sample, re.MULTILINE)) <= set(keys)
    assert set(re.findall(r"^\.It Cm ([a-z-]+) :", read("docs/man/shardd.yml.5"), re.MULTILINE)) <= set(keys)


def test_shard_1_and_the_sample_name_every_flag_variable_and_default():
    text, parts, sample = page("shard.1"), entries("shard.1"), read("config/shard.yml")
    for name, (letter, default, variable) in shard_options().items():
        assert ("-%s, --%s" % (letter, name) if letter else "--" + name) in text, name
        assert not variable or variable in text, variable
        assert default is None or default in parts[name], "%s: the default is %s" % (name, default)
        if name not in ("help", "version", "config"):
            assert re.search(r"^#%s: " % re.escape(name), sample, re.MULTILINE), name
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text))
    assert named - set(shard_options()) == {"no-", "maxfail"}  # of any flag; of pytest


@pytest.mark.parametrize("place", ["docs/man/shard.1", "README.md"])
def test_every_subcommand_is_named(place):
    text = read(place)
    for name in subcommands():
        form = r"`shard %s[ `]" if place.endswith(".md") else r"^\.It Cm %s\b"
        assert re.search(form % name, text, re.MULTILINE), name


def test_exit_codes_are_told_everywhere():
    codes = re.findall(r"^  EXIT_\w+ = (\d+),", read("config/base.h"), re.MULTILINE)
    assert codes == ["0", "1", "2", "5", "16"]
    for code in codes:
        assert re.search(r"^\.It %s$" % code, read("docs/man/shard.1"), re.MULTILINE), code
        assert "\n| %s | " % code in read("docs/operations.md"), code
    for code in ("0", "2", "16"):
        assert re.search(r"^\.It %s$" % code, read("docs/man/shardd.8"), re.MULTILINE), code


def test_files_of_the_database_are_told():
    text = page("shardd.8")
    for suffix in ("-wal", "-shm", ".lock", ".ballast"):
        assert "shardd.db" + suffix in text


# ---- the protocols

def test_protocol_names_every_message_and_every_value():
    proto, text = re.sub("//.*", "", read("proto/shardd.proto")), read("docs/protocol.md")
    messages = re.findall(r"^message (\w+)", proto, re.MULTILINE)
    values = re.findall(r"^  ([A-Z][A-Z_]+) = \d+;", proto, re.MULTILINE)
    assert len(messages) > 20 and len(values) > 50
    for name in messages + values:
        assert re.search(r"\b%s\b" % name, text), name
    prefixes = {name.split("_")[0] for name in values}
    named = {name for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", text) if name.split("_")[0] in prefixes}
    assert named <= set(values)


@pytest.mark.parametrize("bound, told", [
    ("MSG_ID_MAX_BYTES", "4,096"), ("MSG_NAME_MAX_BYTES", "1,024"), ("MSG_TOKEN_MAX_BYTES", "256"),
    ("MSG_LIST_MAX", "500,000"), ("MSG_LEASE_MAX", "10,000"), ("MSG_CHUNK_MAX", "20,000"), ("MSG_HELD_MAX", "16"),
    ("MSG_LATE_MAX", "1,000"), ("MSG_FEW_MAX", "20"), ("MSG_COLUMN_MAX", "64"), ("MSG_CELL_MAX", "50,000")])
def test_protocol_tells_the_bounds(bound, told):
    value = re.search(r"^  %s = (\d+)," % bound, read("proto/msg.h"), re.MULTILINE).group(1)
    limits = read("docs/protocol.md").partition("\n## Limits")[2]
    assert value == told.replace(",", "") and re.search(r"(?<![\d,])%s(?![\d,])" % told, limits)


def test_adapters_names_every_message():
    text = read("docs/adapters.md")
    told = set(re.findall(r'^\| `\{"t":"(\w+)"', text, re.MULTILINE))
    table = read("worker/pytest_lines.c").partition("*name;")[2]
    heard = set(re.findall(r'^ *\{*"(\w+)", on_\w+\}', table, re.MULTILINE)) | set(re.findall(r'\{"(\w+)", on_', table))
    python = "".join(path.read_text() for path in sorted((ROOT / "worker/adapters").glob("shard_pytest*.py")))
    said = set(re.findall(r'\.say\("(\w+)"', python)) | set(re.findall(r'\{"t":"(\w+)"', python))
    taken = set(re.findall(r'kind == "(\w+)"', python))
    assert said and taken and told == said | taken
    assert heard and heard <= said and said - heard <= {"hello"}


# ---- operations.md

def strings(text):
    """The string literals of C, neighbours joined."""
    text = re.sub(r'"\s*\n?\s*"', "", text)
    return "\n".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', text)).replace('\\"', '"')


def test_error_texts_are_the_programs_own():
    text = read("docs/operations.md").partition("## Troubleshooting by message")[2]
    adapters = [path.read_text() for path in sorted((ROOT / "worker/adapters").glob("shard_pytest*.py"))]
    said = strings("\n".join([*sources("server", "worker", "proto", "config").values(), *adapters]))
    said = re.sub(r"%[-+ #0-9.*]*[a-z]+", "…", said)
    rows = re.findall(r"^\| (`.*?) \| ", text, re.MULTILINE)
    assert len(rows) > 20
    for row in rows:
        for message in re.findall(r"`([^`]+)`", row):
            for part in filter(None, (part.strip(" ():") for part in message.split("…"))):
                assert part in said, message


def test_log_events_are_told():
    told = read("docs/operations.md").partition("## Logs")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", told, re.MULTILINE)
    told, logged = {name for row in rows for name in re.findall(r"`(\w+)`", row)}, set()
    for text in sources("server").values():
        logged |= set(re.findall(r'base_log\(\s*LOG_LEVEL_\w+,\s*"(\w+)"', text))
    assert told == logged


def test_every_ci_is_told():
    names = set(re.findall(r'\.name = "(\w+)"', read("worker/ci.c"))) - {"none"}
    text = read("docs/ci/README.md").lower()
    assert len(names) == 15 and "15 CIs" in read("CHANGELOG.md")
    for name in names:
        assert name in text, name


def test_packages_of_the_client_are_those_it_is_linked_to():
    line = re.search(r"--no-install-recommends \\\n +([a-z0-9. -]+)\n", read("docs/operations.md"))
    told = set(line.group(1).split())
    libraries = re.findall(r"=> (/\S+)", run("ldd", shardlib.SHARD).stdout)
    packages = set()
    for library in libraries:
        done = run("dpkg-query", "-S", str(pathlib.Path(library).resolve()))
        if done.returncode:
            done = run("dpkg-query", "-S", "*/" + pathlib.Path(library).resolve().name)
        packages |= {line.partition(":")[0] for line in done.stdout.splitlines()}
    base = {name for name in packages if re.match(r"lib(c\d|asan|ubsan|tsan|gcc|stdc)", name)}
    assert packages - base == told


# ---- architecture.md

def test_architecture_names_what_is_there():
    text = re.sub("```.*?```", "", read("docs/architecture.md"), flags=re.DOTALL)
    code = sources("server", "worker", "proto", "config")
    everything = "\n".join(code.values())
    names = {name for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", text)}
    names |= {name for name in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)\(", text)}
    assert len(names) >= 35
    for name in names:
        assert re.search(r"\b%s\b" % name, everything), name


def test_page_one_names_functions_in_the_files_that_hold_them():
    text = read("docs/architecture.md").partition("## One lease")[2].partition("\n## ")[0]
    pairs = re.findall(r"`(\w+)(?:\([^`]*\))?`[^`\[]{0,40}\[(server/\w+\.c|proto/\w+\.c)\]", text)
    assert len(pairs) >= 15
    for function, path in pairs:
        assert re.search(r"^(?:[\w\s*]+[ *])?%s\(" % function, read(path), re.MULTILINE), (function, path)


def test_policy_constants_are_the_codes():
    text, header = read("docs/architecture.md"), read("server/sched.h")
    for constant in ("SCHED_MIN_US = 20000,", "SCHED_MAX_US = 10000000,", "SCHED_UNIT_MAX = 256,"):
        assert constant in header
    assert "at least 20 ms and at most 10 s" in text and "cut at 256 tests" in text


# ---- links and commands

def anchors(path):
    """As GitHub and GitLab make them from headings."""
    text = re.sub("```.*?```", "", path.read_text(), flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        heading = re.sub(r"[`*]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path):
    text = re.sub("```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match("https?://", target):
            continue
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists() and ROOT in [other, *other.parents], target
        assert not anchor or anchor in anchors(other), target


def shell(text):
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_readme_starts_with_exactly_two_commands():
    start = read("README.md").partition("\n## Start\n")[2].partition("\n## ")[0]
    assert shell(start) == ["make demo", "make check"]
    for line in shell(start):
        assert re.search(r"^%s:" % line.split()[1], read("Makefile"), re.MULTILINE), line


def test_make_targets_that_are_told_are_there():
    makefile = read("Makefile")
    for path in MARKDOWN:
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.MULTILINE):
            target += "%" if target.endswith("-") else ""
            assert re.search(r"^(?:[\w-]+ )*%s(?: [\w-]+)*:" % target, makefile, re.MULTILINE), (path.name, target)


def test_commands_of_the_readme_run(tmp_path, daemon):
    text = read("README.md")
    lines = [line for line in shell(text) if line.startswith("shard ")]
    lines += [" ".join(line.split()) for line in re.findall(r"`(shard local [^`]*)`", text) if "--" in line]
    lines += re.findall(r"(?:script|command|run): (shard run [^\n{]*)", text)
    assert len(lines) == 8, lines
    suite = shardlib.make_suite(tmp_path, {"tests/test_a.py": "def test_one(): pass\ndef test_two(): pass\n",
                                           "tests/a.sh": "exit 0\n", "tests/b.sh": "exit 0\n"})
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "pytest").write_text('#!/bin/sh\nexec %s -m pytest "$@"\n' % shardlib.PYTHON)
    (programs / "pytest").chmod(0o755)
    env = shardlib.clean_env(PATH="%s:%s:/usr/bin:/bin" % (programs, shardlib.BUILD_DIR), HOME=str(tmp_path),
                             SHARD_SERVER=daemon.address, SHARD_BUILD="KEY", SHARD_NODE="0")
    for line in sorted(lines, key=lambda line: "--build KEY" in line):
        alone = line.startswith("shard local")  # a build of its own
        job = shardlib.Process(["sh", "-c", line], tmp_path / "log",
                               {key: value for key, value in env.items() if not alone or key != "SHARD_BUILD"}, suite)
        assert job.wait() == 0, "%s\n%s" % (line, job.output())
    assert len(shardlib.junit_cases(suite / "junit.xml")) == 2
