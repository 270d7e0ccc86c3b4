"""What the callbacks of a run cost: one trainer trains with all of them and with none, by turns.

In one process: two that do the same differ by a per cent or two, as their memory happens to lie.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.workers import Worker, WorkerError

# Callbacks work between epochs: in a short block an epoch would end more often than it does in a run.
TIMES_AS_LONG = 5
WITH, WITHOUT = "with callbacks", "without callbacks"


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`; yields dicts of model, batch_size, block_seconds and contenders."""
    for job in settings.jobs(gpu):
        job = replace(job, block_seconds=TIMES_AS_LONG * job.block_seconds)
        say(f"{job.model}, batch {job.batch_size}: with and without callbacks")
        with Worker(CONTENDERS["ours"], progress=say) as worker:
            options = {"job": job.as_dict(), "repeats": settings.repeats}
            try:
                contenders = worker.ask("call", function="kmodels.bench.callbacks:compare", **options)
            except WorkerError as error:
                say(f"  failed: {error}")
                contenders = {name: {"images_per_second": [], "error": str(error)} for name in (WITH, WITHOUT)}
        row = {"model": job.model, "batch_size": job.batch_size, "block_seconds": job.block_seconds}
        yield {**row, "contenders": contenders}


def compare(job, report, repeats):
    """Trains in blocks, with callbacks and without, `repeats` times each; in a worker.

    Returns:
        {WITH, WITHOUT: {"images_per_second": one for each repeat, "steps": of a block, "error": None}}.
    """
    from kmodels.bench import ours
    from kmodels.bench.blocks import calibrate, experiment_of
    from kmodels.training.callbacks import Watch

    plain = ours.validated(job)

    def watched(steps):
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(experiment_of(job), Path(folder) / "run.checkpoint")
            measured = plain(steps, watch.callbacks)
            watch.checkpoint.close()
        return measured

    blocks = {WITH: watched, WITHOUT: plain}
    watched(1)
    steps = calibrate(plain, job.block_seconds)
    results = {name: {"images_per_second": [], "steps": steps, "error": None} for name in blocks}
    for repeat in range(repeats):
        for name in list(blocks)[:: 1 if repeat % 2 else -1]:
            block = blocks[name](steps)
            results[name]["images_per_second"].append(block.steps * job.batch_size / block.seconds)
        said = ", ".join(f"{name} {result['images_per_second'][-1]:,.0f}" for name, result in results.items())
        report(f"  round {repeat + 1} of {repeats}, images/s: {said}")
    return results
