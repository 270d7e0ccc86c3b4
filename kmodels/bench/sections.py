"""The sections of a benchmark, as the parent process goes through them; `MEASURES` lists them.

Each takes a Settings, whether the device is a GPU, and a function for lines on how far it is. It yields a JSON value
for each model and batch size, with `model` and `batch_size`.
"""

import contextlib
import tempfile
import time
from dataclasses import replace

from kmodels.bench.contenders import CONTENDERS, EVERYONE, HELPERS, OURS, Contender
from kmodels.bench.gpu_target import NAME, PROGRAMS
from kmodels.bench.workers import Worker, WorkerError

# An epoch must not end more often in a block than it does in a training: callbacks work between epochs.
CALLBACKS_BLOCK = 5
# Each start is two processes, and it varies less than a block of training.
MOST_STARTS = 3
# A program from the cache of another process may have other names of operations.
NO_CACHE = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
CACHE_EVERYTHING = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def throughput(settings, gpu, say):
    """Images/s of all contenders. Yields contenders (as from `race`), flops and matmul (operations/s, by repeat)."""
    for job, row in _jobs(settings, gpu, say, "throughput"):
        seen, _ = _call(HELPERS["matmul"], "jax_twin:look_at_network", job, say)
        names, flops = settings.contenders_on(gpu), seen and seen["flops"]
        if seen and seen["no_twin"] and any(CONTENDERS[name].twin for name in names):
            say(f"  compared with stock fit only, without a hand-written network: {seen['no_twin']}")
            names = [name for name in names if not CONTENDERS[name].twin] or ["ours", "stock-fit"]
        contenders = race(job, (*names, "matmul"), settings.repeats, say)
        products = contenders.pop("matmul")["images_per_second"]
        peak = [flops["matmul"] * rate / job.batch_size for rate in products] if flops else []
        yield {**row, "contenders": contenders, "flops": flops, "matmul": peak}


def deterministic(settings, gpu, say):
    """What deterministic operations cost on a GPU. Yields contenders, as from `race`; nothing on a CPU."""
    if not gpu:
        say("deterministic: nothing to measure, since XLA's flag changes nothing on a CPU")
        return
    for job, row in _jobs(settings, gpu, say, "with and without deterministic operations"):
        yield {**row, "contenders": race(job, ("deterministic", "ours-epoch"), settings.repeats, say)}


def callbacks(settings, gpu, say):
    """What the callbacks of a training cost. Yields block_seconds and contenders, as `costs.callbacks` returns them."""
    for job, row in _jobs(settings, gpu, say, "with and without callbacks"):
        job = replace(job, block_seconds=CALLBACKS_BLOCK * job.block_seconds)
        found, error = _call(CONTENDERS["ours"], "costs:callbacks", job, say, repeats=settings.repeats)
        failed = {name: {"images_per_second": [], "error": error} for name in ("with callbacks", "without callbacks")}
        yield {**row, "block_seconds": job.block_seconds, "contenders": found or failed}


def startup(settings, gpu, say):
    """How long a process takes to its first step. Yields error, and for a "cold" and a "warm" cache of JAX a list of
    what `costs.first_steps` returns."""
    for job, row in _jobs(settings, gpu, say, "first steps"):
        row |= {"cold": [], "warm": [], "error": None}
        for _ in range(min(MOST_STARTS, settings.repeats)):
            with tempfile.TemporaryDirectory() as folder:
                environment = {"JAX_COMPILATION_CACHE_DIR": folder, **CACHE_EVERYTHING}
                for cache in ("cold", "warm"):
                    started = time.time()
                    found, error = _call(
                        CONTENDERS["ours"], "costs:first_steps", job, say, environment, started=started
                    )
                    row["error"] = row["error"] or error
                    if found:
                        row[cache].append(found)
                        say(f"  {cache} cache: {found['process_seconds']:.1f} s")
        yield row


def memory(settings, gpu, say):
    """How much memory a whole training takes. Yields error, and watched: what `costs.memory` returns."""
    for job, row in _jobs(settings, gpu, say, f"memory over {settings.epochs} epochs"):
        watched, error = _call(CONTENDERS["ours"], "costs:memory", job, say)
        yield {**row, "watched": watched, "error": error}


def profile(settings, gpu, say):
    """Where the time of a training step goes. Yields error, and taken: what `profile.take` returns."""
    for job, row in _jobs(settings, gpu, say, "profile of training steps"):
        taken, error = _call(CONTENDERS["ours"], "profile:take", job, say, NO_CACHE)
        yield {**row, "taken": taken, "error": error}


def kernels(settings, gpu, say):
    """What a training step asks of a GPU, which need not be there; of the networks usual for a GPU. Yields gpu (the one
    compiled for), and programs: {one of PROGRAMS: error, and what `kernels.count` returns}."""
    for job, row in _jobs(settings, True, say, f"compiled for {NAME}"):
        programs = {}
        for name, environment in PROGRAMS.items():
            found, error = _call(Contender(name, OURS), "kernels:count", job, say, environment, program=name)
            programs[name] = {**(found or {}), "error": error}
            if found:
                say(f"  {name}: {found['kernels']:,} kernels, {found['bytes'] / 2**20:,.0f} MiB")
        yield {**row, "gpu": NAME, "programs": programs}


MEASURES = {
    measure.__name__: measure for measure in (throughput, callbacks, startup, memory, deterministic, profile, kernels)
}


def _jobs(settings, gpu, say, what):
    """(Job, the beginning of its row) for each model and batch size."""
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}: {what}")
        yield job, {"model": job.model, "batch_size": job.batch_size}


def _call(contender, function, job, say, environment=None, **options):
    """(what a function of this package returns in a new worker, None), or (None, what went wrong)."""
    with Worker(contender, environment, say) as worker:
        try:
            return worker.ask("call", function=f"kmodels.bench.{function}", job=job, **options), None
        except WorkerError as error:
            say(f"  failed: {error}")
            return None, str(error)


def race(job, names, repeats, say):
    """Builds all contenders, then goes round them `repeats` times, each time beginning with the next.

    Args:
        job: a Job.
        names: keys of EVERYONE.
        repeats: blocks of each.
        say: takes lines on how far it is.

    Returns:
        {name: {"images_per_second": one for each repeat, "steps": of a block, "first_step_seconds",
        "second_step_seconds", "backend", "version", "error": None or what went wrong}}; where an epoch is a program,
        the first steps are epochs.
    """
    results = {name: {"images_per_second": [], "error": None} for name in names}
    with contextlib.ExitStack() as stack:
        # They import their libraries at the same time; from here on one works and the others wait.
        workers = {name: stack.enter_context(Worker(EVERYONE[name], progress=say)) for name in names}

        def ask(name, order, **options):
            """The answer of a contender; None once it has failed."""
            if results[name]["error"] is None:
                try:
                    return workers[name].ask(order, **options)
                except WorkerError as error:
                    results[name]["error"] = str(error)
                    say(f"  {name} failed: {error}")
                    # Its share of the device's memory is for the others.
                    workers[name].close()
            return None

        for name in names:
            if built := ask(name, "build", job=job):
                results[name] |= built
                say(f"  {name}: first step {built['first_step_seconds']:.1f} s, {built['steps']:,} steps per block")
        for repeat in range(repeats):
            first, rates = repeat % len(names), {}
            for name in (*names[first:], *names[:first]):
                if block := ask(name, "block"):
                    rates[name] = block.steps * job.batch_size / block.seconds
                    results[name]["images_per_second"].append(rates[name])
            line = ", ".join(f"{name} {rates[name]:,.0f}" for name in names if name in rates and name != "matmul")
            say(f"  round {repeat + 1} of {repeats}, images/s: {line or 'none'}")
    return results
