"""Many runs in a row, over experiments and seeds: what is recorded is skipped, what fails is reported at the end."""

import time
from dataclasses import dataclass

from kmodels.errors import InputError, require
from kmodels.experiment import Experiment
from kmodels.records import Record
from kmodels.training.runs import Options, Run
from kmodels.training.shelf import Shelf


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run of a sweep.

    Attributes:
        record: None where it failed.
        error: what it failed on; None otherwise.
        recorded: whether the record was there before.
    """

    experiment: Experiment
    seed: int
    record: Record | None = None
    error: Exception | None = None
    recorded: bool = False


def run_seeds(experiment, seeds, out="results", *, again=False, **options):
    """Runs an experiment once for each seed and returns the list of records.

    Args:
        experiment: an Experiment.
        seeds: integers of at least 0.
        out: the results folder.
        again: repeat runs that are recorded in `out`; otherwise their records are read.
        **options: data_dir, verbose, resume and resident, as in `run`.

    Raises:
        InputError: if a seed is given twice, which would count one run as two.
        Exception: what the first failed run failed on, after the others were done.
    """
    outcomes = list(sweep([experiment], seeds, out, again=again, **options))
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.record for outcome in outcomes]


def sweep(experiments, seeds=(0,), out="results", *, again=False, **options):
    """Runs every experiment with every seed; a run that fails does not keep the others from running.

    Args:
        experiments: Experiments; those that differ in values only (learning rate, weight decay, momentum, dropout
            rate, label smoothing, seed) share one compiled program, best one after the other.
        seeds, out, again, **options: as in `run_seeds`.

    Yields:
        An Outcome for each run, when it has ended.

    Raises:
        InputError: if a seed is given twice.
        KeyboardInterrupt: on Ctrl-C, which ends the run and the sweep.
    """
    seeds = list(seeds)
    require(len(set(seeds)) == len(seeds), "seeds must differ from each other", seeds)
    options, shelf = Options(**options), Shelf()
    progress = _Progress(len(experiments) * len(seeds), silent=options.verbose == 0)
    for experiment in experiments:
        for seed in seeds:
            progress.begin(experiment, seed)
            outcome = _one(experiment, seed, out, options, shelf, again)
            progress.end(outcome)
            yield outcome


def _one(experiment, seed, out, options, shelf, again):
    try:
        prepared = Run(experiment, seed, out, options, shelf)
        if not again and (record := prepared.completed()):
            return Outcome(experiment=experiment, seed=seed, record=record, recorded=True)
        return Outcome(experiment=experiment, seed=seed, record=prepared())
    except Exception as error:
        return Outcome(experiment=experiment, seed=seed, error=error)


class _Progress:
    """Prints a line when a run begins, with the time that the rest of the sweep may take, and one for what went wrong.

    The estimate is the mean time of the runs so far.
    """

    def __init__(self, total, silent):
        self._total, self._silent = total, silent
        self._begun = self._timed = 0
        self._seconds = 0.0

    def begin(self, experiment, seed):
        self._begun += 1
        self._start = time.perf_counter()
        left = ""
        if self._timed:
            left = f" (about {_duration(self._seconds / self._timed * (self._total - self._begun + 1))} left)"
        description = f": {experiment.description}" if experiment.description else ""
        self._say(f"\n[{self._begun}/{self._total}] {experiment.name}, seed {seed}{left}{description}")

    def end(self, outcome):
        if outcome.recorded:
            self._say("is recorded already")
            return
        self._timed += 1
        self._seconds += time.perf_counter() - self._start
        if outcome.error is not None and self._total > 1:
            self._say(f"failed: {_said(outcome.error)}")

    def _say(self, line):
        if not self._silent:
            print(line, flush=True)


def _said(error):
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def _duration(seconds):
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def failures(outcomes):
    """One line for each way in which runs of a sweep failed, with the runs that did where there were several."""
    if len(outcomes) == 1:
        return [_said(outcome.error) for outcome in outcomes if outcome.error is not None]
    by_message = {}
    for outcome in outcomes:
        if outcome.error is not None:
            run = f"{outcome.experiment.name} seed {outcome.seed}"
            by_message.setdefault(_said(outcome.error), []).append(run)
    return [f"{', '.join(runs)}: {message}" for message, runs in by_message.items()]
