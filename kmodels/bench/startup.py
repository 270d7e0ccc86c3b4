"""How long it takes from starting a process to its first training step, with a cold and a warm cache of JAX."""

import tempfile
import time

from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.summary import compile_seconds
from kmodels.bench.workers import Worker, WorkerError

# Each is two processes, and this does not vary as much as a block of training.
MOST_REPEATS = 3


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`.

    Yields:
        Dicts of model, batch_size, error, and for "cold" and "warm" a list of {"process_seconds": from the start of
        the process to the end of the first step, "compile_seconds": how much longer the first step took than the
        second}.
    """
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: first steps")
        row = {"model": job.model, "batch_size": job.batch_size, "cold": [], "warm": [], "error": None}
        try:
            for _ in range(min(MOST_REPEATS, settings.repeats)):
                with tempfile.TemporaryDirectory() as folder:
                    for cache in ("cold", "warm"):
                        row[cache].append(_first_step(job, folder, say))
                        say(f"  {cache} cache: {row[cache][-1]['process_seconds']:.1f} s")
        except WorkerError as error:
            row["error"] = str(error)
            say(f"  failed: {error}")
        yield row


def _first_step(job, folder, say):
    start = time.perf_counter()
    with Worker(CONTENDERS["ours"], _cache_in(folder), say) as worker:
        built = worker.ask("build", job=job.as_dict())
        process = time.perf_counter() - start - built["second_step_seconds"]
    return {
        "process_seconds": process,
        "compile_seconds": compile_seconds(built),
    }


def _cache_in(folder):
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        # Everything is kept, however quickly compiled and however small.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
