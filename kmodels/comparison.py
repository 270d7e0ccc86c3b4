"""Is one experiment better than another? Over their seeds or, with one seed each, image by image.

(Not in a module `compare`, which would take the place of the function `kmodels.compare`.)
"""

import glob
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmodels.analysis import intervals
from kmodels.descriptions import changed_settings, mean_and_spread
from kmodels.errors import InputError, require, shorten
from kmodels.experiment import OF_TRAINING
from kmodels.notebook import Table, html
from kmodels.predictions import read_predictions
from kmodels.records import Record, read_record, read_records
from kmodels.summaries import Summary, paired_differences, summarise
from kmodels.text import aligned, printable


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """The difference of the test accuracies of two experiments; printing it shows all of it in words.

    Attributes:
        a, b: Summaries of what was compared, without the records that were left out.
        difference: mean test accuracy of b minus that of a, fraction of 1; where runs are paired, over the pairs.
        low, high: its 95 % interval, fractions of 1.
        method: how that was computed, in words.
        pairs: with one seed each on the same images: intervals.Pairs, on how many of them both, one or none is right.
        p_value: of McNemar's exact test on these; None without them.
        needed: about how many seeds or images would show a difference of this size; None where that cannot be said.
        notes: sentences on what may not be concluded.

    Example:
        comparison = kmodels.compare("results/mine/base", "results/mine/crop")
        print(comparison)
        print(comparison.shown, comparison.difference)
    """

    a: Summary
    b: Summary
    difference: float
    low: float
    high: float
    method: str
    pairs: intervals.Pairs | None = None
    p_value: float | None = None
    needed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def shown(self):
        """Whether a difference is shown: 0 is outside the interval, and the p-value, if there is one, below 5 %."""
        outside = self.low > 0 or self.high < 0
        return outside and (self.p_value is None or self.p_value < 1 - intervals.CONFIDENCE)

    @property
    def over_seeds(self):
        """Whether experiments were compared over their seeds, and not two networks on images."""
        return len(self.a.records) > 1

    def as_dict(self):
        """Its numbers and words as a dict that JSON can hold; `kmodels compare --help` says what is in it."""
        sides = {
            letter: {
                "experiment": one.experiment.name,
                "seeds": [record.seed for record in one.records],
                "test_accuracy": one.mean,
            }
            for letter, one in (("a", self.a), ("b", self.b))
        }
        numbers = {name: float(getattr(self, name)) for name in ("difference", "low", "high")}
        return {
            **sides,
            **numbers,
            "method": self.method,
            "shown": bool(self.shown),
            "pairs": self.pairs and self.pairs._asdict(),
            "p_value": self.p_value,
            "needed": None if self.needed is None or self.needed > 1e6 else int(self.needed),
            "notes": list(self.notes),
        }

    def __repr__(self):
        return _text(self)

    def _repr_html_(self):
        rows, lines = _parts(self)
        return html("comparison", tables=[Table(rows[1:], rows[0], (3,))], notes=[*lines, *self.notes])


def compare(a, b, out="results"):
    """Compares the test accuracies of two experiments.

    With two or more completed seeds of each: Welch's t; or Student's t over the differences of pairs, where the runs of
    each seed share a network (a head and the network of its features, or two runs that start from one) and the data.
    Equal seeds of different networks are not paired. With one seed of either, and where every seed gives the same
    accuracies: of the seed that both have, McNemar's test and Newcombe's paired interval on the same test images (known
    by their pixels or their files); or his interval for two sets of images.

    Args:
        a, b: each a Record, a list of Records of one experiment, or a path: of a record's .json file, of a folder with
            the records of one experiment, or a pattern of such files ("results/mine/base/jax-*.json").
        out: the results folder of Records that are given as such.

    Returns:
        A Comparison.

    Raises:
        InputError: if a or b has no completed run or is of several experiments, if their classes differ, or if one
            run is on both sides.
    """
    sides = [_records(given, out) for given in (a, b)]
    paths = {id(record): path for side in sides for path, record in side.items()}
    groups = [_groups(records, letter) for records, letter in zip(sides, "ab", strict=True)]
    (a, left_a), (b, left_b) = _choose(groups, paths)
    same = [record for record in a.records if record in b.records]
    require(not same, "a and b must be different runs", same[0].stem if same else None)
    names = [set(summary.records[0].class_names) for summary in (a, b)]
    if names[0] != names[1]:
        known = " and ".join(shorten(sorted(found)) for found in names)
        raise InputError(f"accuracies on different classes cannot be compared. Received: {known}")
    notes = [*_left_out(sides, (left_a, left_b)), *_other_data(a, b)]
    found = _over_seeds(a, b) if min(len(a.records), len(b.records)) > 1 else None
    if found is None:
        notes += _one_seed(a, b)
        a, b = _common_seed(a, b)
        found = _on_images(a, b, paths)
    notes += [*found.pop("notes", ()), *_other_computation(a, b), *_many_settings(a, b), BEST_OF_MANY]
    return Comparison(a=a, b=b, notes=tuple(notes), **found)


BEST_OF_MANY = (
    "The interval holds for two experiments that were chosen before their test accuracies were seen. The best of many "
    "looks better than it is: choose it by val, or compare it again with new seeds."
)


# What was given, as {path: Record}, and which Summary of it is compared.


def _records(given, out):
    """{path: Record} of what was given as a or b."""
    if isinstance(given, Record):
        given = [given]
    if isinstance(given, list | tuple):
        fits = given and all(isinstance(record, Record) for record in given)
        require(fits, "a and b must each be a Record, a list of Records or a path", given)
        return {Path(out) / f"{record.stem}.json": record for record in given}
    require(isinstance(given, str | Path), "a and b must each be a Record, a list of Records or a path", given)
    path = Path(given)
    if path.is_dir():
        found = read_records(path)
        require(found, "the folder must have records (*-seed*.json) that can be read", str(path))
        return found
    if path.is_file():
        return {path: read_record(path)}
    paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if name.endswith(".json")]
    require(paths, "there is no such record (.json), folder or pattern of records", str(path))
    return {path: read_record(path) for path in paths}


def _groups(records, letter):
    """Summaries of one experiment that have completed runs; several if it was run on other data or in another way."""
    names = list(dict.fromkeys(record.experiment.name for record in records.values()))
    if len(names) > 1:
        raise InputError(f"{letter} must be one experiment; give the folder of one. Received: {shorten(names)}")
    groups = [summary for summary in summarise(records.values()) if summary.records]
    if not groups:
        counts = Counter(record.status for record in records.values())
        states = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise InputError(f"{letter} ({names[0]}) must have a completed run. Received: {states}")
    return groups


def _choose(sides, paths):
    """Of each side the Summary that is compared, and those that are left out.

    A folder may have runs of an experiment on several data or backends: those compared are the only ones that agree.
    """
    pairs = [(a, b) for a in sides[0] for b in sides[1]]
    if len(pairs) > 1:
        pairs = [(a, b) for a, b in pairs if _where(a) == _where(b)]
    if len(pairs) != 1:
        letter, groups = ("a", sides[0]) if len(sides[0]) > 1 else ("b", sides[1])
        patterns = [str(paths[id(group.records[0])]).rsplit("-seed", 1)[0] + "-seed*.json" for group in groups]
        raise InputError(
            f"{letter} ({groups[0].experiment.name}) must be runs with the same settings, data, backend and precision; "
            f"give one of these patterns, in quotes. Received: {shorten(patterns)}"
        )
    return [(one, [group for group in side if group is not one]) for one, side in zip(pairs[0], sides, strict=True)]


def _where(summary):
    record = summary.records[0]
    return summary.source["sha256"], record.backend, record.precision


# How they are compared: the fields of a Comparison.


def _over_seeds(a, b):
    """None where the seeds have no spread."""
    numbers = [[record.test.accuracy for record in summary.records] for summary in (b, a)]
    method = f"Welch's t over {len(a.records)} and {len(b.records)} seeds"
    differences = paired_differences(b.records, a.records, lambda record: record.test.accuracy)
    if len(differences) > 1 and _same_data(a, b):
        numbers = [differences]
        method = f"Student's t over {len(differences)} pairs of runs that share a network"
    if not intervals.has_spread(numbers):
        return None
    low, high = intervals.t_interval(numbers)
    images = " and ".join(dict.fromkeys(f"{one.records[0].test.examples:,}" for one in (a, b)))
    note = f"This is about training with other seeds, judged on these {images} test images, not about other images."
    needed = intervals.runs_needed(numbers)
    difference = intervals.mean_difference(numbers)
    return {"difference": difference, "low": low, "high": high, "method": method, "needed": needed, "notes": [note]}


def _on_images(a, b, paths):
    records = [summary.records[0] for summary in (a, b)]
    predictions = [_test_predictions(record, paths[id(record)]) for record in records]
    notes = ["This is about two networks on images like these, not about their settings."]
    if all(predictions) and _same_images(*predictions, _same_data(a, b)):
        pairs = intervals.count_pairs(*(one.predicted == one.labels for one in predictions))
        low, high = intervals.paired_interval(pairs)
        method, needed = "Newcombe's, paired by image", intervals.images_needed(pairs)
        p_value = intervals.mcnemar(pairs)
    else:
        low, high = intervals.unpaired_interval(*((_right(one), one.test.examples) for one in records))
        method, needed = "Newcombe's, of two sets of images", intervals.unpaired_images_needed(a.mean, b.mean)
        pairs = p_value = None
        if _same_data(a, b):
            missing = [letter for letter, one in zip("ab", predictions, strict=True) if one is None]
            notes.append(
                f"The images are the same, and image by image the interval would be narrower. There are no "
                f"predictions beside the record of {' and '.join(missing)}: --again (again=True) runs it again."
                if missing
                else "The predictions are not of the same images in the same order."
            )
    return {
        "difference": b.mean - a.mean,
        "low": low,
        "high": high,
        "method": method,
        "needed": needed,
        "pairs": pairs,
        "p_value": p_value,
        "notes": notes,
    }


def _test_predictions(record, path):
    """Predictions of the test images; None where there are none, or not of this run."""
    found = read_predictions(path)
    if found is None:
        return None
    test = found["test"]
    return test if int((test.predicted == test.labels).sum()) == _right(record) else None


def _same_images(one, other, same_data):
    """Whether predictions are of the same images in the same order, by the data or, in other sizes, by the files."""
    known = same_data or (
        one.files is not None and one.folder == other.folder and np.array_equal(one.files, other.files)
    )
    return known and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("index", "labels"))


def _right(record):
    return round(record.test.accuracy * record.test.examples)


def _common_seed(a, b):
    """Summaries of the one run of each side: of the smallest seed that both have, or else of the smallest of each."""
    common = {record.seed for record in a.records} & {record.seed for record in b.records}
    chosen = [
        next(record for record in summary.records if not common or record.seed == min(common)) for summary in (a, b)
    ]
    return [summarise([record])[0] for record in chosen]


# What may not be concluded.


def _left_out(sides, left):
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


def _one_seed(a, b):
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


def _same_data(a, b):
    return a.source["sha256"] == b.source["sha256"]


def _other_data(a, b):
    if _same_data(a, b):
        return []
    return ["The pixels differ (sha256), by their size or by the images: one set may be easier than the other."]


def _other_computation(a, b):
    """A note on what else differs than settings."""
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


def _many_settings(a, b):
    changed = _changed(a.experiment, b.experiment)
    options = {**a.experiment.model_options, **b.experiment.model_options}
    goes_with = {**GOES_WITH, **dict.fromkeys(options, "model")}
    chosen = [name for name in changed if goes_with.get(name) not in changed]
    if len(chosen) < 2:
        return []
    return [f"{len(chosen)} settings differ: which of them makes the difference, this comparison cannot tell."]


def _changed(a, b):
    """{name: value of b} of the settings that differ, without those that a fitted head does not read."""
    unread = OF_TRAINING if a.is_fitted or b.is_fitted else ()
    return {name: value for name, value in changed_settings(b, a).items() if name not in unread}


# In words.


def _text(comparison):
    rows, lines = _parts(comparison)
    notes = [f"- {note}" for note in comparison.notes]
    return "\n".join([aligned(rows, right=(3,)), "", *map(printable, [*lines, "", *notes])])


def _parts(comparison):
    """The rows of a table and the sentences below it, without the notes."""
    a, b = comparison.a, comparison.b
    rows = [("", "experiment", "seeds", "test %")]
    rows += [(letter, one.experiment.name, _seeds(one), mean_and_spread(one)) for letter, one in (("a", a), ("b", b))]
    difference = f"b - a: {100 * comparison.difference:+.2f} percentage points"
    interval = f"{100 * comparison.low:+.2f} to {100 * comparison.high:+.2f}"
    difference += f", 95 % interval {interval} ({comparison.method})"
    changes = _changes(a.experiment, b.experiment)
    settings = f"settings that differ, a -> b: {changes}" if changes else "all settings are the same"
    return rows, [difference, *_pairs_text(comparison), _verdict(comparison), settings]


def _pairs_text(comparison):
    if comparison.pairs is None:
        return []
    both, only_a, only_b, neither = comparison.pairs
    p_value = f"p = {comparison.p_value:.2g}" if comparison.p_value >= 1e-6 else "p < 0.000001"
    return [
        f"of {sum(comparison.pairs):,} test images both have {both:,} right, only a {only_a:,}, only b {only_b:,}, "
        f"neither {neither:,}; McNemar's exact test: {p_value}"
    ]


def _verdict(comparison):
    if comparison.shown:
        better, other = ("b", "a") if comparison.difference > 0 else ("a", "b")
        what = f"{better} is better than {other}"
        return what if comparison.over_seeds else f"{what}, of these two networks"
    words = "no difference shown, which does not mean that they are equal"
    if comparison.needed is None:
        return words
    number = "more than a million" if comparison.needed > 1e6 else f"about {int(float(f'{comparison.needed:.2g}')):,}"
    what, unit = ("difference and spread are", "seeds of each") if comparison.over_seeds else ("it is", "test images")
    return f"{words}; if {what} as large as measured, {number} {unit} would show it four times out of five"


def _changes(a, b):
    before, after = changed_settings(a, b), _changed(a, b)
    return shorten([f"{name} {before[name]} -> {value}" for name, value in after.items()], 8)


def _seeds(summary):
    return shorten([str(record.seed) for record in summary.records], 10)
