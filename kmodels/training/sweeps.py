"""Many runs in a row, over experiments and seeds: what is recorded is skipped, what fails is reported at the end."""

import time

import keras

from kmodels.backend import deterministic
from kmodels.errors import require
from kmodels.training import hosts
from kmodels.training.one_run import Options
from kmodels.training.outcomes import Outcome, said
from kmodels.training.runs import make_run
from kmodels.training.shelf import Shelf

MOST_AT_ONCE = 8


def run_seeds(experiment, seeds, out="results", *, again=False, together=None, **options):
    """Runs an experiment once for each seed and returns the list of records, in the order of the seeds.

    Args:
        experiment: an Experiment.
        seeds: integers of at least 0.
        out: the results folder.
        again: repeat runs that are recorded in `out`; otherwise their records are read.
        together: train several seeds in one program (JAX only); None: on a GPU, where that is measured to be faster.
        **options: data_dir, verbose, resume, resident and devices, as in `run`; and split: what several devices divide,
            the "batch" of each run or the "runs", of which each device then does one at a time (on any backend).

    Raises:
        InputError: if a seed is given twice, which would count one run as two.
        Exception: what the first failed run failed on, after the others were done.
    """
    seeds = list(seeds)
    outcomes = {}
    for outcome in sweep([experiment], seeds, out, again=again, together=together, **options):
        outcomes[outcome.seed] = outcome
    for outcome in outcomes.values():
        if outcome.error is not None:
            raise outcome.error
    return [outcomes[seed].record for seed in seeds]


def sweep(experiments, seeds=(0,), out="results", *, again=False, together=None, split="batch", **options):
    """Runs every experiment with every seed; a run that fails does not keep the others from running.

    Args:
        experiments: Experiments; those that differ in values only (learning rate, weight decay, momentum, dropout
            rate, label smoothing, seed) share one compiled program, best one after the other.
        seeds, out, again, together, split, **options: as in `run_seeds`.

    Yields:
        An Outcome for each run, when it has ended.

    Raises:
        InputError: if a seed is given twice.
        KeyboardInterrupt: on Ctrl-C, which ends the run and the sweep.
    """
    experiments, seeds = list(experiments), list(seeds)
    require(len(set(seeds)) == len(seeds), "seeds must differ from each other", seeds)
    if together:
        possible = all(_most_at_once(experiment, seeds, True) == len(seeds) for experiment in experiments)
        rule = f"together needs JAX, feed 'arrays', all images of every class, no head and at most {MOST_AT_ONCE} seeds"
        require(possible, rule, keras.backend.backend())
        options["resident"] = True
    settings, shelf = Options(**options), Shelf()
    require(split in ("batch", "runs"), "split must be 'batch' or 'runs'", split)
    if split == "runs" or settings.devices != 1 or hosts.count() > 1:
        require(not together, "together must be None or False where there are several devices", together)
        together = False
    if split == "runs":
        from kmodels.training.spread import spread

        yield from spread([(item, seed) for item in experiments for seed in seeds], out, again, settings)
        return
    progress = _Progress(len(experiments) * len(seeds), silent=settings.verbose == 0)
    for experiment in experiments:
        waiting, most = [], _most_at_once(experiment, seeds, together)
        for seed in seeds:
            try:
                run = make_run(experiment, seed, out, settings, shelf)
                record = None if again else run.completed()
            except Exception as error:
                yield progress.end(Outcome(experiment=experiment, seed=seed, error=error))
                continue
            if record:
                yield progress.end(Outcome(experiment=experiment, seed=seed, record=record, recorded=True))
                continue
            waiting.append(run)
            if len(waiting) == most:
                yield from _trained(waiting, shelf, together, progress)
                waiting = []
        yield from _trained(waiting, shelf, together, progress)


def _most_at_once(experiment, seeds, together):
    """How many seeds of the experiment might share a program: they need the same images on JAX's device."""
    possible = (
        keras.backend.backend() == "jax"
        and experiment.feed == "arrays"
        and experiment.imbalance is None
        and experiment.head is None
    )
    return min(len(seeds), MOST_AT_ONCE) if possible and together is not False else 1


def _trained(runs, shelf, together, progress):
    """Trains runs of one experiment, in one program where that is asked for or faster; yields their Outcomes."""
    if len(runs) > 1:
        if _ready_together(runs, together):
            progress.begin(runs)
            yield from map(progress.end, _at_once(runs, shelf, together))
            return
        _put_down(runs, shelf)
    for run in runs:
        progress.begin([run])
        outcome = _outcome(run, run)
        run.put_down()
        yield progress.end(outcome)


def _ready_together(runs, together):
    """Builds the runs and says whether to train them in one program. What goes wrong here, each will say by itself."""
    try:
        if not runs[0].resident:
            return False
        from kmodels.training.together import small_enough, worth_it

        runs[0].build()
        # What is faster is found by the clock, and the two differ by rounding.
        if not together and (deterministic() or not small_enough(runs[0])):
            return False
        for place, run in enumerate(runs[1:], start=1):
            run.build(place)
        return not any(run.epochs_done for run in runs) and (together or worth_it(runs))
    except Exception:
        return False


def _at_once(runs, shelf, together):
    """Trains built runs in one program; yields their Outcomes."""
    from kmodels.training.together import train_together

    waiting = list(runs)
    try:
        train_together(runs)
        while waiting:
            outcome = _outcome(waiting[0], waiting[0].finish)
            waiting.pop(0)
            yield outcome
    except GeneratorExit:
        raise
    except Exception as error:
        if not together:
            print(f"not together: {said(error)}; one after the other", flush=True)
            _put_down(runs, shelf)
        for run in runs:
            if together:
                run.give_up(error)
            yield Outcome(experiment=run.experiment, seed=run.seed, error=error) if together else _outcome(run, run)
    except BaseException as interrupt:
        for run in waiting:
            run.give_up(interrupt)
        raise


def _put_down(runs, shelf):
    for run in runs:
        run.put_down()
    shelf.clear_places()


def _outcome(run, train):
    """The Outcome of a run that is trained to its record by a call of `train`."""
    try:
        return Outcome(experiment=run.experiment, seed=run.seed, record=train())
    except Exception as error:
        return Outcome(experiment=run.experiment, seed=run.seed, error=error)


class _Progress:
    """Prints a line when a run begins, with the time that the rest of the sweep may take, and one for what went wrong.

    The estimate is the mean time of the runs so far.
    """

    def __init__(self, total, silent):
        self._total, self._silent = total, silent
        self._ended = self._timed = 0
        self._start = self._seconds = 0.0

    def begin(self, runs):
        run, left = runs[0], ""
        if self._timed:
            left = f" (about {_duration(self._seconds / self._timed * (self._total - self._ended))} left)"
        description = f": {run.experiment.description}" if run.experiment.description else ""
        seeds = f"seed {run.seed}" if len(runs) == 1 else f"seeds {' '.join(str(run.seed) for run in runs)}"
        self._say(f"\n[{self._ended + 1}/{self._total}] {run.experiment.name}, {seeds}{left}{description}")
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
            self._say(f"{what} failed: {said(outcome.error)}")
        return outcome

    def _say(self, line):
        if not self._silent:
            print(line, flush=True)


def _duration(seconds):
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
