"""A plan of measurements: which runs are not recorded yet, in which order, and which cannot be done here, and why.

The order is by evidence per minute:

1. Open claims that the planned seeds are expected to decide. The claim with the lowest cost to a decision comes first:
   the time of all runs for the further seeds that its verdict needs, three seeds in all at least. All experiments that
   the claim compares get one seed before any gets the next.
2. Open claims that the planned seeds are not expected to decide, by the time of their remaining runs.
3. The remaining seeds of the claims of 1.
4. Those of claims whose verdict is provisional.
5. Experiments with published numbers, then the rest. The cheapest comes first, and seeds come evenly.

A run is recorded if there is a record of it on the same images, with the same settings and precision, from any device
and backend: all backends compute the same.
"""

import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import NamedTuple

import keras

from kmodels.backend import device_name
from kmodels.data.downloads import without_downloads
from kmodels.data.here import check_here, data_dir_of
from kmodels.descriptions import changed_settings, on_published_data
from kmodels.errors import InputError
from kmodels.estimates import Data, Estimate, Estimator, measured_speed
from kmodels.experiment import OF_TRAINING, Experiment, Published
from kmodels.records import read_records
from kmodels.report.verdicts import CONFIRMED, FEWEST_SEEDS, REFUTED, judge
from kmodels.training.job import open_dataset, reduced
from kmodels.training.precision import resolve

# A run that takes longer than this, in hours, is not for this device; where no other limit is given.
LONGEST = 2.0
# What keeps a run from being done here.
MISSING, SLOW, BROKEN_RUN = "data", "slow", "failed"
PUBLISHED, REST = "published numbers", "the rest"


@dataclass(frozen=True)
class Run:
    """A run of the plan.

    Attributes:
        experiment, seed: what is run.
        why: the claim that needs it, PUBLISHED or REST.
        estimate: an Estimate; None where nothing tells how long it takes.
        data_dir: of its dataset.
        again: whether it is recorded, but its network is not here and another run starts from it.
        begun: whether an interrupted run is resumed.
    """

    experiment: Experiment
    seed: int
    why: str
    estimate: Estimate | None
    data_dir: Path | None
    again: bool
    begun: bool

    @property
    def seconds(self):
        """The estimate; 0 where there is none."""
        return self.estimate.seconds if self.estimate else 0.0


class Obstacle(NamedTuple):
    """Why a run cannot be done here: a kind (MISSING, SLOW or BROKEN_RUN), and in words."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        runs: Runs in their order, each after the one whose network it starts from.
        waiting: {(Experiment, seed): Obstacle} of what is not recorded and cannot be done here.
    """

    runs: tuple[Run, ...]
    waiting: dict


class Planner:
    """Makes plans, again after every run: with each record, claims need less and estimates are better.

    Args:
        experiments: Experiments to be measured.
        claims: Claims about them.
        seeds: how many and which seeds each is to have.
        out: the results folder; it need not exist.
        data_dir: a folder with the data of several datasets, or of one, see `data_dir_of`.
        skip_unreadable: as in `load_dataset`.
        longest: in hours: longer runs are not done.
        others: further Experiments, whose networks these may start from.
        measure: whether to measure the speed of networks that no record tells of.

    Example:
        planner = Planner(EXPERIMENTS, CLAIMS, seeds=range(5), data_dir="data")
        print(planner.plan().runs[0])
    """

    def __init__(
        self,
        experiments,
        claims,
        seeds,
        out="results",
        data_dir=None,
        *,
        skip_unreadable=False,
        longest=LONGEST,
        others=(),
        measure=True,
    ):
        self.wanted, self.claims, self.seeds, self.out = tuple(experiments), tuple(claims), tuple(seeds), Path(out)
        self.by_name = {one.name: one for one in (*others, *experiments)}
        self.refresh()
        self._data_dir, self._skip, self.longest = data_dir, skip_unreadable, longest
        self.device, self.backend = device_name(), keras.backend.backend()
        self._measure = measured_speed(self.device, self.backend) if measure else None
        self._opened, self._data = {}, {}

    def plan(self, without=()):
        """The Plan as things are now.

        Args:
            without: {(name of an experiment, seed)} that are not to be tried, because they were and failed.
        """
        return _Making(self, set(without)).plan()

    def add(self, record):
        """Takes the record of a run into account that has ended, and those that other processes wrote meanwhile."""
        self.refresh()
        if record.stem not in {known.stem for known in self.records}:
            self.records.append(record)

    def refresh(self):
        """Reads the records again: other processes may have written some."""
        self.records = list(read_records(self.out).values()) if self.out.is_dir() else []

    def data_dir(self, experiment):
        """The `data_dir` of the dataset of an experiment; None where there is none, or none is needed."""
        return data_dir_of(experiment.dataset, self._data_dir)

    def dataset(self, experiment):
        """The whole Dataset of an experiment; raises InputError where it is not on this machine."""
        key = (experiment.dataset, experiment.image_size, experiment.group_by)
        if key not in self._opened:
            data_dir = self.data_dir(experiment)
            try:
                check_here(experiment.dataset, data_dir)
                with without_downloads():
                    self._opened[key] = open_dataset(experiment, data_dir, self._skip)
            except InputError as error:
                self._opened[key] = error
        if isinstance(self._opened[key], InputError):
            raise self._opened[key]
        return self._opened[key]

    def data(self, experiment):
        """The Data that an experiment trains on; raises as `dataset`."""
        key = experiment.fingerprint
        if key not in self._data:
            dataset = reduced(self.dataset(experiment), experiment, self.seeds[0])
            self._data[key] = Data(len(dataset.train), dataset.image_shape, len(dataset.class_names))
        return self._data[key]

    def counts(self, record, experiment):
        """Whether a record is of an experiment as it is here: completed or diverged, on the same images and settings.

        Where the data are not here, those on the published images count.
        """
        if record.status not in ("completed", "diverged") or record.experiment.name != experiment.name:
            return False
        ignored = {"precision", *(OF_TRAINING if experiment.is_fitted else ())}
        if changed_settings(record.experiment, experiment).keys() - ignored:
            return False
        precision = "float32" if experiment.head else resolve(experiment.precision)
        return record.precision == precision and self._same_images(record, experiment)

    def _same_images(self, record, experiment):
        try:
            return record.source["sha256"] == self.dataset(experiment).source["sha256"]
        except InputError:
            return on_published_data(record.source)

    def estimate(self, experiment, device=None, backend=None):
        """The Estimate of a run here, or of one on another device, of which only records tell; None where none does."""
        try:
            data = self.data(experiment)
        except InputError:
            return None
        if device:
            return Estimator(self.records, device, backend)(experiment, data)
        return Estimator(self.records, self.device, self.backend, self._measure)(experiment, data)

    def network(self, name, seed):
        """The network of an experiment that others start from, with a record that counts; None where it is not here."""
        for record in self.records:
            file = self.out / f"{record.stem}.keras"
            if record.seed == seed and self.counts(record, self.by_name[name]) and file.is_file():
                return file
        return None

    def begun(self, experiment, seed):
        """Whether a run was interrupted here that can be resumed."""
        pattern = f"{self.backend}*-{experiment.fingerprint}-*seed{seed}.checkpoint*"
        return any((self.out / experiment.name).glob(pattern))


class _Making:
    """One plan in the making: nothing changes meanwhile, so that what was found once is not looked for again."""

    def __init__(self, planner, without):
        self._planner, self._without, self._taken = planner, without, {}
        self._done = {
            (record.experiment.name, record.seed): record
            for record in planner.records
            if record.experiment.name in planner.by_name
            and planner.counts(record, planner.by_name[record.experiment.name])
        }
        # Each may be asked for a thousand times.
        self.estimate, self.obstacle, self.chain = cache(self._estimate), cache(self._obstacle), cache(self._chain)

    def plan(self):
        planner = self._planner
        todo = [(one, seed) for seed in planner.seeds for one in planner.wanted if (one.name, seed) not in self._done]
        waiting = {(one, seed): why for one, seed in todo if (why := self.obstacle(one.name, seed))}
        able = [(one.name, seed) for one, seed in todo if (one, seed) not in waiting]
        self._take_begun(able)
        self._take_for_claims(set(able))
        for why, group in ((PUBLISHED, True), (REST, False)):
            for seed in planner.seeds:
                runs = [key for key in able if key[1] == seed and _has_numbers(planner.by_name[key[0]]) == group]
                self._take(runs, why)
        return Plan(tuple(self._taken.values()), waiting)

    def _take_begun(self, able):
        begun = [key for key in able if self._planner.begun(self._planner.by_name[key[0]], key[1])]
        self._take(begun, "interrupted")

    def _take_for_claims(self, able):
        """Adds the runs for claims: again and again those of the next seed of the claim that `_rank` puts first."""
        planner = self._planner
        needs = claim_needs(planner.claims, list(self._done.values()), len(planner.seeds))
        waiting = [(need, rounds) for need in needs if (rounds := self._rounds(need.bounds, able))]
        while waiting:
            first, rounds = min(waiting, key=lambda one: self._rank(*one))
            self._take(rounds[0], first.says)
            for need, rounds in waiting:
                # Another claim may have needed the same runs.
                while rounds and not self._untaken(rounds[0]):
                    rounds.pop(0)
                    need.seeds = need.seeds and need.seeds - 1
            waiting = [(need, rounds) for need, rounds in waiting if rounds]

    def _rank(self, need, rounds):
        """(number in the module's docstring, seconds) of a claim; the smallest comes first."""
        number = 4 if need.decided else 2 if need.seeds is None else 1 if need.seeds else 3
        runs = [run for round_ in (rounds[: need.seeds] if number == 1 else rounds) for run in round_]
        return number, sum(self.estimate(name).seconds for name, _ in self._untaken(runs))

    def _rounds(self, bounds, able):
        """The runs that are lacking of bounds that can be measured here, seed by seed, for those that lack any."""
        rounds = []
        for seed in self._planner.seeds:
            runs = []
            for bound in bounds:
                keys = [(name, seed) for name in bound.names]
                # What is the same for every seed needs one.
                needed = not bound.measure.exact or seed == self._planner.seeds[0]
                if needed and all(key in able or key in self._done for key in keys):
                    runs += [key for key in keys if key in able]
            rounds.append(list(dict.fromkeys(runs)))
        return [runs for runs in rounds if runs]

    def _untaken(self, keys):
        """The runs that these still cost, with those whose networks they start from."""
        return list(dict.fromkeys(run for key in keys for run in self.chain(*key) if run not in self._taken))

    def _take(self, keys, why):
        """Adds runs to the plan, the cheapest first, each after those whose networks it starts from."""
        for key in sorted(keys, key=lambda key: sum(self.estimate(name).seconds for name, _ in self.chain(*key))):
            for name, seed in self._untaken([key]):
                planner, experiment = self._planner, self._planner.by_name[name]
                self._taken[name, seed] = Run(
                    experiment=experiment,
                    seed=seed,
                    why=why,
                    estimate=self.estimate(name),
                    data_dir=planner.data_dir(experiment),
                    again=(name, seed) in self._done,
                    begun=planner.begun(experiment, seed),
                )

    def _chain(self, name, seed):
        """The run, after the runs that make the networks which it starts from, as far as they are not here."""
        parent = self._planner.by_name[name].init_from
        if parent is None or parent.endswith(".keras") or self._planner.network(parent, seed):
            return ((name, seed),)
        return (*self.chain(parent, seed), (name, seed))

    def _estimate(self, name):
        return self._planner.estimate(self._planner.by_name[name]) or Estimate(0.0, "unknown")

    def _obstacle(self, name, seed):
        """The Obstacle of a run, or of what it starts from; None."""
        planner, experiment = self._planner, self._planner.by_name[name]
        if (name, seed) in self._without:
            return Obstacle(BROKEN_RUN, "failed just now")
        try:
            planner.dataset(experiment)
            planner.data(experiment)
        except InputError as error:
            return Obstacle(MISSING, str(error))
        if lacking := lacking_weights(experiment):
            return Obstacle(MISSING, lacking)
        if failed := self._failed(experiment, seed):
            return Obstacle(BROKEN_RUN, failed)
        if lacking := self._lacking_parent(experiment, seed):
            return lacking
        seconds = self.estimate(name).seconds
        if seconds > 3600 * planner.longest:
            return Obstacle(SLOW, f"a run takes more than {planner.longest:g} h on {planner.device}")
        return None

    def _lacking_parent(self, experiment, seed):
        parent = experiment.init_from
        if parent is None or parent.endswith(".keras"):
            there = parent is None or Path(parent).is_file()
            return None if there else Obstacle(MISSING, f"init_from: there is no file {Path(parent).name}")
        if parent not in self._planner.by_name:
            return Obstacle(MISSING, f"it starts from {parent}, which is no experiment here")
        if self._planner.network(parent, seed):
            return None
        record = self._done.get((parent, seed))
        if record and record.status == "diverged":
            return Obstacle(BROKEN_RUN, f"it starts from {parent}, which diverged")
        obstacle = self.obstacle(parent, seed)
        return obstacle and Obstacle(obstacle.kind, f"it starts from {parent}: {obstacle.reason}")

    def _failed(self, experiment, seed):
        """What a run here failed on before, with the record that says so; None."""
        planner = self._planner
        for record in planner.records:
            here = (record.device, record.backend) == (planner.device, planner.backend)
            same = record.experiment.fingerprint == experiment.fingerprint and record.seed == seed
            if record.status == "failed" and here and same and record.experiment.name == experiment.name:
                return f"it failed here: {record.error}; to try it again, remove {record.stem}.json"
        return None


@dataclass
class Need:
    """What a claim still needs runs for.

    Attributes:
        says: the claim.
        bounds: what is to be measured: those that are not confirmed, or those that a provisional verdict rests on.
        seeds: how many further ones are expected to decide it; None: more than are planned.
        decided: whether its verdict is provisional.
    """

    says: str
    bounds: list
    seeds: int | None
    decided: bool = False


def claim_needs(claims, records, planned):
    """The Needs of claims, without those whose verdict is final.

    Args:
        claims: Claims.
        records: Records, on one set of images for each experiment.
        planned: how many seeds each experiment is to have.
    """
    found = []
    for claim, verdict in zip(claims, judge(claims, records), strict=True):
        # On other images than the published ones a claim holds there, or not.
        verdicts = (verdict, *verdict.elsewhere)
        decided = [one for one in verdicts if one.outcome in (CONFIRMED, REFUTED)]
        if not decided:
            shown = [finding.bound for one in verdicts for finding in one.findings if finding.outcome == CONFIRMED]
            bounds = [bound for bound in claim.bounds if bound not in shown]
            findings = {finding.bound: finding for one in verdicts for finding in one.findings}
            found.append(Need(claim.says, bounds, _seeds_left(bounds, findings, planned)))
        elif decided[0].provisional_seeds:
            bounds = [finding.bound for finding in decided[0].findings if finding.outcome == decided[0].outcome]
            found.append(Need(claim.says, bounds, 0, decided=True))
    return found


def _seeds_left(bounds, findings, planned):
    """How many further seeds are expected to decide bounds; None where the planned ones are not.

    Args:
        bounds: that are open.
        findings: {bound: Finding}, without those that were not measured.
        planned: how many seeds there are to be.
    """
    left = 0
    for bound in bounds:
        finding, needed = findings.get(bound), 1 if bound.measure.exact else FEWEST_SEEDS
        if finding and (finding.diverged or (finding.seeds >= needed and finding.seeds_needed is None)):
            return None
        # What cannot be said with fewer seeds is taken to be decided by the fewest.
        needed = max(needed, finding.seeds_needed or 0) if finding else needed
        if needed > planned:
            return None
        left = max(left, needed - (finding.seeds if finding else 0))
    return left


def lacking_weights(experiment):
    """Which published weights an experiment starts from that are not on this machine, in words; None."""
    weights = experiment.model_options.get("weights")
    if weights is None:
        return None
    if weights != "imagenet":
        return None if Path(weights).is_file() else f"there is no file {Path(weights).name} with weights"
    if experiment.model == "resnet50":
        from kmodels.models.resnet import KERAS_FILE

        folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
        if not (folder / "models" / KERAS_FILE).is_file():
            return f"ImageNet weights of resnet50 are not on this machine ({KERAS_FILE}, 94 MB, downloaded by Keras)"
    if experiment.model == "efficientnet_lite0":
        from kmodels.models.efficientnet import packaged

        try:
            packaged()
        except InputError as error:
            return str(error)
    return None


def _has_numbers(experiment):
    """Whether the report printed a result of the experiment."""
    published = experiment.published
    measured = [item.name for item in fields(Published) if item.name != "epochs"]
    return published is not None and any(getattr(published, name) is not None for name in measured)
