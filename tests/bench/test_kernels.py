"""What a program asks of a GPU, read from its text."""

import pytest

from kmodels.bench import gpu_target, run
from kmodels.bench.kernels import Kernel, kernels
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
  %indices = s32[8]{0} constant({...})
  %fusion.1 = bf16[8,2,2,3]{3,2,1,0} fusion(%images, /*index=1*/%indices), kind=kLoop, calls=%fused_gather
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
    assert kernels(TEXT) == [
        Kernel("fusion.1", gathered + 8 * 4 + 2 * gathered),
        Kernel("conv.1", 2 * gathered + 12 * 4 + 2 * feature_maps),
        Kernel("fusion.2", 2 * feature_maps + 2 * feature_maps + feature_maps),
    ]


def test_without_the_plugin_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gpu_target, "PLUGINS", ("xla_of_nobody",))
    with pytest.raises(InputError, match="jax-cuda12-plugin"):
        Settings(sections=("kernels",))


@needs_plugin
@pytest.mark.parametrize(("model", "precision"), [("model4", "float32"), ("resnet18_cifar", "bfloat16")])
def test_ours_asks_no_more_of_a_gpu_than_hand_written_jax_nor_for_results_that_repeat(model, precision):
    (job,) = Settings(models=(model,), batch_sizes=(512,), precision=precision, sections=("kernels",)).jobs(gpu=True)
    ours, plain, stock = run.kernels(job, print)["programs"].values()
    for what in ("kernels", "bytes"):
        # How many kernels exactly depends on what XLA fuses.
        assert ours[what] <= 1.02 * plain[what] < 1.02 * stock[what]
    environment = gpu_target.DETERMINISTIC_ENVIRONMENT
    assert run.call("kmodels.bench.kernels:count", environment, job=job, program="ours-epoch") == ours
