"""How long it takes from starting a process to its first training step, with a cold and a warm cache of JAX."""

import tempfile
import time

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.workers import Worker, WorkerError

# Each is two processes, and this does not vary as much as a block of training.
MOST_REPEATS = 3
# What JAX' monitoring calls the stages of compiling. The last one reads from the cache where the program is there.
STAGES = {
    "tracing_seconds": "/jax/core/compile/jaxpr_trace_duration",
    "lowering_seconds": "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "machine_code_seconds": "/jax/core/compile/backend_compile_duration",
}


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`.

    Yields:
        Dicts of model, batch_size, error, and for "cold" and "warm" a list of {"process_seconds": from the start of
        the process to the end of the first step, "compile_seconds": how much longer the first step took than the
        second, and of it the keys of STAGES}.
    """
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: first steps")
        row = {"model": job.model, "batch_size": job.batch_size, "cold": [], "warm": [], "error": None}
        try:
            for _ in range(min(MOST_REPEATS, settings.repeats)):
                with tempfile.TemporaryDirectory() as folder:
                    for cache in ("cold", "warm"):
                        row[cache].append(_process(job, folder, say))
                        say(f"  {cache} cache: {row[cache][-1]['process_seconds']:.1f} s")
        except WorkerError as error:
            row["error"] = str(error)
            say(f"  failed: {error}")
        yield row


def _process(job, folder, say):
    start = time.perf_counter()
    with Worker(CONTENDERS["ours"], _cache_in(folder), say) as worker:
        measured = worker.ask("call", function="kmodels.bench.startup:first_steps", job=job.as_dict())
        process = time.perf_counter() - start - measured.pop("second_step_seconds")
    return {"process_seconds": process, **measured}


def first_steps(job, report):
    """Takes two training steps; in a worker. Returns as `measure` has it, and second_step_seconds."""
    import jax

    from kmodels.bench import ours

    block, events = ours.ours(job), []
    jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **_: events.append((event, seconds)))
    first, second = _seconds_of_a_step(block), _seconds_of_a_step(block)
    # The trace of the step is the longest; those within it may have events of their own.
    stages = {
        name: (max if name == "tracing_seconds" else sum)([seconds for event, seconds in events if event == stage])
        for name, stage in STAGES.items()
    }
    return {"second_step_seconds": second, "compile_seconds": max(0.0, first - second), **stages}


def _seconds_of_a_step(block):
    start = time.perf_counter()
    block(1)
    return time.perf_counter() - start


def _cache_in(folder):
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        # Everything is kept, however quickly compiled and however small.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
