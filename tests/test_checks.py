"""The checks of the sources catch what they are there for, and find nothing in the sources as they are."""
import pathlib

import pytest

import check_includes
import check_style

ROOT = pathlib.Path(__file__).parent.parent
NOTE = "// What this file is for.\n"


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def include(*targets):
    return NOTE + "".join("#include %s\n" % (name if name[0] == "<" else f'"{name}"') for name in targets)


def short(text):
    return text.removeprefix(NOTE).replace("\n", " ")[:40]


def test_the_sources_keep_the_include_rules():
    assert check_includes.check(ROOT) == []


def test_an_empty_tree_is_a_finding_not_a_pass(tmp_path):
    assert check_includes.check(tmp_path) and check_style.check(tmp_path)


@pytest.mark.parametrize("name, text, finding", [
    ("server/conn.c", include("worker/run.h"), "server/ must not include worker/run.h"),
    ("worker/run.c", include("server/queue.h"), "worker/ must not include server/queue.h"),
    ("proto/msg.c", include("config/base.h"), "proto/ must not include config/base.h"),
    ("config/conf.c", include("proto/msg.h"), "config/ must not include proto/msg.h"),
    ("server/net.c", include("server/dispatch.h"), "server/dispatch.h stands above or beside server/net.c"),
    ("server/conn.c", include("server/server.h"), "server/server.h stands above or beside server/conn.c"),
    ("server/sched.c", include("server/queue.h"), "server/queue.h stands above or beside server/sched.c"),
    ("server/heap.c", include("server/map.h"), "server/map.h stands above or beside server/heap.c"),
    ("server/settings.c", include("server/deliver.h"), "server/deliver.h stands above or beside server/settings.c"),
    ("server/novel.c", NOTE, "server/novel.c has no place in RANKS"),
    ("server/conn.c", include("server/novel.h"), "server/novel.h has no place in RANKS"),
    ("server/queue_lease.c", include("<unistd.h>"), "pure core and must not include unistd.h"),
    ("server/queue.h", include("server/store.h"), "pure core and must not include server/store.h"),
    ("server/estimate.c", include("<time.h>"), "pure core and must not include time.h"),
    ("server/sched.c", include("<sqlite3.h>"), "pure core and must not include sqlite3.h"),
    ("server/map.c", include("proto/msg.h"), "pure core and must not include proto/msg.h"),
    ("server/queue.c", NOTE + "int queue_a(void) {\n  return base_now_us() > 0;\n}\n", "must not call base_now_us"),
    ("server/queue.c", NOTE + 'void queue_a(void) { base_log_warn("x"); }\n', "must not call base_log_warn"),
    ("server/heap.c", NOTE + 'void heap_a(void) { base_die("x"); }\n', "must not call base_die"),
    ("server/dispatch.c", include("<sqlite3.h>"), "must not include sqlite3.h: SQL lives in the store alone"),
    ("server/query.c", include("server/store_impl.h"), "must not include server/store_impl.h"),
    ("server/session.c", include("server/queue_impl.h"), "must not include server/queue_impl.h"),
    ("worker/run.c", include("worker/pytest_impl.h"), "must not include worker/pytest_impl.h"),
    ("server/query.c", NOTE + 'static const char *sql = "SELECT 1";\n', "SQL outside server/store_*"),
    ("worker/run.c", NOTE + "int run_a(void) {\n  return fork();\n}\n", "only worker/proc.c starts processes, no fork"),
    ("worker/local.c", NOTE + 'int local_a(void) { return system("ls"); }\n', "starts processes, no system"),
    ("server/main.c", NOTE + "void main_a(char **v) { execvp(v[0], v); }\n", "starts processes, no execvp"),
], ids=short)
def test_a_forbidden_include_or_call_is_found_where_it_is(tmp_path, name, text, finding):
    found = check_includes.check(tree(tmp_path, {name: text}))
    assert [line for line in found if line.startswith(f"{name}:") and finding in line], found


def test_includes_that_go_round_are_found(tmp_path):
    found = check_includes.check(tree(tmp_path, {
        "worker/a.h": include("worker/b.h"), "worker/b.h": include("worker/c.h"), "worker/c.h": include("worker/a.h")}))
    assert found == ["worker/c.h:1: includes go round: worker/a.h -> worker/b.h -> worker/c.h -> worker/a.h"]


@pytest.mark.parametrize("name, text", [
    ("server/dispatch.c", include("server/dispatch.h", "server/session.h", "server/store.h", "<event2/event.h>")),
    ("server/queue_lease.c", include("server/queue_impl.h", "server/sched.h", "server/limits.h", "<assert.h>")),
    ("server/store_read.c", include("server/store_impl.h", "<sqlite3.h>") + 'static const char *sql = "SELECT 1";\n'),
    ("server/sched.c", NOTE + "// base_now_us() is the caller's.\nstatic const char *s = \"time(\";\n"),
    ("worker/proc.c", NOTE + "int proc_a(void) {\n  return fork();\n}\n"),
    ("server/query.c", NOTE + 'static const char *text = "select a build, or update it";\n'),
    ("worker/run.c", NOTE + "void run_a(struct vtable *v) {\n  v->system(v);\n  my_fork(v);\n}\n"),
], ids=short)
def test_what_is_allowed_passes(tmp_path, name, text):
    assert check_includes.check(tree(tmp_path, {name: text})) == []


def body(lines):
    return "  ;\n" * lines


@pytest.mark.parametrize("name, text, finding", [
    ("server/conn.c", "int conn_a;\n", "server/conn.c:1: opens without a comment"),
    ("server/conn.c", NOTE + "\n" * 500, "server/conn.c:1: 501 lines"),
    ("worker/run.c", NOTE + "static int run_a(int b,\n                 int c) {\n" + body(68) + "}\n",
     "worker/run.c:2: run_a has 71 lines"),
    ("worker/run.c", NOTE + "int other(void) {\n}\n", "worker/run.c:2: other is exported"),
    ("worker/run.c", NOTE + "struct run *runner_new(void) {\n}\n", "worker/run.c:2: runner_new is exported"),
    ("worker/run.c", NOTE + "static void a(char *b) {\n  strcpy(b, b);\n}\n", "worker/run.c:3: strcpy is banned"),
    ("tests/unit/test_a.c", NOTE + "static int a(char *b) {\n  return atoi(b);\n}\n", "test_a.c:3: atoi is banned"),
    ("tests/e2e/test_a.py", "import os\n", "tests/e2e/test_a.py:1: opens without a comment"),
    ("tests/e2e/test_a.py", '"""A."""\n' + "\n" * 500, "tests/e2e/test_a.py:1: 501 lines"),
    ("worker/adapters/a.py", '"""A."""\nclass A:\n    def b(self):\n' + "        pass\n" * 70,
     "worker/adapters/a.py:3: b has 71 lines"),
], ids=short)
def test_a_breach_of_style_is_found_where_it_is(tmp_path, name, text, finding):
    found = check_style.check(tree(tmp_path, {"config/base.c": NOTE, name: text}))
    assert len(found) == 1 and finding in found[0], found


@pytest.mark.parametrize("name, text", [
    ("worker/run.c", NOTE + "static int run_a(int b,\n                 int c) {\n" + body(67) + "}\n" + "\n" * 400),
    ("server/queue_lease.c", NOTE + "int queue_adopt(struct queue *q) {\n  // strcpy(a, b) would be wrong\n}\n"),
    ("server/conn.c", NOTE + "struct conns *conns_new(void) {\n}\nstatic int helper(void) {\n}\n"),
    ("worker/main.c", NOTE + "int other(void);\nint main(int argc, char **argv) {\n  my_atoi(argv);\n}\n"),
    ("tests/e2e/test_a.py", '"""A."""\ndef a():\n' + "    pass\n" * 69 + "\n\nX = 1\n"),
], ids=short)
def test_good_style_passes(tmp_path, name, text):
    assert check_style.check(tree(tmp_path, {"config/base.c": NOTE, name: text})) == []


def cases():
    rows = [line.split() for line in (ROOT / "tests/cases.txt").read_text().splitlines() if not line.startswith("#")]
    return [(row[0], *row[1].split("::")) for row in rows]


CASES = ("v1 v2 v3 v4 v5 v6 v7 v9 v10 v11 v12 n1 n2 n3 n4 n5 f2 f3 f4 f5 f6 f7 f10 f11 "
         "d1 d2 d3 d4 d5 d6 d7 d8 c1").split()


def test_each_case_has_a_test():
    assert set(CASES) <= {case for case, _, _ in cases()}


def test_each_case_names_a_test_that_exists():
    for case, path, name in cases():
        text = (ROOT / path).read_text()
        definition = f"void {name}(" if path.endswith(".c") else f"def {name}("
        assert definition in text, f"{case}: {path} has no test {name}"
