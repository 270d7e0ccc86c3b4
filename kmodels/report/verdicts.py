"""Verdicts on claims: one for each claim, from the interval over the seeds of each comparison that it makes.

The rules, for the 95 % confidence interval over the seeds (Student's t; Welch's for a difference; Student's of paired
differences where each seed has two runs that share a network, because one starts from that of the other, or both from
one):

- A bound ("A beats B", "equal to within 1") is confirmed where the interval lies between its values, refuted where it
  lies outside, open otherwise. For "equal" this is an equivalence test: two one-sided tests (TOST) at 2.5 % each.
- A gain of about a size is confirmed where the interval lies above zero and the size is possible, refuted where it is
  a loss or the size is not possible (even if the interval lies above zero: then the direction holds and the size does
  not), and open otherwise. A report prints the difference of single runs, so a size is possible if it lies in the 95 %
  prediction interval of one further run on each side.
- A claim of several bounds is confirmed if all are. As each alone can prevent that, each is tested at the full level
  (an intersection-union test). It is refuted if any bound is, and with many bounds one is soon missed by chance, so
  what refutes is corrected by Holm's method. Claims are not corrected for the number of claims.
- With fewer than three seeds, and where a seed diverged, a bound is open. Until all planned seeds are there, a verdict
  is provisional: who stops at the first interval that decides is wrong more often than it says. What is the same for
  every seed (the number of parameters) needs one.
- Where all seeds give the same number (both experiments of a difference theirs, or all pairs the same difference) there
  is no interval, and the bound is open: runs that do not depend on the seed are one run repeated. Networks that guess
  have equal numbers by their nature: three decide where a claim counts a diverged run as guessing.

Only runs on the published images with the listed settings confirm or refute; with others a claim holds there or not.
Runs are compared if they are on the same images and differ from the listed settings in the same way, but not in a
setting that the bound is about. claim_tables.py puts verdicts into words.
"""

import math
from functools import partial
from typing import NamedTuple

from kmodels.analysis.intervals import (
    CONFIDENCE,
    expected_interval,
    holm,
    mean_difference,
    next_run_interval,
    next_run_p_value,
    t_interval,
    t_p_value,
)
from kmodels.experiment import OF_TRAINING, PLANNED_SEEDS
from kmodels.records.descriptions import backends, changed_settings, on_published_data, pixels_name, size_name
from kmodels.records.summaries import by_network, first_runs, paired_differences, parent_of
from kmodels.report.claims import Bound, Claim

CONFIRMED, REFUTED, OPEN, NOT_RUN = "confirmed", "refuted", "open", "not run"
# Fields that the words for the images cover.
OF_THE_IMAGES = ("dataset", "image_size", "subset")
# Callbacks of Keras that change nothing of a training. Any other, and all of the user's own, may.
HARMLESS_CALLBACKS = frozenset(
    ("BackupAndRestore", "CSVLogger", "History", "ModelCheckpoint", "ProgbarLogger", "RemoteMonitor", "TensorBoard")
)
# Fewer seeds decide nothing; more than the other number are not asked for by `seeds_needed`.
FEWEST_SEEDS, MOST_SEEDS = 3, 100


class Finding(NamedTuple):
    """The outcome of a bound on one set of images.

    Attributes:
        bound: a Bound; its `published` is what the report prints.
        seeds: how many runs have the number; of two experiments the smaller number.
        diverged: how many further runs diverged.
        value: the mean, or the difference of means; None where all runs of an experiment diverged.
        low, high: the confidence interval; None where there is none.
        outcome: CONFIRMED, REFUTED or OPEN.
        seeds_needed: where it is open, the smallest number of seeds (of each experiment) whose interval would decide,
            if mean and spread are as measured; math.inf: more than MOST_SEEDS; None where that cannot be said: with
            one seed, where a seed diverged, or where the number is at the edge of the bound.
        p: two-sided p-value against the nearest limit of the bound; 1 if the estimate is inside. The limits of a gain
            are those of its size, for one further run; for a loss it is twice the smaller of this p-value and that
            against zero. None where the bound is confirmed or cannot be judged.
        paired: whether the interval is that of differences seed by seed.
        backends: how many runs are of which, in words; for a difference one text for each experiment.
    """

    bound: Bound
    seeds: int
    diverged: int
    value: float | None
    low: float | None
    high: float | None
    outcome: str
    seeds_needed: float | None = None
    p: float | None = None
    paired: bool = False
    backends: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """The outcome of a claim.

    Attributes:
        claim: a Claim.
        outcome: CONFIRMED, REFUTED, OPEN or NOT_RUN. REFUTED where one finding is, CONFIRMED where all bounds are.
        findings: one for each bound that was measured.
        images: in words, with the settings that differ from the listed ones; "" where nothing was run.
        as_published: whether the images are those of the report, and all settings as listed.
        elsewhere: Verdicts on other images or with other settings, which neither confirm nor refute.
    """

    claim: Claim
    outcome: str
    findings: tuple[Finding, ...] = ()
    images: str = ""
    as_published: bool = True
    elsewhere: tuple = ()

    @property
    def seeds(self):
        """Of the findings, the smallest number of seeds."""
        return min((finding.seeds for finding in self.findings), default=0)

    @property
    def provisional_seeds(self):
        """How many seeds it is confirmed or refuted with, if these are not all that are planned; else None.

        Confirmed it is by all findings, and refuted by any.
        """
        deciding = [finding for finding in self.findings if finding.outcome == self.outcome != OPEN]
        seeds = [len(PLANNED_SEEDS) if finding.bound.measure.exact else finding.seeds for finding in deciding]
        decided = (min if self.outcome == CONFIRMED else max)(seeds, default=len(PLANNED_SEEDS))
        return decided if decided < len(PLANNED_SEEDS) else None

    @property
    def seeds_needed(self):
        """Of its open findings, the largest number, as in Finding; None also where a bound was not measured."""
        needed = [finding.seeds_needed for finding in self.findings if finding.outcome == OPEN]
        missing = len(self.findings) < len(self.claim.bounds)
        return None if missing or not needed or None in needed else max(needed)


def judge(claims, records):
    """Judges claims by records.

    Args:
        claims: Claims.
        records: Records, of any experiments.

    Returns:
        A Verdict for each claim, in the same order.
    """
    listed = {one.name: one for claim in claims for bound in claim.bounds for one in bound.sides}
    settings = _all_by_setting(records, listed)
    return [_verdict(claim, settings) for claim in claims]


class Counts(NamedTuple):
    """How many claims have each outcome."""

    confirmed: int
    refuted: int
    open: int
    not_run: int


def count(verdicts):
    """The Counts of Verdicts; what holds elsewhere does not count."""
    outcomes = [verdict.outcome for verdict in verdicts]
    return Counts(*map(outcomes.count, (CONFIRMED, REFUTED, OPEN, NOT_RUN)))


def count_provisional(verdicts):
    """The Counts of those Verdicts that are provisional."""
    return count(verdict for verdict in verdicts if verdict.provisional_seeds)


def _verdict(claim, settings):
    found = []
    for setting, runs in settings.items():
        findings = [finding for bound in claim.bounds if (finding := _finding(bound, runs, len(claim.bounds)))]
        if findings:
            findings = _corrected(findings, len(claim.bounds))
            outcome = _together([finding.outcome for finding in findings], len(claim.bounds))
            found.append((setting, Verdict(claim, outcome, findings, setting.words, setting.as_published)))
    proper = [one for one in found if one[0].as_published]
    # The published images can be a copy of which some are missing: what has more runs counts, whatever it says.
    proper.sort(key=lambda one: (len(one[1].findings), one[1].seeds, -one[0].missing), reverse=True)
    rest = [verdict._replace(as_published=False) for _, verdict in proper[1:]]
    rest += [verdict for setting, verdict in found if not setting.as_published]
    return (proper[0][1] if proper else Verdict(claim, NOT_RUN))._replace(elsewhere=tuple(rest))


def _corrected(findings, bounds):
    """Findings that Holm's method leaves refuted, all others that are not confirmed being open."""
    p_values = [1.0 if finding.p is None else finding.p for finding in findings]
    # Bounds that were not run count as well: how strictly one is judged does not depend on which were.
    adjusted = holm(p_values + [1.0] * (bounds - len(findings)))
    return tuple(
        finding._replace(outcome=REFUTED, seeds_needed=None)
        if finding.outcome == OPEN and p < 1 - CONFIDENCE
        else finding
        for finding, p in zip(findings, adjusted, strict=False)
    )


def _together(outcomes, bounds):
    if REFUTED in outcomes:
        return REFUTED
    return CONFIRMED if outcomes == [CONFIRMED] * bounds else OPEN


class Setting(NamedTuple):
    """What runs must have in common to be compared; the checksum distinguishes images with the same name.

    Attributes:
        words: images and changed settings.
        as_published: whether the images are those of the report, and all settings as listed.
        sha256: of the images.
        missing: how many of the published images are missing.
        code_sha256: of the source of the user's own functions, by name.
    """

    words: str
    as_published: bool
    sha256: str
    missing: int
    code_sha256: tuple


def runs_by_setting(records, listed):
    """Runs that can be compared; of a seed's runs the first completed one, or else the first diverged one.

    All backends compute the same, and a repeat on another one changes no number. Experiments with equal settings share
    their runs.

    Args:
        records: Records; those of other experiments, and those neither completed nor diverged, are left out.
        listed: {experiment name: Experiment as the report lists it}.

    Returns:
        {Setting: {experiment name: [Record]}}.
    """
    return {
        setting: {name: first_runs(runs) for name, runs in by_name.items()}
        for setting, by_name in _all_by_setting(records, listed).items()
    }


def _all_by_setting(records, listed):
    """As `runs_by_setting`, with all runs of a seed."""
    records = [record for record in records if record.status in ("completed", "diverged")]
    networks, found, equal = by_network(records), {}, {}
    for name, one in listed.items():
        equal.setdefault(one.fingerprint, []).append(name)
    for record in sorted(records, key=lambda record: (record.status != "completed", record.started), reverse=True):
        as_listed = listed.get(record.experiment.name, record.experiment)
        for name in equal.get(as_listed.fingerprint, ()):
            setting = setting_of(record, listed, networks)
            found.setdefault(setting, {}).setdefault(name, []).append(record)
    return found


def setting_of(record, listed, networks):
    """The Setting of a run.

    Args:
        record: a Record.
        listed: {experiment name: Experiment as its report lists it}.
        networks: as `by_network` returns, for runs that start from one.
    """
    images = _images(record)
    changes, as_listed = _changes(record, listed, networks)
    precision = [] if record.precision == "float32" else [record.precision]
    words = ", ".join([images, *precision, *changes])
    missing = sum(record.source.get("missing", {}).values())
    code = tuple(sorted((record.code_sha256 or {}).items()))
    return Setting(words, as_listed, record.source["sha256"], missing, code)


def _images(record):
    return f"{pixels_name(record.source)}, {size_name(record.image_shape)}"


def _changes(record, listed, networks):
    """How a run, and the runs whose network it started from, differ from the listed settings.

    So a head is compared with the network that its features come from.

    Returns:
        ["epochs=8"], without what the words for the images cover; and whether nothing differs.
    """
    experiment, changes = record.experiment, []
    wanted = listed.get(experiment.name, experiment)
    same_images = on_published_data(record.source) and all(
        getattr(experiment, name) == getattr(wanted, name) for name in OF_THE_IMAGES
    )
    if record.started_from:
        parent = parent_of(record, networks)
        if parent is None:
            changes, same_images = ["from a network without a record"], False
        else:
            inherited, as_listed = _changes(parent, listed, networks)
            same_images = same_images and as_listed
            elsewhere = [f"on {_images(parent)}"] if _images(parent) != _images(record) else []
            changes = _from(parent, inherited, elsewhere, experiment.head)
    # What a run computed in is told by itself, whatever it was that asked for it.
    unread = (*OF_THE_IMAGES, "precision", *(OF_TRAINING if experiment.is_fitted else ()))
    changed = changed_settings(experiment, wanted)
    changes += [f"{name}={value}" for name, value in changed.items() if name not in unread]
    changes += [f"with {name}" for name in record.callbacks if name not in HARMLESS_CALLBACKS]
    changes = list(dict.fromkeys(changes))
    return changes, same_images and not changes


def _from(parent, inherited, elsewhere, head):
    """The changes that a run has from the network it started from. Those of a head's network are its own."""
    name = parent.experiment.name
    if head or not inherited:
        return [*inherited, *(f"from {name} {where}" for where in elsewhere)]
    return [f"from {name} ({', '.join([*inherited, *elsewhere])})"]


def _finding(bound, runs, bounds):
    """The Finding of a bound, before it is corrected for the number of bounds.

    Args:
        bound: a Bound.
        runs: {experiment name: [Record]} of one setting, all of each seed.
        bounds: how many the claim has.

    Returns:
        None where an experiment was not run, or not in a way that the bound can be judged.
    """
    sides = [runs.get(name) for name in bound.names]
    if not all(sides) or not _tells(bound, [side[0].experiment for side in sides]):
        return None
    first = [first_runs(side) for side in sides]
    counted = [[record for record in side if _has_number(bound, record)] for side in first]
    measured = [[_number(bound.measure, record) for record in side] for side in counted]
    if any(number is None for side in measured for number in side):
        return None
    diverged = sum(map(len, first)) - sum(map(len, counted))
    certain = bound.measure.exact or _only_guesses(bound.measure, counted)
    differences = [] if certain else _paired(bound, sides)
    measured = [differences] if differences else measured
    finding = Finding(
        bound=bound,
        seeds=min(map(len, measured)),
        diverged=diverged,
        value=None,
        low=None,
        high=None,
        outcome=OPEN,
        paired=bool(differences),
        backends=tuple(map(backends, first)),
    )
    if not all(measured):
        return finding
    value = mean_difference(measured)
    low, high = (value, value) if certain else t_interval(measured)
    finding = finding._replace(value=value, low=low, high=high)
    if low is None or diverged:
        return finding
    edge = bound.edge(value)
    if certain:
        shown = bound.holds(low, high)
        return finding._replace(outcome=CONFIRMED) if shown else finding._replace(p=float(edge is None))
    if finding.seeds >= FEWEST_SEEDS and bound.holds(low, high, next_run_interval(measured)):
        return finding._replace(outcome=CONFIRMED)
    finding = finding._replace(seeds_needed=_seeds_needed(bound, measured, bounds))
    if finding.seeds < FEWEST_SEEDS:
        return finding
    return finding._replace(p=_p_value(bound, measured, value, edge))


def _only_guesses(measure, sides):
    """Whether all runs guess: then the numbers are equal by their nature, and not because nothing was random."""
    if measure.of_diverged is None or min(map(len, sides)) < FEWEST_SEEDS:
        return False
    runs = [record for side in sides for record in side]
    return all(math.isclose(_number(measure, record), measure.of_diverged(record)) for record in runs)


def _paired(bound, sides):
    """The `paired_differences` of all runs that have the number; [] where there are no pairs."""
    if not bound.over:
        return []
    number = partial(_number, bound.measure)
    return paired_differences(
        *([r for r in side if _has_number(bound, r) and number(r) is not None] for side in sides), number
    )


def _p_value(bound, numbers, value, edge):
    """As in Finding."""
    if not bound.gain:
        return 1.0 if edge is None else t_p_value(numbers, edge)
    of_size = 1.0 if edge is None else next_run_p_value(numbers, edge)
    # A loss, or another size: two ways to be wrong.
    return min(1.0, 2 * min(of_size, t_p_value(numbers, 0))) if value < 0 else of_size


def _has_number(bound, record):
    return record.status == "completed" or bound.measure.of_diverged is not None


def _number(measure, record):
    return measure.of(record) if record.status == "completed" else measure.of_diverged(record)


def _seeds_needed(bound, numbers, bounds):
    """As in Finding. What would refute one of several bounds is corrected by their number (Bonferroni's method)."""
    value = mean_difference(numbers)
    if not (bound.holds(value, value) or bound.fails(value, value)):
        return None
    strict = 1 - (1 - CONFIDENCE) / bounds
    for seeds in range(max(min(map(len, numbers)) + 1, FEWEST_SEEDS), MOST_SEEDS + 1):
        shown, missed = (
            judged(
                *expected_interval(numbers, seeds, confidence),
                expected_interval(numbers, seeds, confidence, further=True),
            )
            for judged, confidence in ((bound.holds, CONFIDENCE), (bound.fails, strict))
        )
        if shown or missed:
            return seeds
    return math.inf


def _tells(bound, run):
    """Whether experiments as run differ in the settings that the bound compares, and have what its measure needs."""
    if any(
        getattr(one, name) != getattr(as_run, name)
        for name in bound.measure.needs
        for one, as_run in zip(bound.sides, run, strict=True)
    ):
        return False
    if not bound.over:
        return True
    return changed_settings(bound.of, bound.over).keys() <= changed_settings(*run).keys()
