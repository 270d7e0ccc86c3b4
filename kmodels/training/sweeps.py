"""Many runs in a row, over experiments and seeds: what is recorded is skipped, what fails is reported at the end."""

import contextlib
import time

import keras

from kmodels.backend import deterministic
from kmodels.errors import InputError, describe_error, require
from kmodels.interrupts import Interrupts, interruptible
from kmodels.records import RecordList
from kmodels.text import duration
from kmodels.tracking import check_tracking
from kmodels.training.job import Job, Outcome, check_out
from kmodels.training.run import execute, finish, prepare
from kmodels.training.settings import listed

MAX_TOGETHER = 8


@interruptible
def run_seeds(experiment, seeds, out="results", *, again=False, together=None, **options):
    """Runs an experiment once for each seed and returns the list of records, in the order of the seeds.

    Args:
        experiment: an Experiment.
        seeds: integers of at least 0.
        out: the results folder.
        again: repeat runs that are recorded in `out`; otherwise their records are read.
        together: train several seeds in one program (JAX only, without callbacks); None: on a GPU, where that is
            measured to be faster.
        **options: data_dir, skip_unreadable, verbose, resume, on_device, devices, callbacks and track, as in `run`; and
            split: what several devices divide, the "batch" of each run or the "runs", one at a time for each device
            (on any backend).

    Raises:
        InputError: if a seed is given twice, which would count one run as two.
        KeyboardInterrupt: on Ctrl-C or a notebook's stop button, as in `run`; the message says how to resume.
        Exception: what the first failed run failed on, after the others were done.
    """
    seeds = list(seeds)
    outcomes = {}
    for outcome in sweep([experiment], seeds, out, again=again, together=together, **options):
        outcomes[outcome.seed] = outcome
    for outcome in outcomes.values():
        if outcome.error is not None:
            raise outcome.error
    return RecordList(outcomes[seed].record for seed in seeds)


def sweep(
    experiments,
    seeds=(0,),
    out="results",
    *,
    again=False,
    together=None,
    split="batch",
    data_dir=None,
    skip_unreadable=False,
    devices=1,
    parents=None,
    **options,
):
    """Runs every experiment with every seed; a run that fails does not keep the others from running.

    Args:
        experiments: Experiments, one that starts from the network of another one after it.
        seeds, out, again, together, split, data_dir, skip_unreadable, devices, **options: as in `run_seeds`.
        parents: {(name of an experiment, seed): .keras file}: which network `init_from` means, where `out` has several.

    Yields:
        An Outcome for each run, when it has ended.

    Raises:
        InputError: if a seed is given twice.
        KeyboardInterrupt: on Ctrl-C, which ends the run and the sweep.
    """
    experiments, seeds = list(experiments), list(seeds)
    require(len(set(seeds)) == len(seeds), "seeds must differ from each other", seeds)
    require(split in ("batch", "runs"), "split must be 'batch' or 'runs'", split)
    check_tracking(options.get("track"))
    options["callbacks"] = listed(options.get("callbacks"))
    # One callback cannot count the epochs of two trainings at once.
    if split == "runs" or devices != 1 or options["callbacks"]:
        require(not together, "together must be None or False with several devices, or with callbacks", together)
        together = False
    for experiment in experiments:
        check_out(experiment, out, data_dir)
    if together:
        possible = all(_number_together(experiment, seeds, True) == len(seeds) for experiment in experiments)
        rule = (
            "together needs JAX, data_loader 'arrays', all images of every class, no head and at most "
            f"{MAX_TOGETHER} seeds"
        )
        require(possible, rule, keras.backend.backend())
        options["on_device"] = True
    if split == "runs":
        from kmodels.workers import run_in_workers

        runs = [(experiment, seed) for experiment in experiments for seed in seeds]
        yield from run_in_workers(
            runs, out, devices, again=again, data_dir=data_dir, skip_unreadable=skip_unreadable, **options
        )
        return
    options["devices"] = devices
    progress = _Progress(len(experiments) * len(seeds), silent=options.get("verbose") == 0)
    parents, opened, unusable = dict(parents or {}), {}, set()

    def ended(outcome):
        if outcome.error is not None or outcome.record.status != "completed":
            unusable.add((outcome.experiment.name, outcome.seed))
        return progress.end(outcome)

    for experiment in experiments:
        limit = _number_together(experiment, seeds, together)
        for first in range(0, len(seeds), limit):
            jobs = []
            for seed in seeds[first : first + limit]:
                if (experiment.init_from, seed) in unusable:
                    # In `out` there may be a network of other settings, which it must not start from.
                    reason = f"not run: {experiment.init_from}, from whose network it starts, did not complete"
                    yield ended(Outcome(experiment=experiment, seed=seed, error=InputError(reason)))
                    continue
                job = _job_or_outcome(again, experiment, seed, out, data_dir, skip_unreadable, parents, opened)
                if isinstance(job, Outcome):
                    yield ended(job)
                else:
                    jobs.append(job)
            yield from map(ended, _outcomes(jobs, progress, together, options))


def _job_or_outcome(again, experiment, seed, *where):
    """The Job of a run that is to be done; the Outcome of one that is recorded, or cannot begin."""
    try:
        with Interrupts():
            job = Job(experiment, seed, *where)
            record = None if again else job.recorded()
    except Exception as error:
        return Outcome(experiment=experiment, seed=seed, error=error)
    return Outcome(experiment=experiment, seed=seed, record=record, recorded=True) if record else job


def _outcomes(jobs, progress, together, options):
    """Does these jobs, in one program where that is asked for or faster; yields an Outcome for each."""
    if trainings := _prepared_together(jobs, together, options):
        from kmodels.training.together import train_together

        progress.begin(jobs)
        try:
            with Interrupts(), contextlib.ExitStack() as stack:
                for job, training in zip(jobs, trainings, strict=True):
                    stack.enter_context(job.recording_failure(training))
                train_together(trainings)
        except Exception as error:
            if together:
                yield from (Outcome(experiment=job.experiment, seed=job.seed, error=error) for job in jobs)
                return
            print(f"cannot train together: {describe_error(error)}; training one seed after the other", flush=True)
        else:
            for job, training in zip(jobs, trainings, strict=True):
                yield _outcome(job, finish, training, len(jobs))
            return
    for job in jobs:
        progress.begin([job])
        yield _outcome(job, execute, **options)


def _outcome(job, do, *arguments, **options):
    """The Outcome of a job whose Record `do(job, ...)` returns."""
    try:
        return Outcome(experiment=job.experiment, seed=job.seed, record=do(job, *arguments, **options))
    except Exception as error:
        return Outcome(experiment=job.experiment, seed=job.seed, error=error)


def failures(outcomes):
    """One line for each way in which runs of a sweep failed, with the runs that did where there were several."""
    if len(outcomes) == 1:
        return [describe_error(outcome.error) for outcome in outcomes if outcome.error is not None]
    by_message = {}
    for outcome in outcomes:
        if outcome.error is not None:
            run = f"{outcome.experiment.name} seed {outcome.seed}"
            by_message.setdefault(describe_error(outcome.error), []).append(run)
    return [f"{', '.join(runs)}: {message}" for message, runs in by_message.items()]


def _number_together(experiment, seeds, together):
    """How many seeds of the experiment might share a program: they need the same images on JAX's device."""
    possible = (
        keras.backend.backend() == "jax"
        and experiment.data_loader == "arrays"
        and experiment.imbalance is None
        and experiment.head is None
    )
    return min(len(seeds), MAX_TOGETHER) if possible and together is not False else 1


def _prepared_together(jobs, together, options):
    """The Trainings of the jobs, where they are to share a program; None where not.

    What goes wrong here goes wrong again when each is run alone, and is reported then.
    """
    if len(jobs) < 2:
        return None
    try:
        trainings = [prepare(jobs[0], **options)]
        if not trainings[0].on_device:
            return None
        from kmodels.training.together import small_enough, worth_it

        # Which of the two is faster is measured, and they differ by rounding.
        if not together and (deterministic() or not small_enough(trainings[0])):
            return None
        trainings += [prepare(job, **options) for job in jobs[1:]]
        suits = not any(training.epochs_done for training in trainings)
        return trainings if suits and (together or worth_it(trainings)) else None
    except Exception:
        return None


class _Progress:
    """Prints a line when a run begins, with the time that the rest of the sweep may take, and one for what went wrong.

    The estimate is the mean time of the runs so far.
    """

    def __init__(self, total, silent):
        self._total, self._silent = total, silent
        self._ended = self._timed = 0
        self._start = self._seconds = 0.0

    def begin(self, jobs):
        experiment, left = jobs[0].experiment, ""
        if self._timed:
            left = f" (about {duration(self._seconds / self._timed * (self._total - self._ended))} left)"
        description = f": {experiment.description}" if experiment.description else ""
        seeds = f"seed {jobs[0].seed}" if len(jobs) == 1 else f"seeds {' '.join(str(job.seed) for job in jobs)}"
        self._say(f"\n[{self._ended + 1}/{self._total}] {experiment.name}, {seeds}{left}{description}")
        self._start = time.perf_counter()

    def end(self, outcome):
        self._ended += 1
        what = f"[{self._ended}/{self._total}] {outcome.experiment.name}, seed {outcome.seed}"
        if outcome.recorded:
            self._say(f"{what} is recorded already")
            return outcome
        now = time.perf_counter()
        self._timed += 1
        self._seconds, self._start = self._seconds + now - (self._start or now), now
        if outcome.error is not None and self._total > 1:
            self._say(f"{what} failed: {describe_error(outcome.error)}")
        return outcome

    def _say(self, line):
        if not self._silent:
            print(line, flush=True)
