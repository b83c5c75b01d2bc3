#!/usr/bin/python3
"""The wrong-verdict hunt: draws histories of a CI (draw.py), runs them with the real programs (play.py), and compares
every exit code and report with the truth (judge.py).

    hunt.py [--build FOLDER] [--histories N] [--seed N] [--jobs N] [--only THEME|CASE] [--without WORDS] [--first]
            [--one SEED]

--without leaves out the histories of some themes, forms and acts; --first ends at the first difference; --one repeats
one history, makes it smaller while it differs, and prints it. The last line adds up; 1 is returned when anything
differs.
"""
import argparse
import collections
import itertools
import multiprocessing
import os
import pathlib
import queue
import resource
import signal
import sys
import threading
import time
import traceback

import draw
import judge
import play
import shrink

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIDE_BY_SIDE = 3  # histories of one process; they wait more than they work
SERVED = 500  # histories of one daemon

Found = collections.namedtuple("Found", "seed theme differences text seconds")


def try_history(server, history):
    """(differences, records with the jobs' output)."""
    player = play.Player(server, history)
    try:
        records = player.play()
        differences = judge.judge(history, records)
        for made in [made for record in records for made in record["jobs"]] if differences else []:
            made["output"] = pathlib.Path(made["output"]).read_text(errors="replace")
        return differences, records
    finally:
        player.close()


def settles(row):
    return bool(row["attempt"] and row["flags"] & 1)


def describe(history, records, differences):
    """What happened, for people."""
    lines = [draw.readable(history)] + ["  DIFFERENCE: " + text.rstrip() for text in differences]
    for number, record in enumerate(records):
        lines.append("  step %d, noted: %s" % (number, ", ".join(" ".join(words) for words in record["log"])))
        for made in record["jobs"]:
            lines.append("  job %s ended with %s%s" % (made["name"], made["code"], " (killed)" * made["victim"]))
            lines += ["    | " + line for line in made["output"].splitlines()[-25:]]
        for env, asked in record["asked"].items():
            lines.append("  %s: wait ended with %d: %s" % (env, asked["wait"], asked["said"].strip()))
            lines.append("    report: " + " ".join("%s=%s%s" % (row["id"], row["status"], "?" * (not settles(row)))
                                                   for row in asked["report"]))
    return "\n".join(lines)


def theme_of(options, seed):
    return options.themes[seed % len(options.themes)] if options.themes else None


def wanted(options, seed):
    """Is the history of this seed to be run?"""
    if not options.without:
        return True
    history = draw.draw(seed, theme_of(options, seed))
    words = {history["theme"], history["form"]}.union(*(commit["tests"].values() for commit in
                                                        history["commits"].values()))
    return not words & set(options.without.split())


class Share:
    """One process's part: seeds come from a queue of its own, what is found goes to the common one."""

    def __init__(self, options, seeds, results):
        self.options, self.seeds, self.results = options, list(seeds), results
        self.lock = threading.Lock()

    def run(self):
        while self.seeds:
            part, self.seeds = self.seeds[:SERVED], self.seeds[SERVED:]
            server, todo = play.Server(self.options.build), queue.SimpleQueue()
            signal.signal(signal.SIGTERM, lambda *_, server=server: server.abandon())
            for seed in part:
                todo.put(seed)
            threads = [threading.Thread(target=self.work, args=(server, todo)) for _ in range(SIDE_BY_SIDE)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            said = server.close()
            if said:
                self.results.put(Found(part[0], "daemon", [said], said, 0))
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        self.results.put(sum(one.ru_utime + one.ru_stime for one in usage))

    def work(self, server, todo):
        while True:
            try:
                seed = todo.get_nowait()
            except queue.Empty:
                return
            begin, history = time.monotonic(), draw.draw(seed, theme_of(self.options, seed))
            try:
                differences, records = try_history(server, history)
                text = describe(history, records, differences) if differences else ""
            except Exception:
                differences, text = ["the hunt itself failed"], draw.readable(history) + "\n" + traceback.format_exc()
            self.results.put(Found(seed, history["theme"], differences, text, time.monotonic() - begin))


def repeat(options):
    """Runs one history, makes it smaller while it differs, and prints it."""
    server = play.Server(options.build)
    history = draw.draw(options.one, theme_of(options, options.one))
    differences, records = try_history(server, history)
    if differences and options.shrink:
        history, differences, records = shrink.shrink(history, lambda smaller: try_history(server, smaller))
    if not differences:
        for made in [made for record in records for made in record["jobs"]]:
            made["output"] = ""
    print(describe(history, records, differences))
    said = server.close()
    print(said or "%d differences" % len(differences))
    return 1 if differences or said else 0


def hunt(options, out=sys.stdout):
    """Runs the histories; the list of Found that differ."""
    results, begin = multiprocessing.Queue(), time.monotonic()
    drawn = (seed for seed in itertools.count(options.seed) if wanted(options, seed))
    seeds = list(itertools.islice(drawn, options.histories))
    shares = [multiprocessing.Process(target=Share(options, seeds[place::options.jobs], results).run)
              for place in range(min(options.jobs, len(seeds)))]
    for share in shares:
        share.start()
    wrong, themes, spent, running = [], collections.Counter(), 0.0, len(shares)
    while running:
        found = results.get()
        if isinstance(found, float):
            spent, running = spent + found, running - 1
            continue
        themes[found.theme] += 1
        if found.differences:
            wrong.append(found)
            report(options, found, time.monotonic() - begin, out)
            if options.first:
                break
        if options.progress and sum(themes.values()) % 500 == 0:
            print("%d histories, %d differ, %.0f s" % (sum(themes.values()), len(wrong), time.monotonic() - begin),
                  file=out, flush=True)
    for share in shares:
        share.terminate() if options.first and wrong else None
        share.join()
    print("themes: " + ", ".join("%s %d" % pair for pair in sorted(themes.items())), file=out)
    print("hunt: %d histories from seed %d, %d differ; %.0f s, %.2f s of CPU each" % (
        sum(themes.values()), options.seed, len(wrong), time.monotonic() - begin,
        spent / max(1, sum(themes.values()))), file=out, flush=True)
    return wrong


def report(options, found, seconds, out):
    print("---- after %.1f s: seed %s, theme %s\n%s" % (seconds, found.seed, found.theme, found.text), file=out)
    print("repeat: tests/hunt/hunt.py --build %s%s --one %s\n" % (
        os.path.relpath(options.build), " --only " + options.only if options.only else "", found.seed), file=out,
        flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(description="Hunts for wrong verdicts.")
    parser.add_argument("--build", default=os.environ.get("SHARD_BUILD_DIR", str(ROOT / "build")))
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="a theme, or a case that themes cover: " + " ".join(draw.THEMES))
    parser.add_argument("--without", default="", help="leave out histories with one of these themes, forms or acts")
    parser.add_argument("--first", action="store_true", help="end at the first difference")
    parser.add_argument("--one", type=int, help="repeat the history of this seed")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args(argv)
    options.build = os.path.abspath(options.build)
    try:
        options.themes = draw.themes_of(options.only) if options.only else None
    except ValueError as error:
        parser.error(str(error))
    return options


def main(argv):
    options = parse(argv)
    if options.one is not None:
        return repeat(options)
    return 1 if hunt(options) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
