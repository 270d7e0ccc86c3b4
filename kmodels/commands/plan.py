"""`--plan`: shows a plan of measurements, does it for some hours, writes PENDING.md.

Several processes, on machines that share the results folder too, may do one plan: each takes what no other is at, and
waits while others are at all that is left: they may fail, or train a network that a further run starts from.
"""

import contextlib
import sys
import time

from kmodels.errors import describe_error, require, require_hours, require_seeds, shorten
from kmodels.interrupts import time_limit
from kmodels.locks import FileLock, Timeout
from kmodels.planning.planner import LONGEST, Planner
from kmodels.records import with_published
from kmodels.report.pending import write_pending
from kmodels.report.tables import published_against_measured
from kmodels.text import aligned, clip, counted, duration
from kmodels.training.sweeps import failures, sweep

# Columns of a terminal for why a run is in the plan.
WHY = 60
# Seconds between two looks at what other processes have done: a plan takes about one.
WAIT = 20.0


def run_plan(arguments, selected, experiments, claims, changed):
    """Does what the flags of a plan ask for.

    Args:
        arguments: of the class that `script.arguments_class` returns.
        selected: the Experiments that are planned.
        experiments: all Experiments of the command, whose networks those may start from.
        claims: Claims.
        changed: whether settings were given on the command line.

    Returns:
        The exit status: 1 where a run failed, 0 also where time ended before the plan did; and whether anything was
        run.

    Raises:
        InputError: for flags that do not go together.
    """
    _check(arguments, changed)
    # The quickstart belongs to who runs it.
    selected = [one for one in selected if not one.name.startswith("quickstart/")] or selected
    planner = Planner(
        selected,
        claims,
        arguments.seeds,
        arguments.out,
        arguments.data_dir,
        skip_unreadable=arguments.skip_unreadable,
        # A run may be spread over several commands.
        longest=max(LONGEST, arguments.hours or 0),
        others=experiments,
    )
    if arguments.hours is None:
        plan = planner.plan()
        print(_text(plan))
        outcomes = []
    else:
        outcomes = _do(planner, arguments, experiments)
    if arguments.pending:
        print(f"\n{write_pending(planner)}")
    return int(any(outcome.error for outcome in outcomes)), bool(outcomes)


def _check(arguments, changed):
    hours = arguments.hours
    require(arguments.plan, "--hours and --pending need --plan", {"hours": hours, "pending": arguments.pending})
    require_hours("--hours", hours)
    require_seeds("--seeds", arguments.seeds)
    rule = "with --plan, --hours says how long; leave --max-hours out"
    require(arguments.max_hours is None, rule, arguments.max_hours)
    require(not arguments.again, "--again must be left out with --plan: it plans what is not recorded", True)
    require(arguments.split == "batch", "--split must be 'batch' with --plan", arguments.split)
    listed = not arguments.pending or not (changed or arguments.names)
    require(listed, "--pending is about all experiments as listed; leave names and settings out", arguments.names)


def _do(planner, arguments, experiments):
    """Does the runs of the plan, which is made again after each of them, until time is up; returns Outcomes.

    At the end it prints what was measured beside the numbers of these experiments, as the reports list them.
    """
    outcomes, tried, waiting = [], set(), False
    options = {name: getattr(arguments, name) for name in ("skip_unreadable", "devices", "track")}
    try:
        with time_limit(arguments.hours):
            while runs := [run for run in planner.plan(tried).runs if (run.experiment.name, run.seed) not in tried]:
                with _free(runs, planner.out) as (run, taken):
                    if run:
                        print(f"\n{_progress(runs, run)}", flush=True)
                        outcome = _run(run, planner, options)
                if run is None:
                    if not waiting:
                        print(f"\nwaiting for {counted(taken, 'run')} of other processes", flush=True)
                    waiting = True
                    time.sleep(WAIT)
                    planner.refresh()
                    continue
                waiting = False
                outcomes.append(outcome)
                # Whatever came of it: a run that did not count would be planned for ever.
                tried.add((outcome.experiment.name, outcome.seed))
                if outcome.record:
                    planner.add(outcome.record)
            print("\nnothing more of the plan can be done here")
    finally:
        # Also where it is interrupted.
        if records := [outcome.record for outcome in outcomes if outcome.record]:
            records = with_published(records, planner.by_name.values())
            print(f"\n{published_against_measured(records, experiments, planner.out)}")
        for line in failures(outcomes):
            print(f"error: {line}", file=sys.stderr)
    return outcomes


@contextlib.contextmanager
def _free(runs, out):
    """A context with the first of the Runs that no other process is at, or None; no other takes it meanwhile.

    And with how many Runs before it others are at: more than none where it is None.
    """
    taken = 0
    planned = {(run.experiment.name, run.seed) for run in runs}
    for run in runs:
        # The process that trains the network which it starts from may do it next.
        if (run.experiment.init_from, run.seed) in planned:
            continue
        path = out / run.experiment.name / f"seed{run.seed}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            taken += 1
            continue
        try:
            yield run, taken
        finally:
            # The file stays: a process that has it open and one that makes it again would both get a lock.
            lock.release()
        return
    yield None, taken


def _run(run, planner, options):
    """The Outcome of a Run."""
    parent = run.experiment.init_from
    parents = {}
    if parent in planner.by_name and (network := planner.network(parent, run.seed)):
        parents[parent, run.seed] = network
    (outcome,) = sweep(
        [run.experiment],
        [run.seed],
        planner.out,
        data_dir=run.data_dir,
        again=run.again,
        resume=True,
        parents=parents,
        **options,
    )
    if outcome.error:
        print(f"{run.experiment.name}, seed {run.seed} failed: {describe_error(outcome.error)}", flush=True)
    return outcome


def _progress(runs, now):
    seconds = sum(run.seconds for run in runs)
    return (
        f"plan: {len(runs)} runs, about {duration(seconds)}; now {now.experiment.name}, seed {now.seed}, about "
        f"{duration(now.seconds)}, {'resumed' if now.begun else now.why}"
    )


def _text(plan):
    """A Plan for a terminal."""
    parts = [_table(plan.runs) if plan.runs else "Nothing that is not recorded can be run here."]
    waiting = {}
    for (experiment, seed), obstacle in plan.waiting.items():
        waiting.setdefault(obstacle.reason, {}).setdefault(experiment.name, []).append(seed)
    if waiting:
        parts.append("\ncannot be done here:")
    for reason, experiments in waiting.items():
        names = shorten([f"{name} (seeds {' '.join(map(str, seeds))})" for name, seeds in experiments.items()], 3)
        parts.append(f"  {sum(map(len, experiments.values()))} runs: {reason}\n    {names}")
    return "\n".join(parts)


def _table(runs):
    rows, total = [("what", "seed", "minutes", "sum", "estimated from", "why")], 0.0
    for run in runs:
        total += run.seconds
        marks = [word for word, holds in (("resumed", run.begun), ("for its network", run.again)) if holds]
        why = ", ".join([*marks, clip(run.why, WHY)])
        minutes = f"{run.seconds / 60:.1f}" if run.seconds else "-"
        basis = run.estimate.basis if run.estimate else "-"
        rows.append((run.experiment.name, str(run.seed), minutes, duration(total), basis, why))
    return aligned(rows, right=(1, 2, 3))
