#!/usr/bin/python3
"""make bench-load: what the daemon bears. Workers of the real protocol (swarm.c) against a real shardd with its
database on the disk of the build folder; beside it, in the same run, bare SQLite, beanstalkd, redis and a raw echo.

    load.py BUILD JSON [--rounds 3] [--tests 200000] [--seconds 10] [--many 10000]

Figures are medians of the rounds, ratios are taken within a round. Latency is that of an open loop of 5,000 leases a
second, each of about 20 tests whose results are persisted; the daemon and the load go first in line where that is
allowed, and the same is done with the echo, which tells what the machine has to do with it.
"""
import shutil
import subprocess
import sys

from benchlib import (Daemon, Failed, Others, Server, arguments, copy, first_in_line, main, may_be_first, median, past,
                      swarm, tool)

RIVALS = {"beanstalkd": "beanstalkd", "redis-lpop": "redis-server", "redis-list": "redis-server"}
CALL_US = 500000  # of every test: a lease is worth 10 s at most, so that it holds 20 of them
RATE = 5000
LATENCY_S = 4  # at most


def echo_server(place, first):
    socket = place.socket()
    return Server([place.build / "bench/echo", socket], socket, first_in_line if first else None,
                  stdin=subprocess.PIPE)


def rival_server(place, program):
    socket = place.socket()
    if program == "beanstalkd":
        return Server(["beanstalkd", "-l", f"unix:{socket}"], socket)
    return Server(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
                   "--daemonize", "no", "--dir", place.folder], socket)


def rival(args, place, kind, connections, operations):
    with rival_server(place, RIVALS[kind]) as server:
        return tool(args.build, "rival", kind=kind, server=f"unix:{server.socket}", pid=server.pid,
                    connections=connections, operations=operations)


def drain(args, place, workers, tests):
    """One build of 20 tests a lease, as fast as it goes."""
    with Daemon(place, copy(place, args.past)) as daemon:
        return swarm(args.build, daemon, workers=workers, tests=tests, call_us=CALL_US)


# ---- what it costs

def scale(args, place):
    """1, 50, 1,000, 10,000 workers: figures without a target."""
    for workers in dict.fromkeys((1, 50, min(1000, args.many), args.many)):
        took = drain(args, place, workers, args.tests)
        args.report.sample(case="drain", **took)
        print(f"{workers:6} workers: {took['results_per_s']:8,.0f} results/s persisted and acknowledged, "
              f"{took['leases_per_s']:7,.0f} leases/s of {took['results'] / took['leases']:.1f}, server CPU per test "
              f"{took['loop_cpu_us']:.2f} us loop + {took['store_cpu_us']:.2f} us store", flush=True)


def rivals(args, place):
    """CPU of a unit handed out and completed, for each rival that is installed."""
    for kind, program in RIVALS.items():
        if not shutil.which(program):
            print(f"SKIPPED: {kind}: {program} is not installed (tests/deps.sh bench)")
            continue
        took = rival(args, place, kind, 50, args.tests // 4)
        args.report.sample(case="rival", **took)
        print(f"{kind:>10}, 50 connections: {took['per_s']:8,.0f} units/s handed out and completed, "
              f"server CPU per unit {took['cpu_us']:.2f} us", flush=True)


def cpu_row(args, place):
    what = "lease of 20 ids + 20 results, server CPU of the loop, against beanstalkd's reserve+delete per test"
    if not shutil.which("beanstalkd"):
        args.report.skip("cpu", what, "beanstalkd is not installed (tests/deps.sh bench)")
        return
    pairs = [(drain(args, place, 50, args.tests), rival(args, place, "beanstalkd", 50, args.tests // 4))
             for _ in range(args.rounds)]
    per_lease = median(ours["results"] / ours["leases"] for ours, _ in pairs)
    if args.tests >= 100000 and not 15 <= per_lease <= 21:
        raise Failed(f"leases hold {per_lease:.1f} tests, not about 20")
    with_store = median((ours["loop_cpu_us"] + ours["store_cpu_us"]) / theirs["cpu_us"] for ours, theirs in pairs)
    print(f"with the store's thread, which persists what beanstalkd forgets, {with_store:.3f}x")
    args.report.row("cpu", what, median(ours["loop_cpu_us"] / theirs["cpu_us"] for ours, theirs in pairs), 1 / 20, "x",
                    loop_cpu_us=median(ours["loop_cpu_us"] for ours, _ in pairs),
                    with_store_ratio=with_store,
                    beanstalkd_cpu_us=median(theirs["cpu_us"] for _, theirs in pairs))


# ---- what is persisted

def peak_row(args, place):
    ratios, rates, others = [], [], Others()
    for _ in range(args.rounds):
        ours = drain(args, place, 50, args.tests)
        bare = tool(args.build, "bare", place.file("bare.db"), args.tests, 1000)
        ratios.append(ours["results_per_s"] / bare["per_s"])
        rates.append((ours["results_per_s"], bare["per_s"]))
    args.report.row("peak", "results persisted at peak, against bare SQLite with the same schema and FULL",
                    median(ratios), 0.5, "x", at_least=True, machine=others.excuse(), rates=rates)


def sustained_row(args, place):
    """An open loop that offers a tenth more than the target; it counts what was acknowledged until the last was."""
    others = Others()
    with Daemon(place, copy(place, args.past)) as daemon:
        took = swarm(args.build, daemon, workers=min(1000, args.many), builds=min(10, args.many), tests=args.tests,
                     call_us=CALL_US, rate=RATE * 11 // 10, seconds=args.seconds)
    args.report.row("sustained", "results persisted and acknowledged after fsync, sustained", took["results_per_s"],
                    100000, "/s", at_least=True, machine=others.excuse(), **took)


# ---- how long a lease takes

def latency(args, place, workers, first):
    preexec, seconds = first_in_line if first else None, min(LATENCY_S, args.seconds)
    with echo_server(place, first) as server:
        raw = tool(args.build, "rival", preexec=preexec, kind="echo", server=f"unix:{server.socket}", pid=server.pid,
                   connections=workers, operations=RATE * seconds, rate=RATE)
    with Daemon(place, copy(place, args.past), preexec=preexec) as daemon:
        ours = swarm(args.build, daemon, preexec=preexec, workers=workers, builds=min(10, workers), tests=args.tests,
                     call_us=CALL_US, rate=RATE, seconds=seconds)
    args.report.sample(case="latency", first_in_line=first, echo=raw, **ours)
    return ours, raw


def latencies(args, place, workers, rounds):
    """Medians in ms over the rounds: p99 of a lease, p99 of the echo."""
    first = may_be_first()
    rounds = [latency(args, place, workers, first) for _ in range(rounds)]
    ours, raw = (median(side["lease_p99_us" if "leases" in side else "p99_us"] for side in sides) / 1000
                 for sides in zip(*rounds))
    half = median(each["lease_p50_us"] for each, _ in rounds) / 1000
    print(f"{workers:6} workers: lease p50 {half:.3f} ms, p99 {ours:.3f} ms; raw echo p99 {raw:.3f} ms"
          f"{', first in line' if first else ', at normal priority'}", flush=True)
    return ours, raw


def latency_row(args, place, row, workers, target_ms):
    ours, raw = latencies(args, place, workers, args.rounds)
    machine = None
    if raw > target_ms:
        machine = f"a raw echo has a p99 of {raw:.3f} ms"
    elif ours <= 1.5 * raw:
        machine = f"within 1.5x of a raw echo's p99 of {raw:.3f} ms"
    args.report.row(row, f"p99 lease latency with persistence on, {workers:,} workers", ours, target_ms, " ms",
                    machine=machine, echo_p99_ms=raw)


def load(args, place):
    args.past = past(args.build, args.tests, 1, CALL_US)
    scale(args, place)
    rivals(args, place)
    cpu_row(args, place)
    peak_row(args, place)
    sustained_row(args, place)
    for workers in (1, 50) if args.many > 50 else ():
        latencies(args, place, workers, 1)
    latency_row(args, place, "latency-1000", min(1000, args.many), 0.5)
    latency_row(args, place, "latency-10000", args.many, 1.0)


if __name__ == "__main__":
    sys.exit(main(load, arguments(__doc__, "load", rounds=3, tests=200000, seconds=10, many=10000)))
