"""What a benchmark is asked is checked before anything starts."""

import pytest

from kmodels import MODELS, InputError
from kmodels.bench import contenders
from kmodels.bench import settings as module
from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.settings import Settings


def test_defaults_fit_the_device():
    settings = Settings()
    assert settings.models_on(gpu=False) == ("model4", "alexnet_cifar")
    assert set(settings.models_on(gpu=True)) == set(module.DEFAULT_MODELS) & set(MODELS)
    assert {"ours", "jax", "stock-fit", "input"} <= set(settings.contenders_on(gpu=False))
    assert {"ours-epoch", "jax-epoch"} <= set(settings.contenders_on(gpu=True)) - set(settings.contenders_on(gpu=False))


def test_what_is_not_installed_is_no_default_and_refused_by_name(monkeypatch):
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda name: name == "jax" or None)
    assert set(Settings().contenders_on(gpu=False)) == {"ours", "jax", "stock-fit", "input"}
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
        ({"models": ("model1", "model1")}, "models must differ"),
        ({"contenders": ("our",)}, "unknown contender 'our'; did you mean ours"),
        ({"contenders": ("matmul",)}, "unknown contender 'matmul'"),
        ({"sections": ("memmory",)}, "unknown section 'memmory'; did you mean memory"),
        ({"sections": ()}, "sections needs one or more of throughput"),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        ({"optimizer": "rmsprop"}, "unknown optimizer 'rmsprop'; known: adam, sgd"),
        ({"batch_sizes": (0,)}, "batch_sizes needs one or more numbers of at least 1"),
        ({"batch_sizes": ()}, "batch_sizes needs one or more numbers of at least 1"),
        ({"batch_sizes": (8, 8)}, "batch_sizes must differ"),
        ({"image_size": 4}, "image_size must be at least 8"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"sections": ("memory",), "epochs": 7}, "epochs must be at least 8"),
    ],
)
def test_mistakes_are_named(mistake, message):
    with pytest.raises(InputError, match=message):
        Settings(**mistake)


def test_the_command_names_every_contender_and_section():
    from kmodels import cli
    from kmodels.bench import sections

    assert tuple(sections.MEASURES) == module.SECTIONS
    # A contender on another backend has the name of it at the end.
    families = (name.removesuffix(f"-{entry.backend}") for name, entry in CONTENDERS.items())
    for name in (*families, *module.SECTIONS, *module.PRECISIONS, *module.OPTIMIZERS):
        assert name in cli.bench.__doc__
