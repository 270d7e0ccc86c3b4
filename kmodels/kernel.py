"""What runs in a Kaggle kernel, or in a notebook anywhere: `run_kernel` does the experiments of a report.

It goes on from what an earlier version of the kernel left, uses every GPU, and stops before the session's time is up.
"""

import numbers
import shutil
import sys
import tempfile
from pathlib import Path

from kmodels.catalogue import parents_first, reports, select, tiny
from kmodels.data.kaggle import input_folder
from kmodels.errors import require_seeds
from kmodels.files import replacing

# The folder that Kaggle keeps as the output of a kernel.
WORKING = Path("/kaggle/working")
# How deep below the folder of all attached data another kernel's results may lie: notebooks/<owner>/<slug>/results.
DEPTH = 5


def run_kernel(names, seeds=(0,), *, max_hours=None, out=None, smoke=False):
    """Runs experiments of the reports with every seed; what is recorded already is read.

    Results of an earlier version of the kernel, attached as input, are copied into `out` first: its records are kept,
    and what it had begun is resumed. Several GPUs do a run each at a time; a single run is divided among them on JAX.

    Args:
        names: of reports ("cifar10_small_cnns") or experiments ("cifar10_small_cnns/m1"); or one name.
        seeds: one run each; or one seed.
        max_hours: stop after so many hours, with a checkpoint of what is running; None: when all is done.
        out: the results folder; None: results/ in /kaggle/working, or elsewhere in the current folder.
        smoke: only try each experiment, for one epoch on 40 synthetic images.

    Returns:
        The Records of the runs that have ended, in the order in which they did.

    Raises:
        InputError: for an unknown name, seeds that are not integers of at least 0, data that are not there, or whatever
            else a run failed on, after the others.
    """
    from kmodels.interrupts import time_limit
    from kmodels.training.sweeps import failures, sweep

    names = [names] if isinstance(names, str) else names
    seeds = [seeds] if isinstance(seeds, numbers.Integral) else list(seeds)
    require_seeds("seeds", seeds)
    out = Path(out) if out else (WORKING if WORKING.is_dir() else Path()) / "results"
    if copied := copy_earlier_results(out):
        print(f"{copied} files of earlier results were found among the attached data and copied into {out}")
    experiments = parents_first(select([one for report in reports() for one in report.EXPERIMENTS], names))
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, time_limit(max_hours):
        if smoke:
            experiments = [tiny(one, Path(folder) / str(i)) for i, one in enumerate(experiments)]
        for outcome in sweep(experiments, seeds, out, resume=True, **_devices(experiments, seeds)):
            outcomes.append(outcome)
    for line in failures(outcomes):
        print(f"error: {line}", file=sys.stderr)
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise failed[0]
    return [outcome.record for outcome in outcomes]


def copy_earlier_results(out):
    """Copies results of earlier kernels from the attached data into `out`, where they are not yet; returns how many."""
    copied = 0
    for depth in range(1, DEPTH):
        for results in sorted(input_folder().glob("/".join([*["*"] * depth, "results"]))):
            for path in sorted(results.rglob("*")):
                target = Path(out) / path.relative_to(results)
                if path.is_file() and not path.name.startswith(".") and not target.exists():
                    with replacing(target) as temporary:
                        shutil.copyfile(path, temporary)
                    copied += 1
    return copied


def _devices(experiments, seeds):
    """The options of `sweep` that use all GPUs."""
    import keras

    from kmodels.workers import visible_gpus

    gpus, runs = len(visible_gpus()), len(experiments) * len(seeds)
    # A run that starts from another one's network must wait for it.
    alone = not {one.init_from for one in experiments} & {one.name for one in experiments}
    if gpus > 1 and runs > 1 and alone:
        return {"devices": min(gpus, runs), "split": "runs"}
    divided = gpus > 1 and keras.backend.backend() == "jax"
    return {"devices": gpus} if divided and all(one.batch_size % gpus == 0 for one in experiments) else {}
