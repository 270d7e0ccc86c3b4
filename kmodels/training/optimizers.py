"""PyTorch's optimizers in Keras: same constants, same arithmetic; and how the learning rate changes.

Each subclass keeps Keras' slots and learning-rate handling and replaces the update of one variable. Stock Keras differs
in where epsilon is added (Adam, RMSprop, Adagrad), in that the learning rate is folded into the momentum buffer (SGD;
visible once the rate changes), and in that weight decay is decoupled for every optimizer (PyTorch adds it to the
gradient, except for AdamW).

Source: the update rules in the documentation of torch.optim.
"""

import keras
from keras import ops
from keras.optimizers import schedules

from kmodels.errors import InputError, not_copied, require, unknown
from kmodels.experiment import SCHEDULES

DEFAULT_RATE = 1e-3
# What exclude_from_weight_decay sets, and no configuration has.
EXCLUDED = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern")


def build_optimizer(optimizer, learning_rate=None, *, momentum=0.0, weight_decay=None, loss_scale=None):
    """An optimizer that nothing else uses: by name with PyTorch's defaults, or a copy of a Keras optimizer.

    Args:
        optimizer: "adam", "adamw", "sgd", "rmsprop" or "adagrad"; or a keras.optimizers.Optimizer, of which a copy
            without state is returned, so that a second run with the same object begins as the first one did.
        learning_rate: above 0, or a Keras schedule; None: 0.001, or that of the optimizer given.
        momentum: of sgd and rmsprop; a Keras optimizer has its own.
        weight_decay: None: PyTorch's default (adamw 0.01, others 0); a Keras optimizer has its own.
        loss_scale: what the loss is multiplied by before the gradients are computed, and they divided by after; for
            float16, in which small gradients vanish. None: that of the optimizer given.

    Raises:
        InputError: for an unknown name, something that is no optimizer, settings that a Keras optimizer has itself, one
            that averages weights or adapts the scale of the loss, or one that cannot be copied.
    """
    if isinstance(optimizer, str):
        if optimizer not in TORCH:
            raise unknown("optimizer", optimizer, TORCH)
        kind, settings = TORCH[optimizer]
        if kind in (SGD, RMSprop):
            settings = {**settings, "momentum": momentum}
        if weight_decay is not None:
            settings = {**settings, "torch_decay": weight_decay}
        rate = DEFAULT_RATE if learning_rate is None else learning_rate
        return kind(rate, **settings, loss_scale_factor=loss_scale)
    rule = "optimizer must be a name or a keras.optimizers.Optimizer"
    require(isinstance(optimizer, keras.optimizers.Optimizer), rule, optimizer)
    given = {"learning_rate": learning_rate, "momentum": momentum or None, "weight_decay": weight_decay}
    given = {name: value for name, value in given.items() if value is not None}
    require(not given, f"{' and '.join(given)} must be left out where optimizer is an object that has its own", given)
    rule = "optimizer must have use_ema=False: the weights that are validated and kept are the trained ones"
    require(not optimizer.use_ema, f"{rule}, not their averages", "use_ema=True")
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    rule = "optimizer must not be a LossScaleOptimizer, but the one inside it: in float16 the loss is scaled anyway"
    require(not scaled, rule, type(optimizer).__name__)
    given = optimizer.loss_scale_factor
    return copy_of(optimizer, loss_scale_factor=loss_scale if given is None else given)


def copy_of(optimizer, **changes):
    """A copy of a Keras optimizer without its state.

    Args:
        optimizer: a keras.optimizers.Optimizer. A schedule of its learning rate is used as it is, and variables that
            it excludes from weight decay are excluded.
        **changes: other values of its configuration.

    Raises:
        InputError: for one that its class cannot make again from its configuration.
    """
    try:
        copy = type(optimizer).from_config({**configuration(optimizer), **changes})
    except Exception as error:
        raise not_copied("optimizer", optimizer, error) from error
    for name in EXCLUDED:
        if hasattr(optimizer, name):
            setattr(copy, name, getattr(optimizer, name))
    return copy


def configuration(optimizer):
    """What get_config of a Keras optimizer returns, with a schedule of the learning rate as it is.

    Keras would serialize the schedule, which not every one can be.
    """
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable):
        return optimizer.get_config()
    without = object.__new__(type(optimizer))
    vars(without).update(vars(optimizer), _learning_rate=None)
    return {**without.get_config(), "learning_rate": rate}


def set_schedule(optimizer, schedule, *, warmup_steps, total_steps, plateaus=False):
    """Makes the learning rate of an optimizer follow a schedule, per step.

    Args:
        optimizer: with a constant learning rate, from which the schedule begins.
        schedule: None or "plateau" (a callback's work): constant; "cosine" or "linear": to 0 at the last step; or a
            keras.optimizers.schedules.LearningRateSchedule.
        warmup_steps: in which the rate rises linearly from 0 to the first rate of the schedule, before that begins.
        total_steps: of the training, warm-up included.
        plateaus: whether a callback will lower the rate on plateaus, as with schedule "plateau".

    Raises:
        InputError: for an unknown schedule; for any where the optimizer has a schedule of its own; and for plateaus
            with a warm-up or another schedule, since a callback can lower a constant rate only.
    """
    plateaus = plateaus or schedule == "plateau"
    constant = schedule in (None, "plateau") and not warmup_steps
    if constant and not plateaus:
        return
    if not isinstance(optimizer.learning_rate, keras.Variable):
        raise InputError(
            "schedule, warmup_epochs and plateau_patience must be left out where the optimizer has a schedule of its "
            f"own. Received: schedule={schedule!r}"
        )
    rule = "warmup_epochs and schedules go with each other, not with plateaus, which lower a constant learning rate"
    require(constant or not plateaus, rule, {"schedule": schedule, "warm-up steps": warmup_steps})
    if constant:
        return
    rate, steps = float(ops.convert_to_numpy(optimizer.learning_rate)), max(total_steps - warmup_steps, 1)
    if schedule == "cosine":
        schedule = schedules.CosineDecay(rate, steps)
    elif schedule == "linear":
        schedule = schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0)
    elif isinstance(schedule, str):
        raise unknown("schedule", schedule, SCHEDULES, "or a Keras schedule")
    elif schedule is not None:
        rule = "schedule must be a name or a keras.optimizers.schedules.LearningRateSchedule"
        require(isinstance(schedule, schedules.LearningRateSchedule), rule, schedule)
        rate = float(ops.convert_to_numpy(schedule(ops.zeros(()))))
    optimizer.learning_rate = WarmUp(rate, warmup_steps, schedule) if warmup_steps else schedule


@keras.saving.register_keras_serializable("kmodels")
class WarmUp(schedules.LearningRateSchedule):
    """A learning rate that rises linearly over the first steps, then follows a schedule, or stays.

    Args:
        rate: what it rises to, from rate / steps in the first step.
        steps: how many.
        then: a LearningRateSchedule, which begins at its step 0 when the rise has ended; None: constant.
    """

    def __init__(self, rate, steps, then=None):
        super().__init__()
        self.rate, self.steps, self.then = rate, steps, then

    def __call__(self, step):
        step = ops.cast(step, "float32")
        after = self.then(ops.maximum(step - self.steps, 0)) if self.then else self.rate
        return ops.where(step < self.steps, self.rate * (step + 1) / self.steps, ops.cast(after, "float32"))

    def get_config(self):
        then = self.then and keras.saving.serialize_keras_object(self.then)
        return {"rate": self.rate, "steps": self.steps, "then": then}

    @classmethod
    def from_config(cls, config):
        then = config["then"] and keras.saving.deserialize_keras_object(config["then"])
        return cls(config["rate"], config["steps"], then)


class _TorchOptimizer:
    """Takes weight decay off as PyTorch does, then leaves the update of one variable to `torch_step`.

    Args:
        torch_decay: PyTorch's `weight_decay`: this times the variable is added to the gradient.
        decoupled: take this times the rate times the variable from the variable instead, as AdamW does.
    """

    def __init__(self, *args, torch_decay=0.0, decoupled=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.torch_decay, self.decoupled = torch_decay, decoupled

    def apply(self, grads, trainable_variables=None):
        super().apply(list(map(_dense, grads)), trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        rate, decay = ops.cast(learning_rate, variable.dtype), ops.cast(self.torch_decay, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.torch_decay and self.decoupled:
            self.assign_sub(variable, rate * decay * variable)
        elif self.torch_decay:
            gradient = gradient + decay * variable
        self.torch_step(gradient, variable, rate, self._get_variable_index(variable))

    def get_config(self):
        return {**super().get_config(), "torch_decay": self.torch_decay, "decoupled": self.decoupled}


def _dense(gradient):
    """A gradient as a tensor. TensorFlow has that of an Embedding by rows, which may repeat: their sum counts."""
    if keras.backend.backend() != "tensorflow" or gradient is None:
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


@keras.saving.register_keras_serializable("kmodels")
class SGD(_TorchOptimizer, keras.optimizers.SGD):
    """buffer = momentum * buffer + g; w -= rate * buffer."""

    def torch_step(self, gradient, variable, rate, index):
        step = gradient
        # Without momentum there is no buffer.
        if self.momentum:
            step = ops.cast(self.momentum, variable.dtype) * self.momentums[index] + gradient
            self.assign(self.momentums[index], step)
        self.assign_sub(variable, rate * step)


@keras.saving.register_keras_serializable("kmodels")
class Adam(_TorchOptimizer, keras.optimizers.Adam):
    """w -= rate * m' / (sqrt(v') + epsilon), with the bias-corrected moments m' and v'.

    The corrections are numbers, not arrays: an update of all weights is bound by memory, and here by divisions too. On
    PyTorch, which computes one operation at a time, its own kernel goes over memory once instead of sixteen times.
    """

    def torch_step(self, gradient, variable, rate, index):
        mean, square = self._momentums[index], self._velocities[index]
        if _has_kernel(variable):
            _in_one_pass(self, gradient, variable, rate, mean, square)
            return
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(square, self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        rate = rate / (1 - ops.power(self.beta_1, step))
        root = ops.sqrt(square) * ops.rsqrt(1 - ops.power(self.beta_2, step))
        self.assign_sub(variable, rate * mean / (root + self.epsilon))


def _has_kernel(variable):
    """Whether PyTorch computes, and has Adam as one kernel for such a variable."""
    return keras.backend.backend() == "torch" and variable.value.device.type in ("cpu", "cuda")


def _in_one_pass(optimizer, gradient, variable, rate, mean, square):
    from torch.optim.adam import adam

    adam(
        [variable.value],
        # The kernel takes all arrays as they lie in memory.
        [gradient.contiguous()],
        [mean.value],
        [square.value],
        [],
        # The number of the last step; it adds one.
        [ops.cast(optimizer.iterations, "float32")],
        fused=True,
        amsgrad=False,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        lr=rate,
        weight_decay=0.0,
        eps=optimizer.epsilon,
        maximize=False,
    )


@keras.saving.register_keras_serializable("kmodels")
class RMSprop(_TorchOptimizer, keras.optimizers.RMSprop):
    """v = rho * v + (1 - rho) * g^2; step = g / (sqrt(v) + epsilon), through a momentum buffer if there is one."""

    def torch_step(self, gradient, variable, rate, index):
        square = self._velocities[index]
        self.assign(square, self.rho * square + (1 - self.rho) * ops.square(gradient))
        step = gradient / (ops.sqrt(square) + self.epsilon)
        if self.momentum:
            step = ops.cast(self.momentum, variable.dtype) * self._momentums[index] + step
            self.assign(self._momentums[index], step)
        self.assign_sub(variable, rate * step)


@keras.saving.register_keras_serializable("kmodels")
class Adagrad(_TorchOptimizer, keras.optimizers.Adagrad):
    """sum += g^2; w -= rate * g / (sqrt(sum) + epsilon)."""

    def torch_step(self, gradient, variable, rate, index):
        total = self._accumulators[index]
        self.assign_add(total, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(total) + self.epsilon))


# PyTorch's names and constants.
TORCH = {
    "adam": (Adam, {"epsilon": 1e-8}),
    "adamw": (Adam, {"epsilon": 1e-8, "decoupled": True, "torch_decay": 0.01}),
    "sgd": (SGD, {}),
    "rmsprop": (RMSprop, {"rho": 0.99, "epsilon": 1e-8}),
    "adagrad": (Adagrad, {"initial_accumulator_value": 0.0, "epsilon": 1e-10}),
}
