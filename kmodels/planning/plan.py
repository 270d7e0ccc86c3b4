"""A plan of measurements: which runs are not recorded yet, in which order, and which cannot be done here, and why.

Interrupted runs come first, the cheapest before the others, and are resumed. The rest is in the order of evidence per
minute:

1. Open claims that the planned seeds are expected to decide. The claim with the lowest cost to a decision comes first:
   the time of all runs for the further seeds that its verdict needs, three seeds in all at least. All experiments that
   the claim compares get one seed before any gets the next.
2. Open claims that the planned seeds are not expected to decide, by the time of their remaining runs.
3. The remaining seeds of the claims of 1.
4. Those of claims whose verdict is provisional.
5. Experiments with published numbers, then the rest. The cheapest comes first, and seeds come evenly.
"""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import NamedTuple

from kmodels.experiment import Experiment, Published
from kmodels.planning.estimates import Estimate
from kmodels.report.verdicts import CONFIRMED, FEWEST_SEEDS, REFUTED, judge

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


class PlanBuilder:
    """Makes one plan. Nothing changes meanwhile, so that what was found once is not looked for again."""

    def __init__(self, planner, without):
        self._planner, self._without, self._taken = planner, without, {}
        self._done, self._counted = {}, []
        for record in planner.records:
            names = [name for name, experiment in planner.by_name.items() if planner.counts(record, experiment)]
            self._done |= {(name, record.seed): record for name in names}
            self._counted += [record] * bool(names)
        # Of experiments with equal settings the first one is run.
        firsts = {}
        self._first = {one.name: firsts.setdefault(one.fingerprint, one.name) for one in planner.wanted}
        # Each may be asked for a thousand times.
        self.estimate, self.obstacle, self.chain = cache(self._estimate), cache(self._obstacle), cache(self._chain)

    def plan(self):
        planner = self._planner
        wanted = [one for one in planner.wanted if self._first[one.name] == one.name]
        todo = [(one, seed) for seed in planner.seeds for one in wanted if (one.name, seed) not in self._done]
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
        needs = claim_needs(planner.claims, self._counted, len(planner.seeds))
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
                keys = [(self._first.get(name, name), seed) for name in bound.names]
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
        if missing := planner.missing(experiment):
            return Obstacle(MISSING, missing)
        if failed := planner.failed(experiment, seed):
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


def _has_numbers(experiment):
    """Whether the report printed a result of the experiment."""
    published = experiment.published
    measured = [item.name for item in fields(Published) if item.name not in ("epochs", "same_images")]
    return published is not None and any(getattr(published, name) is not None for name in measured)
