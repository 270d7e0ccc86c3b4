"""Where the time of a training step goes, by kind of layer, and how much of it the device is at work (JAX).

JAX' profiler tells when each operation of the compiled program ran, program_text.py what the operation is for. On a GPU
the operations run one by one under the profiler, which otherwise start as one graph: a step takes longer than without.
"""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.workers import Worker, WorkerError

# A program that comes from a cache may bear the names of another one that computes the same.
UNCACHED = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`.

    Yields:
        Dicts of model, batch_size, error, and `taken` as `take` returns it.
    """
    contender = CONTENDERS["ours-epoch" if gpu else "ours"]
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: profile of training steps")
        row = {"model": job.model, "batch_size": job.batch_size, "taken": None, "error": None}
        with Worker(contender, UNCACHED, say) as worker:
            try:
                row["taken"] = worker.ask("call", function="kmodels.bench.profile:take", job=job.as_dict())
            except WorkerError as error:
                row["error"] = str(error)
                say(f"  failed: {error}")
        yield row


def take(job, report):
    """Trains as a run does, under the profiler; in a worker.

    Args:
        job: a Job.
        report: takes lines on how far it is.

    Returns:
        {"steps", "seconds": of all, "busy_seconds": in which at least one operation ran, "parts": [{"part": name of a
        layer or as in `Purpose`, "kind": class of the layer, "direction", "seconds": that its operations were under
        way}]}, longest first. On a processor operations run side by side: parts may take longer than all.
    """
    import jax

    from kmodels.bench import ours
    from kmodels.bench.blocks import LEAST_STEPS

    trainer, resident = ours.new_trainer(job), ours.on_gpu_with_jax()
    if resident:
        from kmodels.training.epoch_program import CHUNK_STEPS

        # One program: a second, for the rest of a longer epoch, would name its operations otherwise.
        job = replace(job, program_steps=min(job.program_steps, CHUNK_STEPS))
    feed_of = ours.resident(job) if resident else ours.arrays(job)
    block = ours.fit_blocks(job, trainer, feed_of, job.program_steps if resident else None)
    text = _program_text(trainer, feed_of(LEAST_STEPS)[0])
    report("  compiled")
    # Keras traces anew where an epoch has another number of steps.
    block(LEAST_STEPS)
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            steps, seconds = block(LEAST_STEPS)
        (written,) = Path(folder).rglob("*.xplane.pb")
        spans = _spans(jax.profiler.ProfileData.from_file(str(written)))
    if not spans:
        raise RuntimeError("the profiler names no operation of the training program")
    report(f"  {steps} steps, {len(spans):,} operations")
    return {
        "steps": steps,
        "seconds": seconds,
        "busy_seconds": busy(spans) / 1e9,
        "parts": _parts(spans, text, trainer),
    }


def _program_text(trainer, data):
    """The text of the compiled step, by the trace that `fit` makes of it."""
    import jax

    from kmodels.bench import ours

    return jax.jit(trainer.train_step, donate_argnums=0).lower(ours.state_of(trainer), data).compile().as_text()


def _spans(profile):
    """[(operation, start, end)] of the training program, in nanoseconds; what only waits for others is left out."""
    found = []
    for event in (event for line in _lines(profile) for event in line.events):
        stats = dict(event.stats)
        name, module = stats.get("hlo_op", ""), stats.get("hlo_module", "")
        if name and "train_step" in module and not name.startswith(("while", "call", "conditional")):
            found.append((name, event.start_ns, event.start_ns + event.duration_ns))
    return found


def _lines(profile):
    """The lines on which operations stand: of a GPU its own, of these only the summary if there is one; else all."""
    planes = list(profile.planes)
    for plane in [plane for plane in planes if plane.name.startswith("/device:")] or planes:
        lines = list(plane.lines)
        yield from [line for line in lines if line.name == "XLA Ops"] or lines


def busy(spans):
    """The nanoseconds in which at least one of the spans, (name, start, end), was under way."""
    total, until = 0, float("-inf")
    for _, start, end in sorted(spans, key=lambda span: span[1]):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


def _parts(spans, text, trainer):
    from kmodels.bench.program_text import paths, purpose

    named, kinds = paths(text), _kinds(trainer)
    seconds = Counter()
    for name, start, end in spans:
        seconds[purpose(named.get(name, ""), kinds, trainer.optimizer.name)] += (end - start) / 1e9
    return [
        {"part": part or "other", "kind": kinds.get(part, part or "other"), "direction": direction, "seconds": spent}
        for (part, direction), spent in seconds.most_common()
    ]


def _kinds(model):
    """{name: class name} of all layers that contain no others."""
    import keras

    found = {}
    for layer in model.layers:
        found |= _kinds(layer) if isinstance(layer, keras.Model) else {layer.name: type(layer).__name__}
    return found
