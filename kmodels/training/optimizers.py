"""PyTorch's optimizers in Keras: same constants, same arithmetic.

Each subclass keeps Keras' slots and learning-rate handling and replaces the update of one variable. What differs in
stock Keras: where epsilon is added (Adam, RMSprop, Adagrad), that the learning rate is folded into the momentum
buffer (SGD; visible once the rate changes), and that weight decay is decoupled for every optimizer (PyTorch adds it
to the gradient, except for AdamW).

Weight decay and momentum are variables, as the learning rate is: a compiled step serves all their values.

Source: the update rules in the documentation of torch.optim.
"""

import keras
from keras import ops

from kmodels.errors import unknown

TORCH_WEIGHT_DECAY = {"adamw": 0.01}


def build_optimizer(name, learning_rate, *, momentum=0.0, weight_decay=None, loss_scale=None):
    """An optimizer with PyTorch's defaults.

    Args:
        name: "adam", "adamw", "sgd", "rmsprop" or "adagrad".
        learning_rate: above 0.
        momentum: of sgd and rmsprop.
        weight_decay: None for PyTorch's default: 0.01 for adamw, 0 for the others.
        loss_scale: what the loss is multiplied by before the gradients are taken, and they divided by after; for
            float16, in which small gradients vanish.

    Raises:
        InputError: for an unknown name.
    """
    decay = TORCH_WEIGHT_DECAY.get(name, 0.0) if weight_decay is None else weight_decay
    settings = {"torch_decay": decay, "loss_scale_factor": loss_scale}
    if name == "adam":
        return Adam(learning_rate, epsilon=1e-8, **settings)
    if name == "adamw":
        return Adam(learning_rate, epsilon=1e-8, decoupled=True, **settings)
    if name == "sgd":
        return SGD(learning_rate, momentum=momentum, **settings)
    if name == "rmsprop":
        return RMSprop(learning_rate, rho=0.99, momentum=momentum, epsilon=1e-8, **settings)
    if name == "adagrad":
        return Adagrad(learning_rate, initial_accumulator_value=0.0, epsilon=1e-10, **settings)
    raise unknown("optimizer", name, ("adam", "adamw", "sgd", "rmsprop", "adagrad"))


class _TorchOptimizer:
    """Takes weight decay off as PyTorch does, then leaves the update of one variable to `torch_step`.

    Args:
        torch_decay: PyTorch's `weight_decay`: this times the variable is added to the gradient.
        decoupled: take this times the rate times the variable from the variable instead, as AdamW does.
    """

    def __init__(self, *args, torch_decay=0.0, decoupled=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoupled = decoupled
        self.torch_decay = self._value(torch_decay, "torch_decay")
        self.torch_momentum = self._value(getattr(self, "momentum", 0.0), "torch_momentum")

    def _value(self, number, name):
        return self.add_variable((), keras.initializers.Constant(number), name=name)

    def update_step(self, gradient, variable, learning_rate):
        rate, decay = ops.cast(learning_rate, variable.dtype), ops.cast(self.torch_decay, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if self.decoupled:
            self.assign_sub(variable, rate * decay * variable)
        else:
            gradient = gradient + decay * variable
        self.torch_step(gradient, variable, rate, self._get_variable_index(variable))

    def get_config(self):
        decay = float(ops.convert_to_numpy(self.torch_decay))
        return {**super().get_config(), "torch_decay": decay, "decoupled": self.decoupled}


@keras.saving.register_keras_serializable("kmodels")
class SGD(_TorchOptimizer, keras.optimizers.SGD):
    """buffer = momentum * buffer + g; w -= rate * buffer."""

    def torch_step(self, gradient, variable, rate, index):
        step = gradient
        # Without momentum there is no buffer; with it, its value is a variable.
        if self.momentum:
            step = ops.cast(self.torch_momentum, variable.dtype) * self.momentums[index] + gradient
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
            step = ops.cast(self.torch_momentum, variable.dtype) * self._momentums[index] + step
            self.assign(self._momentums[index], step)
        self.assign_sub(variable, rate * step)


@keras.saving.register_keras_serializable("kmodels")
class Adagrad(_TorchOptimizer, keras.optimizers.Adagrad):
    """sum += g^2; w -= rate * g / (sqrt(sum) + epsilon)."""

    def torch_step(self, gradient, variable, rate, index):
        total = self._accumulators[index]
        self.assign_add(total, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(total) + self.epsilon))
