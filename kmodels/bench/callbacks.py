"""What the callbacks of a run cost: the same training with all of them and with none, in turns."""

from dataclasses import replace

from kmodels.bench.throughput import race

# Callbacks work between epochs: in a short block an epoch would end more often than it does in a run.
TIMES_AS_LONG = 5


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`; yields dicts of model, batch_size and contenders."""
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: with and without callbacks")
        job = replace(job, block_seconds=TIMES_AS_LONG * job.block_seconds)
        contenders = race(job, ("with callbacks", "without callbacks"), settings.repeats, say)
        yield {"model": job.model, "batch_size": job.batch_size, "contenders": contenders}
