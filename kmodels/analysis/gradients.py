"""Gradients on the three backends, of functions written with keras.ops."""

import keras


def gradient_of(function, zero):
    """The gradient of a function at `zero`, and what else the function returns.

    Where the function does not depend on its argument, the gradient is None, on JAX zeros.

    Args:
        function: from a tensor to a scalar and a tuple of further tensors.
        zero: a float32 tensor.
    """
    backends = {"jax": _jax_gradient, "tensorflow": _tensorflow_gradient, "torch": _torch_gradient}
    return backends[keras.backend.backend()](function, zero)


def depends_on(function, zero):
    """Whether the result of a function is computed from its argument; where it is, the gradient may be 0 all the same.

    Args:
        function: from a tensor to a tensor.
        zero: a float32 tensor.
    """
    if keras.backend.backend() == "jax":
        return _jax_depends(function, zero)
    return gradient_of(lambda x: (keras.ops.sum(function(x)), ()), zero)[0] is not None


def _jax_gradient(function, zero):
    import jax

    return jax.grad(function, has_aux=True)(zero)


def _tensorflow_gradient(function, zero):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(zero)
        value, seen = function(zero)
    return tape.gradient(value, zero), seen


def _torch_gradient(function, zero):
    import torch

    # Also where the caller has turned gradients off.
    with torch.inference_mode(False), torch.enable_grad():
        zero = zero.detach().clone().requires_grad_(True)
        value, seen = function(zero)
        gradient = torch.autograd.grad(value, zero, allow_unused=True)[0] if value.requires_grad else None
        return gradient, tuple(one.detach() for one in seen)


def _jax_depends(function, zero):
    import jax

    # The program only, which is not compiled.
    program = jax.make_jaxpr(function)(zero).jaxpr
    reached = set(map(id, program.invars))
    for equation in program.eqns:
        if any(id(value) in reached for value in equation.invars):
            reached.update(map(id, equation.outvars))
    return any(id(value) in reached for value in program.outvars)
