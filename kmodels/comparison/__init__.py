"""Is one experiment better than another? Over their seeds or, with one seed each, image by image.

`sides.py` finds the runs that are compared, `numbers.py` computes the difference and its interval, `notes.py` says what
may not be concluded, `words.py` prints it. (Not in a module `compare`, which would take the place of the function
`kmodels.compare`.)
"""

from dataclasses import dataclass

from kmodels.analysis import intervals
from kmodels.comparison.notes import (
    BEST_OF_MANY,
    left_out,
    many_settings,
    one_seed,
    other_computation,
    other_data,
)
from kmodels.comparison.numbers import on_images, over_seeds
from kmodels.comparison.sides import choose_groups, common_seed, find_groups, read_side
from kmodels.comparison.words import as_table_and_lines, as_text
from kmodels.errors import InputError, require, shorten
from kmodels.notebook import Table, html
from kmodels.records.summaries import Summary


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
        return intervals.shows_difference((self.low, self.high), self.p_value)

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
        return as_text(self)

    def _repr_html_(self):
        rows, lines = as_table_and_lines(self)
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
    sides = [read_side(given, out) for given in (a, b)]
    paths = {id(record): path for side in sides for path, record in side.items()}
    candidates = [find_groups(records, letter) for records, letter in zip(sides, "ab", strict=True)]
    (a, left_a), (b, left_b) = choose_groups(candidates, paths)
    same = [record for record in a.records if record in b.records]
    require(not same, "a and b must be different runs", same[0].stem if same else None)
    names = [set(summary.records[0].class_names) for summary in (a, b)]
    if names[0] != names[1]:
        known = " and ".join(shorten(sorted(found)) for found in names)
        raise InputError(f"accuracies on different classes cannot be compared. Received: {known}")
    notes = [*left_out(sides, (left_a, left_b)), *other_data(a, b)]
    found = over_seeds(a, b) if min(len(a.records), len(b.records)) > 1 else None
    if found is None:
        notes += one_seed(a, b)
        a, b = common_seed(a, b)
        found = on_images(a, b, paths)
    notes += [*found.pop("notes", ()), *other_computation(a, b), *many_settings(a, b), BEST_OF_MANY]
    return Comparison(a=a, b=b, notes=tuple(notes), **found)
