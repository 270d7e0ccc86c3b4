"""Sentences on what may not be concluded from a comparison; each function returns a list of them."""

from pathlib import Path

from kmodels.comparison.sides import same_data
from kmodels.errors import shorten
from kmodels.experiment import OF_TRAINING
from kmodels.records.descriptions import changed_settings

BEST_OF_MANY = (
    "The interval holds for two experiments that were chosen before their test accuracies were seen. The best of many "
    "looks better than it is: choose it by val, or compare it again with new seeds."
)


def left_out(sides, left):
    """Which runs of both sides, each {path: Record}, are not compared; left: the Summaries that were not chosen."""
    notes = []
    for letter, records, groups in zip("ab", sides, left, strict=True):
        if groups:
            stems = [Path(group.records[0].stem).name.rsplit("-seed", 1)[0] for group in groups]
            notes.append(f"Runs of {letter} on other data, or computed in another way, are left out: {shorten(stems)}.")
        completed = {record.seed for record in records.values() if record.status == "completed"}
        lost = {record.seed: record.status for record in records.values() if record.seed not in completed}
        if lost:
            words = ", ".join(f"seed {seed} {status}" for seed, status in lost.items())
            notes.append(f"Of {letter} these have no accuracy and are left out: {words}.")
    return notes


def one_seed(a, b):
    """Why one seed of each is compared, and what that leaves open."""
    if min(len(a.records), len(b.records)) > 1:
        return [
            "Every seed gives the same difference, so there is no spread to compute an interval over seeds from: one "
            "seed of each is compared. Runs that do not depend on the seed are one run repeated."
        ]
    note = "With other seeds the difference may be the other way round: run both with several seeds to know."
    if len(a.records) == len(b.records):
        return [note]
    letter = "a" if len(a.records) == 1 else "b"
    return [f"Of {letter} there is one seed only, so one of the other is compared: run {letter} with more seeds.", note]


def other_data(a, b):
    """That the accuracies are not of the same pixels."""
    if same_data(a, b):
        return []
    return ["The pixels differ (sha256), by their size or by the images: one set may be easier than the other."]


def other_computation(a, b):
    """What else differs than settings."""
    found = []
    for words, of in {
        "backend": lambda record: record.backend,
        "precision": lambda record: record.precision,
        "callbacks": lambda record: ", ".join(record.callbacks) or "none",
        "source of own functions": lambda record: tuple(sorted((record.code_sha256 or {}).items())),
        "commit of kmodels": lambda record: record.commit,
        "version of Keras": lambda record: record.versions.get("keras"),
    }.items():
        values = [{of(record) for record in summary.records} for summary in (a, b)]
        if values[0] != values[1]:
            shown = [", ".join(sorted(map(str, value))) for value in values]
            found.append(words if words.startswith("source") else f"{words} ({shown[0]} and {shown[1]})")
    return [f"Not only the settings differ, but also: {'; '.join(found)}."] if found else []


# Setting -> the one that it goes with: a head needs a network to start from, an SVM a kernel.
GOES_WITH = {"init_from": "head", "kernel": "head", "augmentation": "head", "sampler": "head", "momentum": "optimizer"}


def many_settings(a, b):
    """That several settings differ at once."""
    changed = settings_that_differ(a.experiment, b.experiment)
    options = {**a.experiment.model_options, **b.experiment.model_options}
    goes_with = {**GOES_WITH, **dict.fromkeys(options, "model")}
    chosen = [name for name in changed if goes_with.get(name) not in changed]
    if len(chosen) < 2:
        return []
    return [f"{len(chosen)} settings differ: which of them makes the difference, this comparison cannot tell."]


def settings_that_differ(a, b):
    """{name: value of b} of the settings that differ, without those that a fitted head does not read."""
    unread = OF_TRAINING if a.is_fitted or b.is_fitted else ()
    return {name: value for name, value in changed_settings(b, a).items() if name not in unread}
