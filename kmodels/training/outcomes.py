"""What becomes of the runs of a sweep, and how failures are told at its end."""

from dataclasses import dataclass

from kmodels.errors import InputError
from kmodels.experiment import Experiment
from kmodels.records import Record


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


def said(error):
    """An error in words: a user's mistake as it is, anything else with its kind."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def failures(outcomes):
    """One line for each way in which runs of a sweep failed, with the runs that did where there were several."""
    if len(outcomes) == 1:
        return [said(outcome.error) for outcome in outcomes if outcome.error is not None]
    by_message = {}
    for outcome in outcomes:
        if outcome.error is not None:
            run = f"{outcome.experiment.name} seed {outcome.seed}"
            by_message.setdefault(said(outcome.error), []).append(run)
    return [f"{', '.join(runs)}: {message}" for message, runs in by_message.items()]
