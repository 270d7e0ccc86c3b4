"""Where the time of a training step goes, by kind of layer, and how much of it the device is busy (JAX).

JAX' profiler tells when each operation of the compiled program ran, `program_text.py` what the operation is for. On a
GPU operations start as one graph, but one by one under the profiler: a step takes longer than without it.
"""

import tempfile
from collections import Counter
from pathlib import Path

import jax

from kmodels.bench.blocks import LEAST_STEPS
from kmodels.bench.graph import all_layers
from kmodels.bench.ours import fit_blocks, state_of, training_of
from kmodels.bench.program_text import paths, purpose
from kmodels.training.epoch_program import CHUNK_STEPS


def take(job, report):
    """Trains as `kmodels.train` does, under the profiler; in a worker.

    Args:
        job: a Job.
        report: takes lines on how far it is.

    Returns:
        {"steps", "seconds": of all, "busy_seconds": in which at least one operation ran, "parts": [{"part": name of a
        layer or as in `Purpose`, "kind": class of the layer, "direction", "seconds": of its operations}]}, longest
        first. On a CPU operations run side by side: parts may take longer than all.
    """
    # One program: a second one, for the rest of a longer epoch, would have other names of operations.
    training = training_of(job, steps=min(job.epoch_steps, CHUNK_STEPS))
    trainer, block = training.trainer, fit_blocks(job, training)
    step = jax.jit(trainer.train_step, donate_argnums=0)
    text = step.lower(state_of(trainer), training.train_batches()[0]).compile().as_text()
    report("  compiled")
    # Keras traces again where an epoch has another number of steps.
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
        "parts": _parts(spans, paths(text), trainer),
    }


def _spans(profile):
    """[(operation, start, end)] of the training program, in nanoseconds; without operations that wait for others."""
    found = []
    for event in (event for line in _lines(profile) for event in line.events):
        stats = dict(event.stats)
        name, module = stats.get("hlo_op", ""), stats.get("hlo_module", "")
        if name and "train_step" in module and not name.startswith(("while", "call", "conditional")):
            found.append((name, event.start_ns, event.start_ns + event.duration_ns))
    return found


def _lines(profile):
    """The lines that list operations: those of the GPU if there is one, and of these only the summary."""
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


def _parts(spans, named, trainer):
    kinds = {layer.name: type(layer).__name__.removeprefix("Fast") for layer in all_layers(trainer)}
    seconds = Counter()
    for name, start, end in spans:
        seconds[purpose(named.get(name, ""), kinds, trainer.optimizer.name)] += (end - start) / 1e9
    return [
        {"part": part or "other", "kind": kinds.get(part, part or "other"), "direction": direction, "seconds": spent}
        for (part, direction), spent in seconds.most_common()
    ]
