"""One benchmark from settings to file and table. `MEASURES` lists its sections.

A section takes a Job and a function for lines on how far it is, and returns JSON values.
"""

import contextlib
import datetime
import json
import re
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from kmodels.bench import tables
from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.gpu_target import ENVIRONMENT, NAME, PROGRAMS
from kmodels.bench.workers import Worker, WorkerError
from kmodels.errors import InputError
from kmodels.files import writable_folder, write_atomically

# What ours has compiled before would be there already.
NO_CACHE = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
# Each start is two processes, and it varies less than a block of training.
MOST_STARTS = 3
CACHE_EVERYTHING = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def bench(settings, out, say=print):
    """Measures, and writes `<out>/<device>-<time>.json` after everything measured.

    Args:
        settings: a Settings.
        out: the folder.
        say: takes lines on how far it is, and the tables.

    Returns:
        The path written.

    Raises:
        InputError: for a folder that cannot be written, or a device that cannot be used.
    """
    writable_folder(out)
    try:
        environment = call("kmodels.training.environment:environment")
    except WorkerError as error:
        raise InputError(f"the device cannot be used: {error}") from error
    gpu = not environment["device"].startswith("cpu")
    started = datetime.datetime.now(datetime.UTC)
    # "NVIDIA H200" -> "nvidia-h200".
    device = re.sub(r"[^a-z0-9]+", "-", environment["device"].lower()).strip("-")
    path = Path(out) / f"{device}-{started:%Y-%m-%dT%H-%M-%S}.json"
    results = {
        "started": started.isoformat(timespec="seconds"),
        "environment": environment,
        "settings": asdict(settings),
        "sections": {section: [] for section in settings.sections},
    }
    say(f"{environment['device']}; {settings.precision}")
    for section, rows in results["sections"].items():
        # Compiling for a GPU needs none, so the networks are those usual for one.
        for job in settings.jobs(gpu or section == "kernels", section == "photographs"):
            say(f"{section}: {job.model}, {job.image_size} pixels, batch {job.batch_size}")
            try:
                measured = MEASURES[section](job, say)
            except WorkerError as error:
                measured = {"error": str(error)}
            rows.append({"model": job.model, "batch_size": job.batch_size, **measured})
            # What was measured stays if what follows is interrupted.
            write_atomically(path, json.dumps(results, indent=1) + "\n")
    say(f"\n{tables.text(results)}\n")
    return path


def call(function, environment=None, **arguments):
    """What "module:function" returns in a new process with these variables, on JAX; raises WorkerError."""
    with Worker(CONTENDERS["ours"], environment) as worker:
        return worker.ask("call", function=function, **arguments)


def throughput(job, say):
    """Images/s of all contenders.

    Builds all, then goes round them `job.repeats` times, each time beginning with the next.

    Returns:
        {"contenders": {name: {"images_per_second": one for each repeat, "steps": of a block, "version": of the backend,
        "first_step_seconds", "second_step_seconds", "error": None or what went wrong}}}; where an epoch is a program,
        the first steps are epochs.
    """
    names = job.contenders
    results = {name: {"images_per_second": [], "error": None} for name in names}
    with contextlib.ExitStack() as stack:
        # They import their libraries at the same time; from here on one works and the others wait.
        workers = {name: stack.enter_context(Worker(CONTENDERS[name], NO_CACHE)) for name in names}

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
            results[name] |= ask(name, "build", job=job) or {}
            if steps := ask(name, "calibrate", seconds=job.block_seconds):
                results[name]["steps"] = steps
                say(f"  {name}: first step {results[name]['first_step_seconds']:.1f} s, {steps:,} steps per block")
        for repeat in range(job.repeats):
            first, rates = repeat % len(names), {}
            for name in (*names[first:], *names[:first]):
                if speed := ask(name, "block", steps=results[name].get("steps")):
                    rates[name] = speed * job.batch_size
                    results[name]["images_per_second"].append(rates[name])
            line = ", ".join(f"{name} {rates[name]:,.0f}" for name in names if name in rates)
            say(f"  round {repeat + 1} of {job.repeats}, images/s: {line or 'none'}")
    return {"contenders": results}


def startup(job, say):
    """How long a process of ours takes to the end of its first step, with an empty cache of JAX and with a filled one.

    Returns:
        {"cold", "warm": [{"process_seconds": from its start, "compile_seconds": how much longer the first step took
        than the second}]}.
    """
    found = {"cold": [], "warm": []}
    for _ in range(min(MOST_STARTS, job.repeats)):
        with tempfile.TemporaryDirectory() as folder:
            for cache, starts in found.items():
                started = time.perf_counter()
                with Worker(CONTENDERS["ours"], {**CACHE_EVERYTHING, "JAX_COMPILATION_CACHE_DIR": folder}) as worker:
                    built = worker.ask("build", job=job)
                    first, second = built["first_step_seconds"], built["second_step_seconds"]
                    process = time.perf_counter() - started - second
                starts.append({"process_seconds": process, "compile_seconds": max(0.0, first - second)})
                say(f"  {cache} cache: {process:.1f} s")
    return found


def kernels(job, say):
    """What a training step asks of a GPU: {"gpu": that it is compiled for, "programs": {name: what `kernels.count`
    returns}}."""
    programs = {}
    for name in PROGRAMS:
        programs[name] = call("kmodels.bench.kernels:count", ENVIRONMENT, job=job, program=name)
        say(f"  {name}, compiled for {NAME}: {programs[name]['kernels']:,} kernels")
    return {"gpu": NAME, "programs": programs}


def photographs(job, say):
    """What using a network on photographs costs, on the backends of those contenders that are kmodels: {"backends":
    {backend: what `bench.photographs.measure` returns}}."""
    found = {}
    for name in ("ours", "keras-tensorflow", "keras-torch"):
        if name in job.contenders:
            backend = CONTENDERS[name].backend
            with Worker(CONTENDERS[name]) as worker:
                found[backend] = worker.ask("call", function="kmodels.bench.photographs:measure", job=job)
            say(f"  {backend}: {tables.of_photographs(found[backend])}")
    return {"backends": found}


MEASURES = {measure.__name__: measure for measure in (throughput, startup, kernels, photographs)}
