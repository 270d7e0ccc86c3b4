"""Optimizers: the same weights as PyTorch's after several steps."""

import keras
import numpy as np
import pytest

from kmodels import InputError
from kmodels.experiment import OPTIMIZERS
from kmodels.training.optimizers import build_optimizer, set_schedule
from kmodels.training.settings import described

CASES = [
    ("adam", {}),
    ("adam", {"weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.3}),
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1}),
    ("rmsprop", {}),
    ("rmsprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"weight_decay": 0.1}),
]
TORCH_CLASSES = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "rmsprop": "RMSprop", "adagrad": "Adagrad"}


def gradients():
    """Six gradients of ten weights, over many magnitudes and with exact zeros."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 10)) * 10.0 ** rng.integers(-9, 2, (6, 10))
    values[:, 0] = 0
    return values.astype(np.float32)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_equal_to_torch_also_after_the_rate_changes(name, settings):
    torch = pytest.importorskip("torch")
    start = np.linspace(-1, 1, 10).astype(np.float32)
    ours = keras.Variable(start)
    optimizer = build_optimizer(name, 0.01, **settings)
    optimizer.build([ours])
    theirs = torch.nn.Parameter(torch.tensor(start))
    reference = getattr(torch.optim, TORCH_CLASSES[name])([theirs], lr=0.01, **settings)
    for step, gradient in enumerate(gradients()):
        if step == 3:
            optimizer.learning_rate = 0.001
            reference.param_groups[0]["lr"] = 0.001
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [ours])
        theirs.grad = torch.tensor(gradient)
        reference.step()
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), theirs.detach().cpu().numpy(), atol=1e-6, err_msg=f"step {step}"
        )
    assert np.abs(keras.ops.convert_to_numpy(ours) - start).max() > 1e-3


@pytest.mark.parametrize("loss_scale", [None, 8.0])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_equal_to_torch_for_the_rows_of_an_embedding(name, settings, loss_scale):
    # TensorFlow has the gradients of such rows by their indices, some of them twice.
    torch = pytest.importorskip("torch")
    indices, targets = np.array([[0, 1, 1], [3, 1, 0]]), np.ones((2, 2), np.float32)
    start = np.linspace(-1, 1, 10).astype(np.float32).reshape(5, 2)
    embedding = keras.layers.Embedding(5, 2)
    ours = keras.Sequential([keras.Input((3,), dtype="int32"), embedding, keras.layers.GlobalAveragePooling1D()])
    embedding.set_weights([start])
    ours.compile(build_optimizer(name, 0.01, **settings, loss_scale=loss_scale), "mse", auto_scale_loss=False)
    theirs = torch.nn.Embedding.from_pretrained(torch.tensor(start), freeze=False)
    reference = getattr(torch.optim, TORCH_CLASSES[name])(theirs.parameters(), lr=0.01, **settings)
    for _ in range(3):
        ours.train_on_batch(indices, targets)
        reference.zero_grad()
        torch.nn.functional.mse_loss(theirs(torch.tensor(indices)).mean(1), torch.tensor(targets)).backward()
        reference.step()
    np.testing.assert_allclose(embedding.get_weights()[0], theirs.weight.detach().cpu().numpy(), atol=1e-6)
    assert np.abs(embedding.get_weights()[0] - start).max() > 1e-3


def test_a_gradient_may_lie_in_memory_in_another_order():
    # As that of a convolution on PyTorch: its numbers are another row of the same memory.
    gradient = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
    turned = keras.ops.transpose(keras.ops.convert_to_tensor(np.ascontiguousarray(gradient.T)))
    results = []
    for given in (gradient, turned):
        weights = keras.Variable(np.zeros((2, 3), np.float32))
        optimizer = build_optimizer("adam", 0.1, weight_decay=0.1)
        optimizer.build([weights])
        for _ in range(2):
            optimizer.apply([keras.ops.multiply(given, weights + 1.0)], [weights])
        results.append(keras.ops.convert_to_numpy(weights))
    np.testing.assert_allclose(*results, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_saved_and_loaded_it_has_the_same_settings(name):
    optimizer = build_optimizer(name, 0.02, weight_decay=0.1)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    assert type(again) is type(optimizer)


def test_an_unknown_optimizer_offers_the_nearest():
    with pytest.raises(InputError, match="unknown optimizer 'adamm'; did you mean adam"):
        build_optimizer("adamm", 0.1)


def rates(optimizer, steps):
    """The learning rates of so many steps."""
    weights = keras.Variable(np.zeros(2, np.float32))
    optimizer.build([weights])
    found = []
    for _ in range(steps):
        found.append(float(keras.ops.convert_to_numpy(optimizer.learning_rate)))
        optimizer.apply([keras.ops.ones(2)], [weights])
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, [0.05, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ("linear", [0.05, 0.1, 0.1, 0.075, 0.05, 0.025]),
        ("cosine", [0.05, 0.1, 0.1, 0.0853553, 0.05, 0.0146447]),
        (keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.3, 0.2]), [0.15, 0.3, 0.3, 0.3, 0.2, 0.2]),
    ],
)
def test_a_warm_up_ends_where_the_schedule_begins(schedule, expected):
    for optimizer in (build_optimizer("sgd", 0.1), keras.optimizers.Lion(0.1)):
        set_schedule(optimizer, schedule, warmup_steps=2, total_steps=6)
        assert rates(optimizer, 6) == pytest.approx(expected, abs=1e-6)
        again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
        assert rates(again, 6) == pytest.approx(expected, abs=1e-6)


def test_a_keras_optimizer_is_copied_without_its_state():
    given = keras.optimizers.Lion(0.3, beta_1=0.8)
    rates(given, 3)
    copy = build_optimizer(given)
    assert copy.get_config() == given.get_config()
    assert int(keras.ops.convert_to_numpy(copy.iterations)) == 0
    assert build_optimizer(given, loss_scale=8.0).loss_scale_factor == 8.0
    with pytest.raises(InputError, match="learning_rate and weight_decay must be left out"):
        build_optimizer(given, 0.1, weight_decay=0.1)
    with pytest.raises(InputError, match=r"Optimizer. Received: <class"):
        build_optimizer(keras.optimizers.Lion)


@pytest.mark.parametrize("by", ["name", "variable"])
def test_a_copy_excludes_the_same_variables_from_weight_decay(by):
    given, kept, decayed = keras.optimizers.AdamW(0.1, weight_decay=0.5), *_ones("bias", "kernel")
    given.exclude_from_weight_decay(**{"var_names": ["bias"]} if by == "name" else {"var_list": [kept]})
    copy = build_optimizer(given)
    copy.build([kept, decayed])
    copy.apply([keras.ops.zeros(2)] * 2, [kept, decayed])
    assert np.all(keras.ops.convert_to_numpy(kept) == 1)
    assert np.all(keras.ops.convert_to_numpy(decayed) < 1)


def _ones(*names):
    return [keras.Variable(np.ones(2, np.float32), name=name) for name in names]


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """Has no get_config, and is not registered."""

    def __call__(self, step):
        return 0.1 / (1 + keras.ops.cast(step, "float32"))


def constant():
    return 0.1


@pytest.mark.parametrize("make", [lambda rate: keras.optimizers.SGD(rate), lambda rate: build_optimizer("sgd", rate)])
@pytest.mark.parametrize(
    ("rate", "expected"), [(Falling(), [0.1, 0.05]), (constant, [0.1] * 2), (lambda: 0.1, [0.1] * 2)]
)
def test_a_learning_rate_that_keras_cannot_save_is_used_as_it_is(make, rate, expected):
    given = make(rate)
    copy = build_optimizer(given)
    assert type(copy) is type(given)
    assert rates(copy, 2) == pytest.approx(expected)
    with pytest.raises(InputError, match="the optimizer has a schedule of its own"):
        set_schedule(copy, "cosine", warmup_steps=0, total_steps=5)
    assert described(given)["learning_rate"] in ({"class": "Falling"}, "constant", "<lambda>")


class Scaled(keras.optimizers.SGD):
    """An argument that get_config lacks."""

    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor


def test_an_optimizer_that_cannot_be_copied_is_refused_with_what_to_do():
    message = r"optimizer Scaled cannot be copied .*'factor'.* a get_config that returns all arguments of its __init__"
    with pytest.raises(InputError, match=message):
        build_optimizer(Scaled(2.0, learning_rate=0.1))
    with pytest.raises(InputError, match="must not be a LossScaleOptimizer"):
        build_optimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), loss_scale=8.0)


def test_an_optimizer_that_averages_weights_is_refused():
    with pytest.raises(InputError, match=r"must have use_ema=False: .* are the trained ones, not their averages"):
        build_optimizer(keras.optimizers.Adam(use_ema=True))


def test_what_a_schedule_cannot_do_is_refused():
    scheduled = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5))
    with pytest.raises(InputError, match="the optimizer has a schedule of its own"):
        set_schedule(scheduled, "linear", warmup_steps=0, total_steps=5)
    with pytest.raises(InputError, match="unknown schedule 'cosin'; did you mean cosine"):
        set_schedule(build_optimizer("sgd", 0.1), "cosin", warmup_steps=0, total_steps=5)
    with pytest.raises(InputError, match="not with plateaus"):
        set_schedule(build_optimizer("sgd", 0.1), "plateau", warmup_steps=1, total_steps=5)
    with pytest.raises(InputError, match="not with plateaus"):
        set_schedule(build_optimizer("sgd", 0.1), "cosine", warmup_steps=0, total_steps=5, plateaus=True)
    with pytest.raises(InputError, match="plateau_patience must be left out where the optimizer has a schedule"):
        set_schedule(scheduled, "plateau", warmup_steps=0, total_steps=5)
