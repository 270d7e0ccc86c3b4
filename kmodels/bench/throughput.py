"""Images a second of every contender, measured by going round them, a second each."""

import contextlib

from kmodels.bench.contenders import CONTENDERS, HELPERS
from kmodels.bench.workers import Worker, WorkerError

EVERYONE = {**CONTENDERS, **HELPERS}


def measure(settings, gpu, say):
    """Every model with every batch size, all contenders.

    Args:
        settings: a Settings.
        gpu: whether the device is one.
        say: takes lines on how far it is.

    Yields:
        For each model and batch size a dict: model, batch_size, contenders (as from `race`), flops (as from
        `plain.count_flops`, or None) and matmul (operations a second of a product of matrices, by repeat).
    """
    names = settings.contenders_on(gpu)
    for job in settings.jobs(gpu):
        say(f"{job.model}, batch {job.batch_size}")
        flops = _flops(job, say)
        contenders = race(job, (*names, "matmul"), settings.repeats, say)
        products = contenders.pop("matmul")["images_per_second"]
        yield {
            "model": job.model,
            "batch_size": job.batch_size,
            "contenders": contenders,
            "flops": flops,
            "matmul": [flops["matmul"] * rate / job.batch_size for rate in products] if flops else [],
        }


def _flops(job, say):
    with Worker(HELPERS["matmul"], progress=say) as worker:
        try:
            return worker.ask("call", function="kmodels.bench.plain:count_flops", job=job.as_dict())
        except WorkerError as error:
            say(f"  operations not counted: {error}")
            return None


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
    with contextlib.ExitStack() as stack:
        # They import their libraries at the same time; from here on one works and the others wait.
        workers = {name: stack.enter_context(Worker(EVERYONE[name], progress=say)) for name in names}
        results = {name: _prepared(name, worker, job, say) for name, worker in workers.items()}
        for repeat in range(repeats):
            first = repeat % len(names)
            for name in (*names[first:], *names[:first]):
                if results[name]["error"] is None:
                    _time_block(results[name], workers[name], job, name, say)
            say(f"  round {repeat + 1} of {repeats}, images/s: {_last_rates(results)}")
    return results


def _prepared(name, worker, job, say):
    """Builds, compiles and calibrates one contender; returns the start of its result."""
    result = {"images_per_second": [], "error": None}
    try:
        result |= worker.ask("build", job=job.as_dict())
        result["steps"] = worker.ask("calibrate")
    except WorkerError as error:
        _give_up(result, worker, name, error, say)
    else:
        say(f"  {name}: first step {result['first_step_seconds']:.1f} s, {result['steps']:,} steps a block")
    return result


def _time_block(result, worker, job, name, say):
    try:
        block = worker.ask("block")
    except WorkerError as error:
        _give_up(result, worker, name, error, say)
    else:
        result["images_per_second"].append(block["steps"] * job.batch_size / block["seconds"])


def _give_up(result, worker, name, error, say):
    result["error"] = str(error)
    say(f"  {name} failed: {error}")
    # What it holds of the device's memory is for the others.
    worker.close()


def _last_rates(results):
    going = {name: result for name, result in results.items() if name != "matmul" and result["error"] is None}
    return ", ".join(f"{name} {result['images_per_second'][-1]:,.0f}" for name, result in going.items()) or "none"
