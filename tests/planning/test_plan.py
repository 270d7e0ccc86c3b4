"""Plans of measurements: the most telling runs first, only those that can be done here, stopped and gone on with."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from conftest import make_record, run_script

from kmodels import Published, catalogue, load_dataset, read_records, run
from kmodels.backend import device_name
from kmodels.data.here import data_dir_of
from kmodels.errors import InputError
from kmodels.experiment import PLANNED_SEEDS, Experiment
from kmodels.locks import FileLock
from kmodels.planning import estimates, planner
from kmodels.planning.estimates import Data, Estimator
from kmodels.planning.plan import PUBLISHED, REST
from kmodels.planning.planner import Planner
from kmodels.records import write_record
from kmodels.report.claims import PARAMETERS, Claim, beats
from kmodels.report.pending import PAGE, pending_text
from kmodels.training.callbacks import StopOnNaN

ONE = Experiment(
    name="tests/one",
    dataset="synthetic",
    image_size=16,
    model="mlp",
    augmentation="rotate_flip",
    epochs=1,
    batch_size=16,
    patience=None,
)
# With equal settings they would be one experiment under several names.
TWO, THREE, FOUR = (
    replace(ONE, name=f"tests/{name}", weight_decay=decay)
    for name, decay in (("two", 0.2), ("three", 0.3), ("four", 0.4))
)
NUMBERS = Published(test_accuracy=0.5)


@pytest.fixture
def seconds(monkeypatch):
    """{name of an experiment: seconds for an epoch and image}, what is measured of each; others take 1 s."""
    speeds = {}
    measure = lambda experiment, data: speeds.get(experiment.name, 1.0)  # noqa: E731
    monkeypatch.setattr(planner, "measured_speed", lambda device, backend: measure)
    return speeds


def planned(out, *experiments, claims=(), seeds=(0, 1), **options):
    made = Planner(experiments, claims, seeds, out, longest=1000, **options).plan()
    return [(run.experiment.name.split("/")[1], run.seed) for run in made.runs]


def record(experiment, seed=0, accuracy=0.5, **changes):
    """A Record of an experiment on the synthetic images."""
    values = {"source": load_dataset("synthetic", 16).source, "image_shape": (16, 16, 3), "device": device_name()}
    return make_record(seed, accuracy, experiment=experiment, **{**values, **changes})


def test_claims_come_first_then_published_numbers_and_the_cheapest_of_each(tmp_path, seconds):
    seconds |= {"tests/one": 9.0, "tests/two": 8.0, "tests/three": 2.0, "tests/four": 0.1}
    three, five = (
        replace(THREE, published=NUMBERS),
        replace(THREE, name="tests/five", weight_decay=0.5, published=NUMBERS),
    )
    experiments = (FOUR, five, three, TWO, ONE)
    made = Planner(experiments, [Claim("One beats two.", (beats(ONE, TWO),))], (0,), tmp_path, longest=1000).plan()
    assert [run.experiment.name for run in made.runs] == [
        "tests/two", "tests/one", "tests/five", "tests/three", "tests/four",
    ]  # fmt: skip
    assert [run.why for run in made.runs] == ["One beats two."] * 2 + [PUBLISHED] * 2 + [REST]


def test_all_experiments_of_a_claim_get_a_seed_before_any_gets_the_next(tmp_path, seconds):
    seconds["tests/one"] = 50.0
    claims = [Claim("One beats two.", (beats(ONE, TWO),)), Claim("Three beats four.", (beats(THREE, FOUR),))]
    runs = planned(tmp_path, ONE, TWO, THREE, FOUR, claims=claims)
    assert runs == [(name, seed) for pair in (("three", "four"), ("two", "one")) for seed in (0, 1) for name in pair]
    # Where one side has a seed already, the other one catches up.
    write_record(record(TWO), tmp_path)
    write_record(record(TWO, 1), tmp_path)
    assert planned(tmp_path, ONE, TWO, claims=claims) == [("one", 0), ("one", 1)]


def test_a_claim_that_is_decided_needs_no_more_seeds(tmp_path, seconds):
    claims = [Claim("One beats two.", (beats(ONE, TWO),)), Claim("Three beats four.", (beats(THREE, FOUR),))]
    seconds |= {"tests/three": 5.0, "tests/four": 5.0}
    for seed, high, low in ((0, 0.9, 0.1), (1, 0.91, 0.12), (2, 0.89, 0.11)):
        write_record(record(ONE, seed, high), tmp_path)
        write_record(record(TWO, seed, low), tmp_path)
    runs = planned(tmp_path, ONE, TWO, THREE, FOUR, claims=claims, seeds=(0, 1, 2, 3))
    assert runs[:8] == [(name, seed) for seed in (0, 1, 2, 3) for name in ("three", "four")]
    assert runs[8:] == [("one", 3), ("two", 3)]


def test_the_claim_with_the_lowest_cost_to_a_decision_comes_first(tmp_path, seconds):
    # One seed of one and two costs most, and they lack one of three.
    seconds |= {"tests/one": 3.0, "tests/two": 3.0, "tests/three": 1.5, "tests/four": 1.5}
    for seed in (0, 1):
        write_record(record(ONE, seed, 0.6 + 0.01 * seed), tmp_path)
        write_record(record(TWO, seed, 0.5 + 0.02 * seed), tmp_path)
    claims = [Claim("Three beats four.", (beats(THREE, FOUR),)), Claim("One beats two.", (beats(ONE, TWO),))]
    runs = planned(tmp_path, ONE, TWO, THREE, FOUR, claims=claims, seeds=range(5))
    # What is left of both when they are expected to be decided comes last, the cheapest first.
    expected = [("one", "two", 2)] + [("three", "four", seed) for seed in (0, 1, 2, 3, 4)]
    expected += [("one", "two", seed) for seed in (3, 4)]
    assert runs == [(name, seed) for *names, seed in expected for name in names]


def test_claims_that_the_planned_seeds_will_not_decide_come_after_those_that_they_will(tmp_path, seconds):
    seconds |= {"tests/three": 50.0, "tests/four": 50.0}
    for seed, high, low in ((0, 0.5, 0.52), (1, 0.6, 0.55), (2, 0.55, 0.57)):
        write_record(record(ONE, seed, high), tmp_path)
        write_record(record(TWO, seed, low), tmp_path)
    claims = [Claim("One beats two.", (beats(ONE, TWO),)), Claim("Three beats four.", (beats(THREE, FOUR),))]
    runs = planned(tmp_path, ONE, TWO, THREE, FOUR, claims=claims, seeds=range(4))
    pairs = [("three", "four", seed) for seed in (0, 1, 2)] + [("one", "two", 3), ("three", "four", 3)]
    assert runs == [(name, seed) for *names, seed in pairs for name in names]


def test_numbers_that_are_the_same_for_every_seed_need_one(tmp_path, seconds):
    size = Claim("One is smaller.", (beats(TWO, ONE, measure=PARAMETERS),))
    made = Planner([ONE, TWO], [size], range(3), tmp_path, longest=1000).plan()
    assert [(run.seed, run.why) for run in made.runs] == [(0, size.says)] * 2 + [(1, REST)] * 2 + [(2, REST)] * 2


def test_a_claim_that_was_decided_early_comes_before_the_rest(tmp_path, seconds):
    for seed, high, low in ((0, 0.9, 0.1), (1, 0.91, 0.12), (2, 0.89, 0.11)):
        write_record(record(ONE, seed, high), tmp_path)
        write_record(record(TWO, seed, low), tmp_path)
    seconds |= {"tests/three": 0.1}
    claims = [Claim("One beats two.", (beats(ONE, TWO),))]
    made = Planner([THREE, ONE, TWO], claims, range(4), tmp_path, longest=1000).plan()
    assert [(run.experiment, run.why) for run in made.runs[:3]] == [
        (ONE, "One beats two."), (TWO, "One beats two."), (THREE, REST),
    ]  # fmt: skip


def test_of_experiments_with_equal_settings_one_is_run_and_counts_for_all(tmp_path, seconds):
    again = replace(ONE, name="tests/again")
    claim = Claim("It is so.", (beats(again, TWO),))
    assert planned(tmp_path, TWO, ONE, again, claims=[claim], seeds=[0]) == [("one", 0), ("two", 0)]
    write_record(record(again), tmp_path)
    assert planned(tmp_path, TWO, ONE, again, claims=[claim], seeds=[0]) == [("two", 0)]


def test_what_was_interrupted_comes_before_any_claim(tmp_path, seconds):
    checkpoint = tmp_path / THREE.name / f"{keras.backend.backend()}-{THREE.fingerprint}-ab-seed1.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    claims = [Claim("One beats two.", (beats(ONE, TWO),))]
    runs = planned(tmp_path, ONE, TWO, THREE, claims=claims)
    assert runs[0] == ("three", 1)
    assert {name for name, _ in runs[1:5]} == {"one", "two"}


def test_a_head_of_a_network_that_was_replaced_is_measured_again(tmp_path, seconds):
    head = replace(TWO, init_from=ONE.name, head="svm", augmentation="none")
    parent = record(ONE, network_sha256="aa" * 32)
    start = {"network": f"{Path(parent.stem).name}.keras", "taken": (), "drawn": ()}
    write_record(parent, tmp_path)
    write_record(record(head, started_from=start, weights_sha256="aa" * 32), tmp_path)
    assert planned(tmp_path, head, ONE, seeds=(0,)) == []
    write_record(replace(parent, network_sha256="bb" * 32), tmp_path)
    (tmp_path / f"{parent.stem}.keras").touch()
    assert planned(tmp_path, head, ONE, seeds=(0,)) == [("two", 0)]
    write_record(record(head, started_from=start, weights_sha256="bb" * 32), tmp_path)
    assert planned(tmp_path, head, ONE, seeds=(0,)) == []


def test_a_claim_about_a_head_is_decided_by_its_network_from_whichever_backend(tmp_path, seconds):
    head = replace(TWO, init_from=ONE.name, head="svm", augmentation="none")
    for seed, accuracy in enumerate((0.50, 0.60, 0.70)):
        parent = record(ONE, seed, accuracy, backend="jax")
        write_record(parent, tmp_path)
        write_record(record(ONE, seed, accuracy, backend="torch"), tmp_path)
        start = {"network": f"{Path(parent.stem).name}.keras", "taken": (), "drawn": ()}
        write_record(record(head, seed, accuracy + 0.1 + 0.01 * seed, started_from=start), tmp_path)
    seconds |= {"tests/three": 5.0, "tests/four": 5.0}
    claims = [Claim("The head beats it.", (beats(head, ONE),)), Claim("Three beats four.", (beats(THREE, FOUR),))]
    runs = planned(tmp_path, ONE, head, THREE, FOUR, claims=claims, seeds=range(4))
    assert runs[-2:] == [("one", 3), ("two", 3)]


def test_a_record_counts_on_the_same_images_with_the_same_settings_from_any_backend(tmp_path, seconds):
    write_record(record(ONE, 0, backend="torch", device="a GPU"), tmp_path)
    write_record(record(ONE, 1, status="diverged", train=None, val=None, test=None), tmp_path)
    write_record(record(ONE, 2, source={**record(ONE).source, "sha256": "cd" * 32}), tmp_path)
    write_record(record(replace(ONE, learning_rate=0.5), 3), tmp_path)
    write_record(record(ONE, 4, precision="bfloat16"), tmp_path)
    assert planned(tmp_path, ONE, seeds=range(5)) == [("one", 2), ("one", 3), ("one", 4)]


def test_parents_come_first_also_where_only_their_network_is_lacking(tmp_path, seconds):
    child = replace(TWO, init_from=ONE.name, published=NUMBERS)
    assert planned(tmp_path, child, ONE, seeds=(0,)) == [("one", 0), ("two", 0)]
    write_record(record(ONE), tmp_path)
    planner = Planner([child, ONE], (), (0,), tmp_path)
    assert [(one.experiment.name, one.again) for one in planner.plan().runs] == [(ONE.name, True), (TWO.name, False)]
    (tmp_path / f"{record(ONE).stem}.keras").touch()
    assert planned(tmp_path, child, ONE, seeds=(0,)) == [("two", 0)]


def test_what_cannot_be_run_here_is_listed_with_its_reason(tmp_path, seconds, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    slow, far = replace(ONE, epochs=10_000), replace(TWO, dataset="intel_scenes")
    away = replace(THREE, dataset="cifar10", init_from=None)
    child = replace(FOUR, init_from=away.name)
    pretrained = replace(ONE, name="tests/pretrained", model="resnet50", model_options={"weights": "imagenet"})
    assert run_script("--plan", "--out", tmp_path, experiments=[slow, far, away, child, pretrained]) == 0
    printed = capsys.readouterr().out
    assert "5 runs: a run takes more than 2 h" in printed
    assert "intel_scenes is not on this machine: give --data-dir DIR" in printed
    assert "kmodels data prepare cifar10" in printed
    assert "it starts from tests/three: cifar10 is not on this machine" in printed
    assert "ImageNet weights of resnet50 are not on this machine" in printed


def test_the_data_of_several_datasets_are_found_in_one_folder_by_name_or_content(tmp_path):
    assert data_dir_of("cifar10", None) is None
    assert data_dir_of("synthetic", tmp_path) is None
    assert data_dir_of("cifar10", tmp_path) is None
    (tmp_path / "cifar10").mkdir()
    assert data_dir_of("cifar10", tmp_path) == data_dir_of("cifar10", tmp_path / "cifar10") == tmp_path / "cifar10"
    from kmodels.data.eurosat import CLASSES

    for name in CLASSES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
    assert data_dir_of("eurosat", tmp_path) == tmp_path / "pictures"
    # Own images are in the folder itself.
    assert data_dir_of("folder", tmp_path) == tmp_path


def test_data_of_another_kind_are_no_reason_to_fail(tmp_path, seconds, capsys):
    (tmp_path / "cifar10" / "train" / "cat").mkdir(parents=True)
    wrong = replace(TWO, dataset="cifar10")
    assert run_script("--plan", "--data-dir", tmp_path, "--out", tmp_path, experiments=[ONE, wrong]) == 0
    printed = capsys.readouterr().out
    assert "tests/one" in printed
    assert "cannot be done here" in printed


def test_estimates_are_from_records_of_the_experiment_else_of_the_network_else_measured():
    mine = record(ONE, history={"loss": (1.0,) * 5, "seconds": (60.0, 2.0, 2.0, 2.0, 900.0)})
    elsewhere = record(ONE, device="another", history={"loss": (1.0,) * 3, "seconds": (0.1,) * 3})
    data = Data(80, (16, 16, 3), 10)
    estimator = Estimator([mine, elsewhere], device_name(), "jax", measure=lambda experiment, data: 7.0)
    # Forty images took two seconds; here are eighty, ten times.
    found = estimator(replace(ONE, epochs=10), data)
    assert found.seconds - estimates.OVERHEAD == pytest.approx(2 / 40 * 80 * 10)
    assert found.basis == "1 record"
    small = replace(ONE, model="two_layer_net", model_options={"hidden": (8,)})
    unknown = replace(small, model_options={"no_longer_there": 1})
    others = [record(one, history=mine.history) for one in (small, unknown)]
    found = Estimator(others, device_name(), "jax")(
        replace(small, name=TWO.name, model_options={"hidden": (16,)}), data
    )
    assert found.seconds - estimates.OVERHEAD == pytest.approx(2 / 40 * 80 * 2, rel=0.05)
    assert found.basis == "1 record of two_layer_net with other settings"
    found = estimator(replace(ONE, name="tests/lenet", model="conv_net"), data)
    assert (found.seconds - estimates.OVERHEAD, found.basis) == (7.0 * 80, "measured in a few steps")
    assert Estimator([], device_name(), "jax")(ONE, data) is None


def test_a_run_that_may_stop_early_is_estimated_by_the_epochs_that_others_had():
    early = replace(ONE, epochs=500, patience=10)
    known = record(early, history={"loss": (1.0,) * 20, "seconds": (1.0,) * 20})
    found = Estimator([known], device_name(), "jax")(early, Data(40, (16, 16, 3), 10))
    assert found.seconds - estimates.OVERHEAD == pytest.approx(20)
    # Without any, by those that the report had.
    early = replace(early, name=TWO.name, published=Published(epochs=30))
    found = Estimator([known], device_name(), "jax")(early, Data(40, (16, 16, 3), 10))
    assert found.seconds - estimates.OVERHEAD == pytest.approx(30, rel=0.05)
    # Never more than asked for.
    found = Estimator([known], device_name(), "jax")(replace(early, epochs=5), Data(40, (16, 16, 3), 10))
    assert found.seconds - estimates.OVERHEAD == pytest.approx(5, rel=0.05)


def test_a_speed_is_measured_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path))
    data = Data(40, (16, 16, 3), 10)
    first = estimates.measured_speed("cpu", "jax")(ONE, data)
    assert first > 0
    (tmp_path / estimates.KEPT).write_text((tmp_path / estimates.KEPT).read_text().replace(str(first), "4.5"))
    assert estimates.measured_speed("cpu", "jax")(replace(ONE, name="tests/same"), data) == 4.5
    assert capsys.readouterr().out.count("measuring") == 1


def test_without_hours_nothing_is_run_and_with_them_all_until_nothing_is_left(tmp_path, seconds, capsys):
    bad = replace(TWO, batch_size=41)
    arguments = {"experiments": [ONE, bad], "claims": [Claim("One beats two.", (beats(ONE, bad),))]}
    assert run_script("--plan", "--seeds", 0, 1, "--out", tmp_path, **arguments) == 0
    assert "tests/one" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    # What fails is tried once, and does not keep the rest from being done.
    assert run_script("--plan", "--hours", 1, "--seeds", 0, 1, "--out", tmp_path, **arguments) == 1
    assert "batch_size must be at most 40" in capsys.readouterr().err
    assert [(one.experiment.name, one.seed) for one in read_records(tmp_path).values()] == [
        (ONE.name, 0),
        (ONE.name, 1),
    ]
    assert (tmp_path / "tests" / "claims.md").is_file()
    assert run_script("--plan", "--seeds", 0, 1, "--out", tmp_path, experiments=[ONE]) == 0
    assert "Nothing" in capsys.readouterr().out


class EndsAtEpoch:
    """Stands for threading.Timer: time is up at the end of epoch 3, however fast this machine is."""

    daemon = cancel = start = lambda self: None

    def __init__(self, seconds, end):
        EndsAtEpoch.seconds, EndsAtEpoch.end = seconds, staticmethod(end)

    @staticmethod
    def on_epoch_end(callback, epoch, logs=None):
        if epoch == 3:
            EndsAtEpoch.end()


def test_what_starts_from_a_run_that_failed_is_not_begun(tmp_path, seconds, capsys):
    bad = replace(ONE, batch_size=41)
    child = replace(TWO, init_from=ONE.name)
    # A network of the parent with other settings, which it must not start from.
    run(ONE, 0, tmp_path, verbose=0)
    assert run_script("--plan", "--hours", 1, "--seeds", 0, "--out", tmp_path, experiments=(bad, child)) == 1
    assert [record.experiment.name for record in read_records(tmp_path).values()] == [ONE.name]


def test_processes_share_a_plan_none_does_what_another_is_at_or_needs_its_network(
    tmp_path, seconds, capsys, monkeypatch
):
    child = replace(TWO, init_from=ONE.name)
    last = replace(FOUR, init_from=child.name)
    path = tmp_path / ONE.name / "seed0.lock"
    path.parent.mkdir(parents=True)
    lock, found = FileLock(path), []

    def sleep(seconds):
        found.append([record.experiment.name for record in read_records(tmp_path).values()])
        if len(found) == 2:
            # The other one was killed; what it recorded before counts.
            write_record(record(last), tmp_path)
            lock.release()

    monkeypatch.setattr("kmodels.commands.plan.time", SimpleNamespace(sleep=sleep))
    lock.acquire()
    arguments = ["--plan", "--hours", 1, "--seeds", 0, "--out", tmp_path]
    assert run_script(*arguments, experiments=(ONE, child, THREE, last)) == 0
    assert found == [[THREE.name]] * 2
    assert capsys.readouterr().out.count("waiting for 1 run of other processes") == 1
    assert len(read_records(tmp_path)) == 4


def test_the_lock_of_a_run_stays_the_same_file_whatever_becomes_of_the_run(tmp_path, seconds):
    # Else a process that opened it before, and one that makes it again, would both do the run.
    bad = replace(TWO, batch_size=41)
    paths = [tmp_path / one.name / "seed0.lock" for one in (ONE, bad)]
    for path in paths:
        path.parent.mkdir(parents=True)
    opened = [path.open("w") for path in paths]
    assert run_script("--plan", "--hours", 1, "--seeds", 0, "--out", tmp_path, experiments=[ONE, bad]) == 1
    for path, file in zip(paths, opened, strict=True):
        with file:
            assert os.path.samestat(path.stat(), os.fstat(file.fileno()))


def test_a_plan_waits_for_other_processes_until_its_time_is_up(tmp_path, seconds, capsys, monkeypatch, interruptible):
    monkeypatch.setattr("kmodels.interrupts.threading.Timer", EndsAtEpoch)
    up = SimpleNamespace(sleep=lambda seconds: EndsAtEpoch.end())
    monkeypatch.setattr("kmodels.commands.plan.time", up)
    lock = tmp_path / ONE.name / "seed0.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert run_script("--plan", "--hours", 1, "--seeds", 0, "--out", tmp_path, experiments=[ONE]) == 0
    assert "1 hours are over: no run was under way" in capsys.readouterr().out


def test_a_plan_ends_in_time_and_what_was_interrupted_comes_first_the_next_time(
    tmp_path, seconds, capsys, monkeypatch, interruptible
):
    long = replace(TWO, epochs=1000)
    seconds["tests/two"] = 1e-5
    monkeypatch.setattr("kmodels.interrupts.threading.Timer", EndsAtEpoch)
    monkeypatch.setattr(StopOnNaN, "on_epoch_end", EndsAtEpoch.on_epoch_end)
    assert run_script("--plan", "--hours", 0.5, "--seeds", 0, "--out", tmp_path, experiments=[long]) == 0
    assert EndsAtEpoch.seconds == 1800
    assert "0.5 hours are over" in capsys.readouterr().out
    assert [one.status for one in read_records(tmp_path).values()] == ["interrupted"]
    assert run_script("--plan", "--seeds", 0, "--out", tmp_path, experiments=[ONE, long]) == 0
    (first, second) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tests/")]
    assert first.startswith("tests/two")
    assert "resumed" in first
    assert "resumed" not in second


def test_a_killed_run_is_resumed_and_ends_as_an_uninterrupted_one(
    tmp_path, seconds, capsys, monkeypatch, outcome, interruptible
):
    experiment = replace(ONE, epochs=6)

    def interrupt(self, epoch, logs=None):
        if epoch == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StopOnNaN, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(experiment, 0, tmp_path / "plan", verbose=0)
    # As after SIGKILL: the checkpoint is there, and no record.
    for path in (tmp_path / "plan").rglob("*-interrupted.json"):
        path.unlink()
    assert run_script("--plan", "--hours", 1, "--seeds", 0, "--out", tmp_path / "plan", experiments=[experiment]) == 0
    assert "resum" in capsys.readouterr().out
    (resumed,) = read_records(tmp_path / "plan").values()
    assert outcome(resumed) == outcome(run(experiment, 0, tmp_path / "alone", verbose=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hours", "1"], "--plan"),
        (["--pending"], "--plan"),
        (["--plan", "--hours", "0"], "--hours must be above 0"),
        (["--plan", "--again"], "--again"),
        (["--plan", "--hours", "inf"], "--hours must be above 0 and at most"),
        (["--max-hours", "1e10"], "max_hours must be above 0 and at most"),
        (["--plan", "--max-hours", "3"], "leave --max-hours out. Received: 3.0"),
        (["--plan", "--split", "runs"], "--split"),
        (["--plan", "--seeds"], "--seeds"),
        (["--plan", "--pending", "--epochs", "3"], "--pending"),
        (["one", "--plan", "--pending"], "--pending"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, arguments, message, capsys):
    assert run_script(*arguments, "--out", tmp_path, experiments=[ONE]) == 2
    assert message in capsys.readouterr().err


def test_what_waits_is_written_by_what_it_needs_and_equally_each_time(tmp_path, seconds):
    away, slow = replace(TWO, dataset="intel_scenes"), replace(THREE, epochs=10_000)
    write_record(record(ONE, 1, device="a GPU"), tmp_path)
    write_record(record(slow, 1, device="a GPU", history={"loss": (1.0,) * 3, "seconds": (0.1,) * 3}), tmp_path)
    text = pending_text(Planner([ONE, away, slow], (), (0, 1, 2), tmp_path))
    assert pending_text(Planner([ONE, away, slow], (), (0, 1, 2), tmp_path)) == text
    here, gpu, elsewhere = (text.split("\n## ")[i] for i in (1, 2, 3))
    assert "seeds 0 2: `one`" in here
    assert "seeds 0 2: `three`" in gpu
    assert "on a GPU, jax" in gpu
    assert "seeds 0 1 2: `two`" in elsewhere
    assert str(tmp_path) not in text


def test_what_waits_for_a_slow_network_is_told_apart_from_what_is_slow(tmp_path, seconds):
    slow = replace(ONE, epochs=1000)
    head = replace(ONE, name="tests/head", head="svm", init_from=ONE.name, augmentation="none")
    seconds |= {"tests/one": 1.0, "tests/head": 1.0}
    text = pending_text(Planner([slow, head], (), (0, 1), tmp_path, longest=3))
    section = text.split("\n## ")[1]
    assert section.startswith("Better on a GPU: longer than 3 hours a run here")
    assert "seeds 0 1: `head` `one`" in section
    assert "11 h 7 min each on" in section
    assert "2 of them 50 s each after their network" in section


def test_the_committed_page_lists_what_the_committed_records_lack():
    results = Path(__file__).parents[2] / "results"
    experiments = [one for report in catalogue.reports() for one in report.EXPERIMENTS if report.EXPERIMENTS[1:]]
    made = Planner(experiments, (), PLANNED_SEEDS, results, measure=False).plan()
    lacking = {(run.experiment.name, run.seed) for run in made.runs if not run.again}
    lacking |= {(experiment.name, seed) for experiment, seed in made.waiting}
    listed = set()
    for row in (results / PAGE).read_text().splitlines():
        if found := re.search(r"experiments (\w+) --plan .*\| (seeds .*?) \|", row):
            for group in found[2].split("; "):
                seeds, names = group.removeprefix("seeds ").split(": ")
                listed |= {(f"{found[1]}/{name.strip('`')}", int(s)) for name in names.split() for s in seeds.split()}
    assert listed == lacking, "python -m experiments --plan --pending --data-dir DIR writes the page again"


def test_downloads_are_refused_while_a_plan_is_made(tmp_path):
    from kmodels.data.archives import Archive
    from kmodels.data.downloads import download, without_downloads

    archive = Archive("no.tar.gz", size=1, sha256="0", url="http://localhost:1/no.tar.gz")
    with without_downloads(), pytest.raises(InputError, match="would have to be downloaded"):
        download([archive])
