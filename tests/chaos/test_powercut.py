"""The short run of the power cuts (tests/chaos/powercut.c), and the controls that show that it can fail."""
import random
import re
import subprocess

import shardlib

POWERCUT = str(shardlib.BUILD_DIR / "chaos/powercut")
CUTS = 1500
FIGURES = re.compile(r"(\d+) cuts \(\d+ at rest\), (\d+) acknowledged results looked for, (\d+) lost in (\d+) cuts")


def powercut(*args):
    done = subprocess.run([POWERCUT, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
                          universal_newlines=True, env=shardlib.clean_env())
    figures = FIGURES.search(done.stdout)
    assert figures, done
    return done, dict(zip(("cuts", "acked", "lost", "losing"), map(int, figures.groups())))


def test_what_was_acknowledged_outlives_the_power():
    for seed in (1, random.randrange(1 << 32)):
        done, found = powercut("--cuts", CUTS, "--seed", seed)
        assert done.returncode == 0 and done.stderr == "", done
        assert found["cuts"] == CUTS and found["acked"] > 10 * CUTS and found["lost"] == 0, done


def test_the_same_seed_is_the_same_run():
    one, two = (powercut("--cuts", 150, "--seed", 5)[0].stdout for _ in range(2))
    assert one == two


def test_the_control_loses_what_was_acknowledged():
    """synchronous=NORMAL is said to be durable enough; it is not."""
    done, found = powercut("--cuts", 500, "--control", "NORMAL")
    assert done.returncode == 0 and found["lost"] > 0 and found["losing"] > 5, done


def test_the_control_without_any_sync_ends_in_damage():
    done, _ = powercut("--cuts", 500, "--control", "OFF")
    assert done.returncode == 1 and "seed " in done.stderr, done
