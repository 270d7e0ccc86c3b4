"""Hundreds of faults, drawn at random: whatever happens, nothing is lost.

    KMODELS_FAULTS_SEED=7 pytest -m slow tests/faults/test_harness.py

KMODELS_FAULTS says how many faults (200), KMODELS_FAULTS_MINUTES how long at most (10), KMODELS_FAULTS_FAMILY of which
family alone. Each fault depends on the seed and its number only: KMODELS_FAULTS_ONLY=31 repeats one that failed.
"""

import os
import random
import shutil
import time
from collections import Counter

import fills
import floods
import forges
import kills
import pytest
from harness import World

FAMILIES = {"kill": kills.KINDS, "fill": fills.KINDS, "forge": forges.KINDS, "flood": floods.KINDS}


@pytest.mark.slow
def test_nothing_is_lost(tmp_path, outcome, interruptible, capsys):
    seed = int(os.environ.get("KMODELS_FAULTS_SEED") or random.randrange(10**6))
    number, minutes = (
        int(os.environ.get(f"KMODELS_FAULTS{name}", usual)) for name, usual in (("", 200), ("_MINUTES", 10))
    )
    only, family = (os.environ.get(f"KMODELS_FAULTS_{name}") for name in ("ONLY", "FAMILY"))
    drawn = {name: kind for name, kind in all_kinds().items() if not family or name.startswith(family)}
    world, done, start = World(tmp_path, outcome), Counter(), time.monotonic()
    for fault in [int(only)] if only else range(number):
        if time.monotonic() - start > 60 * minutes:
            break
        rng = random.Random(f"{seed} {fault}")
        (name,) = rng.choices(list(drawn), [weight for _, weight in drawn.values()])
        world.folder = tmp_path / f"fault{fault}"
        world.folder.mkdir()
        try:
            what = drawn[name][0](world, rng)
        except BaseException as error:
            again = f"KMODELS_FAULTS_SEED={seed} KMODELS_FAULTS_ONLY={fault}"
            error.add_note(f"fault {fault} of seed {seed}: {name}. To repeat it alone: {again}")
            raise
        done[f"{name}: {what}" if name.startswith("kill") else name] += 1
        shutil.rmtree(world.folder, ignore_errors=True)
    with capsys.disabled():
        print(f"\n{report(seed, done, world.checked, time.monotonic() - start)}")


def all_kinds():
    """{family and kind: (function, how often it is drawn)}."""
    return {f"{family} {kind}": drawn for family, kinds in FAMILIES.items() for kind, drawn in kinds.items()}


def report(seed, done, checked, seconds):
    lines = [
        f"{done.total()} faults, seed {seed}, {os.environ['KERAS_BACKEND']}, {seconds / 60:.1f} minutes",
        "",
        "faults:",
    ]
    lines += [f"  {count:4} {name}" for name, count in sorted(done.items())]
    lines += ["", "checked:", *(f"  {count:4} {what}" for what, count in sorted(checked.items()))]
    return "\n".join([*lines, "", "nothing lost"])
