"""A long sweep in one process does not fill the memory."""

import gc
from dataclasses import replace

import pytest
from harness import memory

from kmodels import run

MIB = 2**20


@pytest.mark.slow
def test_twelve_learning_rates_in_one_process_take_no_more_memory_than_five(tiny, tmp_path):
    used = []
    for number in range(12):
        run(replace(tiny, augmentation="none", learning_rate=0.001 * (number + 1)), 0, tmp_path, verbose=0)
        gc.collect()
        used.append(memory("VmRSS"))
    # What stays of a run are names and compiled programs; its images, weights and graphs do not. TensorFlow keeps most:
    # 3.8 MiB a run were measured, of JAX 0.1, of PyTorch none.
    growth = (used[-1] - used[4]) / (len(used) - 5)
    assert growth < 5 * MIB, [round(bytes_ / MIB) for bytes_ in used]
