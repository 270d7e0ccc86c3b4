"""What a training costs beside its steps: callbacks, the start, memory. These functions run in a worker.

Each takes a Job and a function for lines on how far it is, and returns JSON values.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import keras

from kmodels.bench.blocks import calibrate, synthetic_dataset, timed
from kmodels.bench.ours import fit_blocks, ours, training_of
from kmodels.bench.summary import MEBIBYTE

# As CIFAR-10 is split here.
EXAMPLES = {"train": 45_000, "val": 5_000, "test": 10_000}

# What JAX' monitoring calls the stages of compiling. The last one reads from the cache where the program is there.
STAGES = {
    "tracing_seconds": "/jax/core/compile/jaxpr_trace_duration",
    "lowering_seconds": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "machine_code_seconds": "/jax/core/compile/backend_compile_duration",
}


def callbacks(job, report, repeats):
    """One trainer, by turns with all callbacks of a training and with none; validated after every epoch.

    In one process: two that do the same differ by one or two per cent, depending on where their memory lies.

    Returns:
        {"with callbacks", "without callbacks": {"images_per_second": one for each repeat, "steps", "error": None}}.
    """
    with tempfile.TemporaryDirectory() as folder:
        training = training_of(job, checkpoint=Path(folder) / "training.checkpoint")
        blocks = {
            "with callbacks": fit_blocks(job, training, callbacks=training.callbacks, validated=True),
            "without callbacks": fit_blocks(job, training, validated=True),
        }
        for block in blocks.values():
            block(1)
        steps = calibrate(blocks["without callbacks"], job.block_seconds)
        results = {name: {"images_per_second": [], "steps": steps, "error": None} for name in blocks}
        for repeat in range(repeats):
            for name in list(blocks)[:: 1 if repeat % 2 else -1]:
                block = blocks[name](steps)
                results[name]["images_per_second"].append(block.steps * job.batch_size / block.seconds)
            line = ", ".join(f"{name} {result['images_per_second'][-1]:,.0f}" for name, result in results.items())
            report(f"  round {repeat + 1} of {repeats}, images/s: {line}")
        training.checkpoint.close()
    return results


def first_steps(job, report, started):
    """Takes two training steps, in a process that was started at `started`, in seconds of `time.time`.

    Returns:
        {"process_seconds": from there to the end of the first step, "compile_seconds": how much longer the first step
        took than the second, and of it the keys of STAGES}.
    """
    import jax

    block, events = timed(ours(job)), []
    jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **_: events.append((event, seconds)))
    first, process = block(1), time.time() - started
    # The trace of the step is the longest; those within it may have events of their own.
    stages = {
        name: (max if name == "tracing_seconds" else sum)([seconds for event, seconds in events if event == stage])
        for name, stage in STAGES.items()
    }
    return {"process_seconds": process, "compile_seconds": max(0.0, first - block(1)), **stages}


def memory(job, report, examples=None):
    """A whole training, with checkpoints and evaluation, on synthetic images as many as CIFAR-10 has.

    Args:
        job: a Job.
        report: takes lines on how far it is.
        examples: {split: images}; None for EXAMPLES.

    Returns:
        {"framework_bytes": in RAM after a tiny training, "epoch_bytes": in RAM at the end of each epoch, "peak_bytes",
        "data_bytes": of the images}.
    """
    examples = examples or EXAMPLES
    _train(job, dict.fromkeys(examples, job.batch_size), epochs=2)
    framework, epoch_bytes = resident_bytes(), []
    report(f"  libraries and a tiny training: {framework / MEBIBYTE:,.0f} MiB")

    def sample(epoch, logs):
        epoch_bytes.append(resident_bytes())
        report(f"  epoch {epoch + 1} of {job.epochs}: {epoch_bytes[-1] / MEBIBYTE:,.0f} MiB")

    _train(job, examples, epochs=job.epochs, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=sample)])
    data = sum(examples.values()) * job.image_size**2 * 3
    return {"framework_bytes": framework, "epoch_bytes": epoch_bytes, "peak_bytes": _peak_bytes(), "data_bytes": data}


def _train(job, examples, **settings):
    dataset = synthetic_dataset(job, **examples)
    with tempfile.TemporaryDirectory() as folder:
        training = training_of(job, dataset=dataset, checkpoint=Path(folder) / "training.checkpoint", **settings)
        training.fit().evaluate(dataset.test)


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
