"""What an operation is for, when the device works, and a profile taken of a real training."""

import pytest

from kmodels.bench import profile, tables
from kmodels.bench.program_text import Purpose, paths, purpose
from kmodels.bench.settings import Settings

# Shortened from what XLA writes for a processor.
TEXT = """HloModule jit_train_step, is_scheduled=true

%kernel (param_0: f32[2], param_1: f32[2]) -> f32[2] {
  %param_0 = f32[2]{0} parameter(0)
  %param_1 = f32[2]{0} parameter(1)
  ROOT %convolution.1 = f32[2]{0} convolution(%param_0, %param_1), window={size=3x3}
}

%inner (param_2: f32[2]) -> f32[2] {
  %param_2 = f32[2]{0} parameter(0)
  ROOT %add.1 = f32[2]{0} add(%param_2, %param_2), metadata={op_name="jit(train_step)/jvp(net)/relu1/add"}
}

ENTRY %main (state: f32[2]) -> f32[2] {
  %state = f32[2]{0} parameter(0), metadata={op_name="state[0]"}
  %iota.1 = s32[2]{0} iota(), iota_dimension=0
  %copy.1 = f32[2]{0} copy(%iota.1)
  %fusion.1 = f32[2]{0} fusion(%state), kind=kLoop, calls=%inner
  %fusion.2 = f32[2]{0} fusion(%fusion.1, %copy.1), kind=kLoop, calls=%missing, metadata={op_name="jit(train_step)/transpose(jvp(net))/pool1/pad" stack_frame_id=3}
  %fusion.3 = f32[2]{0} fusion(%fusion.1, %fusion.2), kind=kCustom, calls=%kernel
  ROOT %fusion.4 = f32[2]{0} fusion(%fusion.3, %state), kind=kLoop, calls=%missing, metadata={op_name="jit(train_step)/adam/sub"}
}
"""  # noqa: E501


def test_an_operation_without_a_name_is_called_after_what_it_holds_or_who_reads_it():
    found = paths(TEXT)
    assert found["fusion.1"] == "jit(train_step)/jvp(net)/relu1/add"
    assert found["iota.1"] == found["copy.1"] == "jit(train_step)/transpose(jvp(net))/pool1/pad"
    assert found["fusion.3"] == "convolution kernel"
    assert found["fusion.4"] == "jit(train_step)/adam/sub"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("jit(train_step)/jvp(net)/conv1/conv_general_dilated", ("conv1", "forward")),
        ("jit(train_step)/while/body/transpose(jvp(net))/conv1/mul", ("conv1", "backward")),
        ("jit(train_step)/jvp(conv1)/mul", ("conv1", "forward")),
        ("jit(train_step)/transpose(jvp(compile_loss))/cross_entropy/mul", ("loss", "backward")),
        ("jit(train_step)/adam/add", ("optimizer", "forward")),
        ("convolution kernel", ("convolution kernel", "backward")),
        ("jit(train_step)/conv11/reduce", ("", "forward")),
        ("", ("", "forward")),
    ],
)
def test_a_path_says_what_an_operation_is_for(path, expected):
    assert purpose(path, {"conv1"}, "adam") == Purpose(*expected)


def test_what_runs_side_by_side_is_busy_once():
    assert profile.busy([("a", 0, 10), ("b", 2, 5), ("c", 8, 12), ("d", 20, 21)]) == 13
    assert profile.busy([]) == 0


def test_a_profile_names_the_layers_of_a_training_step():
    settings = Settings(models=("model1",), batch_sizes=(4,), image_size=8, repeats=1, sections=("profile",))
    (row,) = profile.measure(settings, False, lambda line: None)
    assert row["error"] is None
    taken = row["taken"]
    assert taken["steps"] == 8
    assert 0 < taken["busy_seconds"] <= taken["seconds"]
    named = {(part["kind"], part["direction"]) for part in taken["parts"]}
    assert {("Conv2D", "forward"), ("Conv2D", "backward"), ("Dense", "forward"), ("optimizer", "forward")} <= named
    found = tables.text({"sections": {"profile": [row]}})
    assert found.startswith("profile: model1, batch 4\npart of a step")
    assert "\nConv2D" in found


def test_the_table_adds_up_kinds_and_shows_shares():
    parts = [
        {"part": "conv1", "kind": "Conv2D", "direction": "forward", "seconds": 0.3},
        {"part": "conv2", "kind": "Conv2D", "direction": "forward", "seconds": 0.1},
        {"part": "conv2", "kind": "Conv2D", "direction": "backward", "seconds": 0.2},
        {"part": "loss", "kind": "loss", "direction": "backward", "seconds": 0.2},
    ]
    taken = {"steps": 10, "seconds": 1.0, "busy_seconds": 0.75, "parts": parts}
    row = {"model": "m", "batch_size": 8, "taken": taken, "error": None}
    lines = tables.text({"sections": {"profile": [row, {**row, "taken": None, "error": "E: gone"}]}}).splitlines()
    assert lines[3].split() == ["Conv2D", "40.0", "20.0", "75.0"]
    assert lines[4].split() == ["loss", "-", "20.0", "25.0"]
    assert lines[5].startswith("a step takes 100.0 ms; the device is at work in 75.0 % of it")
    assert lines[-1] == "failed: E: gone"
