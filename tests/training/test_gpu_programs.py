"""Training steps compiled for a GPU, which need not be there, as for results that repeat.

What adds in an order of chance on a GPU is a scatter in the compiled program; where results are to repeat, XLA sorts
first, which costs more than the rest. (Which algorithms cuDNN may use then is chosen on the GPU.)
"""

import json
import os
import subprocess
import sys

import pytest

from kmodels.bench.gpu_target import DETERMINISTIC_ENVIRONMENT, has_plugin

PROGRAM = """
import json, sys
import numpy as np
from kmodels import build_model
from kmodels.bench.gpu_target import sharding
from kmodels.bench.kernels import lower
from kmodels.bench.ours import state_of
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_state, build_trainer

place, found = sharding(), {}
for model, augmentation, side in json.loads(sys.argv[1]):
    trainer = build_trainer(
        build_model(model, (side, side, 3), 10), build_optimizer("adam", 0.001), augmentation=augmentation,
        label_smoothing=0.1, class_weight=np.ones(10, np.float32),
    )
    build_state(trainer)
    batch = np.zeros((32, side, side, 3), np.uint8), np.zeros(32, np.int32)
    text = lower(trainer.train_step, place, state_of(trainer), batch).compile().as_text()
    found[f"{model}, {augmentation}"] = [word for word in ("scatter(", "sort(", " while(") if word in text]
    assert "__cudnn$conv" in text or "__cublas$" in text
print(json.dumps(found))
"""


@pytest.mark.skipif(not has_plugin(), reason="JAX's CUDA plugin is not installed")
@pytest.mark.parametrize(
    "cases",
    [
        [("model4", "everything", 32), ("model1", "mixup", 32), ("model1", "cutmix", 32), ("model1", "erase", 32)],
        [("alexnet", "none", 71), ("resnet18_cifar", "none", 32), ("mobilenet", "none", 32)],
        pytest.param([("densenet121", "none", 64), ("resnet50", "none", 64)], marks=pytest.mark.slow),
    ],
)
def test_a_compiled_training_step_neither_scatters_nor_sorts(cases):
    environment = {**os.environ, **DETERMINISTIC_ENVIRONMENT, "KERAS_BACKEND": "jax"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(cases)], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found) == len(cases)
    assert not any(found.values()), found
