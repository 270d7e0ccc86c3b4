"""What deterministic operations cost on a GPU; on a processor every operation is deterministic already."""

from kmodels.bench.throughput import race


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`; yields dicts of model, batch_size and contenders; on a processor none."""
    if not gpu:
        say("deterministic: nothing to measure, XLA's flag changes nothing on a processor")
        return
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: with and without deterministic operations")
        contenders = race(job, ("deterministic", "ours-epoch"), settings.repeats, say)
        yield {"model": job.model, "batch_size": job.batch_size, "contenders": contenders}
