"""Kernels and bytes of a program for a GPU: read from its text, and from programs that are compiled for one."""

import pytest

from kmodels.bench import gpu_target, kernels, readme, tables
from kmodels.bench.program_text import Kernel
from kmodels.bench.program_text import kernels as read_kernels
from kmodels.bench.settings import Settings
from kmodels.errors import InputError

# Shortened from what XLA writes for a GPU.
TEXT = """HloModule jit_epoch, is_scheduled=true

%fused_gather (param_0.1: u8[80,2,2,3], param_1.1: s32[8]) -> bf16[8,2,2,3] {
  %param_0.1 = u8[80,2,2,3]{3,2,1,0} parameter(0)
  %param_1.1 = s32[8]{0} parameter(1)
  %gather.1 = u8[8,2,2,3]{3,2,1,0} gather(%param_0.1, %param_1.1), offset_dims={1,2,3}
  ROOT %convert.1 = bf16[8,2,2,3]{3,2,1,0} convert(%gather.1)
}

%fused_two (param_0.2: bf16[8,2,2,4]) -> (bf16[8,2,2,4], pred[8,2,2,4]) {
  %param_0.2 = bf16[8,2,2,4]{3,2,1,0} parameter(0)
  ROOT %tuple.1 = (bf16[8,2,2,4]{3,2,1,0}, pred[8,2,2,4]{3,2,1,0}) tuple(%param_0.2, %param_0.2)
}

%body (turn: (s32[], u8[80,2,2,3], f32[3,4])) -> (s32[], u8[80,2,2,3], f32[3,4]) {
  %turn = (s32[], u8[80,2,2,3]{3,2,1,0}, f32[3,4]{1,0}) parameter(0)
  %images = u8[80,2,2,3]{3,2,1,0} get-tuple-element(%turn), index=1
  %kernel = f32[3,4]{1,0} get-tuple-element(%turn), index=2
  %places = s32[8]{0} constant({...})
  %fusion.1 = bf16[8,2,2,3]{3,2,1,0} fusion(%images, /*index=1*/%places), kind=kLoop, calls=%fused_gather
  %conv.1 = (bf16[8,2,2,4]{3,2,1,0}, u8[4096]{0}) custom-call(%fusion.1, %kernel), custom_call_target="__cudnn"
  %image = bf16[8,2,2,4]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %fusion.2 = (bf16[8,2,2,4]{3,2,1,0}, pred[8,2,2,4]{3,2,1,0}) fusion(%image), kind=kLoop, calls=%fused_two
  ROOT %tuple.2 = (s32[], u8[80,2,2,3]{3,2,1,0}, f32[3,4]{1,0}) tuple(%turn, %images, %kernel)
}

ENTRY %main (state: f32[3,4]) -> f32[3,4] {
  %state = f32[3,4]{1,0} parameter(0), metadata={op_name="state[0]"}
  %copy.1 = f32[3,4]{1,0} copy(%state)
  %while.1 = (s32[], u8[80,2,2,3]{3,2,1,0}, f32[3,4]{1,0}) while(%copy.1), condition=%missing, body=%body
  ROOT %out = f32[3,4]{1,0} get-tuple-element(%while.1), index=2
}
"""

needs_plugin = pytest.mark.skipif(not gpu_target.has_plugin(), reason="JAX's CUDA plugin is not installed")


def test_the_kernels_of_one_turn_are_read_with_their_bytes():
    gathered, feature_maps = 8 * 2 * 2 * 3, 8 * 2 * 2 * 4
    assert read_kernels(TEXT) == [
        Kernel("fusion.1", False, gathered + 8 * 4 + 2 * gathered),
        Kernel("conv.1", True, 2 * gathered + 12 * 4 + 2 * feature_maps),
        Kernel("fusion.2", False, 2 * feature_maps + 2 * feature_maps + feature_maps),
    ]


def test_without_the_plugin_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gpu_target, "PLUGINS", ("xla_of_nobody",))
    with pytest.raises(InputError, match="jax-cuda12-plugin"):
        Settings(sections=("kernels",))


def test_a_program_that_failed_is_said_and_the_others_stand():
    counted = {"kernels": 1200, "bytes": 3 * 2**20, "library_calls": 5, "library_bytes": 2**20}
    programs = {
        "ours-epoch": {**counted, "temporary_bytes": 2**21, "error": None},
        **{name: {"error": "RuntimeError: no"} for name in list(kernels.PROGRAMS)[1:]},
    }
    row = {"model": "m", "batch_size": 8, "gpu": "G", "programs": programs}
    lines = tables.text({"sections": {"kernels": [row]}}).splitlines()
    assert lines[3].split() == ["ours-epoch", "1,200", "5", "3", "1", "2"]
    assert lines[4].split() == ["jax-epoch", *"-----", "failed:", "RuntimeError:", "no"]
    results = {"environment": {"device": "cpu"}, "settings": {"precision": "float32"}, "sections": {"kernels": [row]}}
    assert readme.markdown([results]).splitlines()[-1] == "| G | float32 | `m` | 8 | 1,200; 3 MiB | - | - | - |"


@needs_plugin
@pytest.mark.parametrize(("model", "precision"), [("model4", "float32"), ("resnet18_cifar", "bfloat16")])
def test_ours_asks_no_more_of_a_gpu_than_hand_written_jax_nor_for_results_that_repeat(model, precision):
    settings = Settings(models=(model,), batch_sizes=(512,), precision=precision, sections=("kernels",))
    (row,) = kernels.measure(settings, False, lambda line: None)
    ours, plain, stock, deterministic = (row["programs"][name] for name in kernels.PROGRAMS)
    assert ours["error"] is None
    for what in ("kernels", "bytes"):
        # A kernel more or less depends on what XLA fuses.
        assert ours[what] <= 1.02 * plain[what] < 1.02 * stock[what]
    assert ours["library_calls"] == plain["library_calls"] == stock["library_calls"]
    assert deterministic == ours
