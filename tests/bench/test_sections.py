"""Every contender trains the steps that it says it trained, and every section measures."""

import json
from dataclasses import replace
from importlib import import_module

import keras
import pytest

from kmodels.bench import blocks, costs, profile, sections, tables
from kmodels.bench.contenders import EVERYONE
from kmodels.bench.run import bench
from kmodels.bench.settings import Job, Settings
from kmodels.bench.workers import Session, WorkerError

JOB = Job(model="mlp", batch_size=4, image_size=8, epoch_steps=2, program_steps=3, block_seconds=1e-3)
TINY = Settings(models=("mlp",), batch_sizes=(4,), image_size=8, repeats=2, block_seconds=1e-3)


class WorkerInThisProcess:
    """Obeys without a process of its own, which takes seconds to start."""

    def __init__(self, contender, environment=None, progress=print):
        self.session = Session(contender.build, progress)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        pass

    def ask(self, do, **order):
        try:
            return getattr(self.session, do)(**order)
        except Exception as error:
            raise WorkerError(str(error)) from error


@pytest.fixture
def lines(monkeypatch):
    """What a section says; its workers are in this process."""
    monkeypatch.setattr(sections, "Worker", WorkerInThisProcess)
    monkeypatch.setattr("kmodels.bench.jax_twin._matmul_side", lambda: 32)
    monkeypatch.setattr(blocks, "LEAST_STEPS", 1)
    return []


@pytest.mark.parametrize(
    ("name", "steps"),
    [("ours", 4), ("ours-epoch", 3), ("jax", 4), ("jax-epoch", 3), ("stock-fit", 4), ("torch", 4), ("input", 4)],
)
def test_a_block_has_the_steps_asked_for_in_whole_epochs(name, steps):
    if EVERYONE[name].backend == "torch":
        pytest.importorskip("torch")
    module, function = EVERYONE[name].build.split(":")
    block = getattr(import_module(module), function)(JOB)(3)
    assert block.steps == steps
    assert block.seconds > 0


def test_ours_takes_as_many_steps_as_it_says():
    from kmodels.bench.ours import fit_blocks, training_of

    training = training_of(replace(JOB, precision="bfloat16"))
    block = fit_blocks(JOB, training)
    assert block(3).steps + block(2).steps == int(training.trainer.optimizer.iterations) == 6
    assert training.network.get_layer("dense1").compute_dtype == "bfloat16"


def test_throughput_is_measured_by_turns_and_a_contender_that_fails_stops_no_other(lines, monkeypatch):
    monkeypatch.setitem(EVERYONE, "stock-fit", EVERYONE["stock-fit"]._replace(build="builtins:print"))
    (row,) = sections.throughput(replace(TINY, contenders=("ours", "jax", "stock-fit")), False, lines.append)
    results = row["contenders"]
    assert [len(results[name]["images_per_second"]) for name in ("ours", "jax", "stock-fit")] == [2, 2, 0]
    assert results["ours"]["error"] is None
    assert "not callable" in results["stock-fit"]["error"]
    assert len(row["matmul"]) == 2
    assert "round 2 of 2, images/s: ours" in lines[-1]


def net_without_twin(input_shape, num_classes):
    """What `test_a_network_without_a_twin_is_compared_with_stock_fit` measures."""
    image = keras.Input(input_shape)
    x = keras.layers.Softmax(name="unknown")(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))


@pytest.mark.parametrize("contenders", [("jax", "ours", "stock-fit"), ("jax",)])
def test_a_network_without_a_twin_is_compared_with_stock_fit(lines, contenders):
    settings = replace(TINY, models=(f"{__name__}:net_without_twin",), contenders=contenders)
    (row,) = sections.throughput(settings, False, lines.append)
    assert set(row["contenders"]) == {"ours", "stock-fit"}
    assert not any(result["error"] for result in row["contenders"].values())
    (line,) = [line for line in lines if "without a hand-written network" in line]
    assert "compared with stock fit only" in line
    assert "'unknown', a Softmax" in line


def test_callbacks_startup_and_memory_are_measured(lines, monkeypatch):
    monkeypatch.setattr(costs, "EXAMPLES", {"train": 12, "val": 8, "test": 8})
    settings = replace(TINY, repeats=1, epochs=8)
    (row,) = sections.callbacks(settings, False, lines.append)
    for name in ("with callbacks", "without callbacks"):
        assert row["contenders"][name]["error"] is None
        assert row["contenders"][name]["images_per_second"][0] > 0
    (row,) = sections.memory(settings, False, lines.append)
    watched = row["watched"]
    assert len(watched["epoch_bytes"]) == 8
    # The system counts the peak a little differently from what is resident now.
    assert watched["peak_bytes"] > 0.9 * watched["framework_bytes"] > 50 * 2**20
    assert watched["data_bytes"] == 28 * 8 * 8 * 3
    (row,) = sections.startup(settings, False, lines.append)
    assert row["error"] is None
    assert row["cold"][0]["process_seconds"] > row["cold"][0]["compile_seconds"] > 0


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled():
    (row,) = sections.startup(replace(TINY, models=("model1",), repeats=1), False, print)
    (cold,), (warm,) = row["cold"], row["warm"]
    assert warm["compile_seconds"] < cold["compile_seconds"]
    assert warm["machine_code_seconds"] < cold["machine_code_seconds"]
    assert 0 < warm["tracing_seconds"] < warm["compile_seconds"]


def test_a_profile_names_the_layers_of_a_training_step(lines):
    (row,) = sections.profile(replace(TINY, models=("model1",)), False, lines.append)
    assert row["error"] is None
    taken = row["taken"]
    assert taken["steps"] >= 8
    assert 0 < taken["busy_seconds"] <= taken["seconds"]
    named = {(part["kind"], part["direction"]) for part in taken["parts"]}
    assert {("Conv2D", "forward"), ("Conv2D", "backward"), ("Dense", "forward"), ("optimizer", "forward")} <= named
    assert tables.text({"sections": {"profile": [row]}}).startswith("profile: model1, batch 4\npart of a step")


def test_what_runs_side_by_side_is_busy_once():
    assert profile.busy([("a", 0, 10), ("b", 2, 5), ("c", 8, 12), ("d", 20, 21)]) == 13
    assert profile.busy([]) == 0


def test_a_failed_worker_fails_its_section_only(lines):
    (row,) = sections.profile(replace(TINY, models=("alexnet",)), False, lines.append)
    assert "at least 63x63" in row["error"]
    assert "at least 63x63" in tables.text({"sections": {"profile": [row]}})


def test_a_cpu_is_deterministic_already():
    lines = []
    assert list(sections.deterministic(TINY, False, lines.append)) == []
    assert "changes nothing on a CPU" in lines[0]


def test_a_benchmark_leaves_numbers_and_a_chart(tmp_path, lines):
    numbers, picture = bench(replace(TINY, repeats=1, contenders=("jax",)), tmp_path, lines.append)
    assert picture.stat().st_size > 5_000
    written = json.loads(numbers.read_text())
    assert written["settings"]["contenders"] == ["jax"]
    assert written["environment"]["versions"]["jax"]
    (row,) = written["sections"]["throughput"]
    assert len(row["contenders"]["jax"]["images_per_second"]) == 1
    assert row["flops"]["per_image"] > 0
    assert "\nthroughput: mlp, batch 4\ncontender" in lines[-1]


@pytest.mark.gpu
def test_on_a_gpu_every_usual_contender_trains_in_both_precisions(tmp_path):
    for precision in ("float32", "bfloat16"):
        settings = replace(TINY, models=("model1",), batch_sizes=(512,), precision=precision)
        numbers, _ = bench(replace(settings, sections=("throughput", "deterministic")), tmp_path)
        (row,) = json.loads(numbers.read_text())["sections"]["throughput"]
        assert {"ours", "ours-epoch", "jax", "jax-epoch"} <= set(row["contenders"])
        assert {name: result["error"] for name, result in row["contenders"].items() if result["error"]} == {}


def test_calibration_finds_the_steps_of_a_block():
    asked = []

    def block(steps):
        asked.append(steps)
        return blocks.Block(steps, 0.01 * steps)

    assert blocks.calibrate(block, 2.0) == 200
    assert asked == [1, 8, 64, 256]


@pytest.mark.parametrize(("step_seconds", "steps"), [(0.01, 100), (0.5, 8), (1.2, 8), (5.0, 2), (60.0, 1)])
def test_slow_steps_are_not_timed_one_by_one(step_seconds, steps):
    assert blocks.calibrate(lambda asked: blocks.Block(asked, step_seconds * asked), 1.0) == steps


@pytest.mark.parametrize(("steps", "most", "expected"), [(1, 20, (1, 1)), (20, 20, (1, 20)), (21, 20, (2, 11))])
def test_epochs_hold_at_least_the_steps_asked_for(steps, most, expected):
    asked = []
    blocks.in_epochs(lambda *epochs_and_steps: asked.append(epochs_and_steps), most)(steps)
    assert asked == [expected]
