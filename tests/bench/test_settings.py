"""What a benchmark is asked is checked before anything starts."""

import pytest

from kmodels import MODELS, InputError
from kmodels.bench import contenders
from kmodels.bench import settings as module
from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.settings import Settings


def usual(gpu):
    """(models, contenders) of the jobs of a device, where the user chooses neither."""
    jobs = list(Settings().jobs(gpu))
    return [job.model for job in jobs[::2]], set(jobs[0].contenders)


def test_defaults_fit_the_device():
    (models, on_cpu), (gpu_models, on_gpu) = usual(gpu=False), usual(gpu=True)
    assert models == ["model4", "alexnet_cifar"]
    assert set(gpu_models) == set(module.DEFAULT_MODELS) & set(MODELS)
    assert {"ours", "jax", "stock-fit", "input"} <= on_cpu
    assert {"ours-epoch", "jax-epoch"} <= on_gpu - on_cpu


def test_what_is_not_installed_is_no_default_and_refused_by_name(monkeypatch):
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda name: name == "jax" or None)
    assert usual(gpu=False)[1] == {"ours", "jax", "stock-fit", "input"}
    with pytest.raises(InputError, match="contender 'torch' needs torch, which is not installed here"):
        Settings(contenders=("torch",))


def test_jobs_are_each_model_with_each_batch_size():
    jobs = list(Settings(models=("model1", "mlp"), batch_sizes=(8, 16)).jobs(gpu=True))
    expected = [("model1", 8), ("model1", 16), ("mlp", 8), ("mlp", 16)]
    assert [(job.model, job.batch_size) for job in jobs] == expected
    assert jobs[0].epoch_steps == jobs[0].program_steps == 50_000 // 8
    (job,) = Settings(models=("model1",), batch_sizes=(64,), image_size=256).jobs(gpu=False)
    assert (job.epoch_steps, job.program_steps) == (21, 20)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"models": ("model7",)}, "unknown model 'model7'"),
        ({"contenders": ("our",)}, "unknown contender 'our'; did you mean ours"),
        ({"sections": ("kernel",)}, "unknown section 'kernel'; did you mean kernels"),
        ({"sections": ()}, "sections needs one or more of throughput"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        ({"batch_sizes": (0,)}, "batch_sizes needs one or more numbers of at least 1"),
        ({"batch_sizes": ()}, "batch_sizes needs one or more numbers of at least 1"),
        ({"image_size": 4}, "image_size must be at least 8"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"block_seconds": 0}, "block_seconds must be at least 0.001"),
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(InputError, match=message):
        Settings(**mistake)


def test_the_command_names_every_contender_and_section():
    from kmodels import cli
    from kmodels.bench import run

    assert tuple(run.MEASURES) == module.SECTIONS
    # A contender on another backend has the name of it at the end.
    families = (name.removesuffix(f"-{entry.backend}") for name, entry in CONTENDERS.items())
    for name in (*families, *module.SECTIONS, *module.PRECISIONS):
        assert name in cli.bench.__doc__
