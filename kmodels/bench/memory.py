"""How much memory a whole run takes beyond what its libraries take, and whether it grows from epoch to epoch."""

import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.workers import Worker, WorkerError

# As CIFAR-10 is split here.
EXAMPLES = {"train": 45_000, "val": 5_000, "test": 10_000}
MEBIBYTE = 2**20


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`.

    Yields:
        Dicts of model, batch_size, error, and `watched` as `run_and_watch` returns it.
    """
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: memory over {settings.epochs} epochs")
        row = {"model": job.model, "batch_size": job.batch_size, "watched": None, "error": None}
        with Worker(CONTENDERS["ours"], progress=say) as worker:
            try:
                job = replace(job, epochs=settings.epochs)
                row["watched"] = worker.ask("call", function="kmodels.bench.memory:run_and_watch", job=job.as_dict())
            except WorkerError as error:
                row["error"] = str(error)
                say(f"  failed: {error}")
        yield row


def run_and_watch(job, report, examples=None):
    """A run over made-up images as many as CIFAR-10 has; in a worker.

    Args:
        job: a Job.
        report: takes lines on how far it is.
        examples: {split: images}; None for EXAMPLES.

    Returns:
        {"framework_bytes": resident after a tiny run, "epoch_bytes": resident at the end of each epoch, "peak_bytes",
        "data_bytes": of the images}.
    """
    from kmodels.bench.blocks import SEED, experiment_of
    from kmodels.training import run

    examples = examples or EXAMPLES
    experiment = experiment_of(job)
    with tempfile.TemporaryDirectory() as out:
        tiny = dict.fromkeys(examples, job.batch_size)
        _make_up(tiny, job)
        run(replace(experiment, epochs=2), SEED, out, verbose=0)
        framework = resident_bytes()
        report(f"  libraries and a tiny run: {framework / MEBIBYTE:,.0f} MiB")
        _make_up(examples, job)
        seen = _watched(report, job.epochs)
        run(experiment, SEED, out, verbose=0)
    return {
        "framework_bytes": framework,
        "epoch_bytes": seen,
        "peak_bytes": _peak_bytes(),
        "data_bytes": sum(examples.values()) * job.image_size**2 * 3,
    }


def _make_up(examples, job):
    """Makes dataset "synthetic" as large as this, in this process."""
    from kmodels.bench.blocks import made_up_split
    from kmodels.data import Dataset, synthetic

    whole = {name: made_up_split(replace(job, batch_size=number), 1) for name, number in examples.items()}
    source = {"kind": "synthetic", "name": "synthetic", "split": "", "notes": [], "counts": examples, "sha256": ""}
    names = tuple(f"class {i}" for i in range(job.num_classes))
    synthetic.load = lambda name, image_size, data_dir: Dataset(name=name, **whole, class_names=names, source=source)


def _watched(report, epochs):
    """A list that every `fit` of this process fills with the resident bytes at the end of each epoch."""
    import keras

    seen, fit = [], keras.Model.fit

    class Sampler(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(resident_bytes())
            report(f"  epoch {epoch + 1} of {epochs}: {seen[-1] / MEBIBYTE:,.0f} MiB")

    def watched_fit(self, *arguments, callbacks=(), **options):
        return fit(self, *arguments, callbacks=[*callbacks, Sampler()], **options)

    keras.Model.fit = watched_fit
    return seen


def resident_bytes():
    """The memory of this process that is in RAM; where the system does not tell, the most that it ever was."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return _peak_bytes()
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])


def _peak_bytes():
    # In KiB, but on macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
