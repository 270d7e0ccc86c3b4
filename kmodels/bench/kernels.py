"""What a training step asks of a GPU: how many kernels, and how many bytes they read and write (JAX).

The programs are compiled for an H100, whether there is a GPU here or not, and nothing is run. A small network's step
is bound by the number of its kernels, a large one's (except for convolutions) by the bytes; with the same version of
JAX both are the same on every machine. They are not times: for those see the other sections. A call of cuDNN or cuBLAS
counts as one kernel; its algorithm is chosen on the GPU.
"""

import jax

from kmodels.bench.blocks import build_network
from kmodels.bench.gpu_target import sharding
from kmodels.bench.program_text import kernels

# An epoch as one program is counted by the step that it repeats.
STEPS = 8


def count(job, report, program):
    """Compiles one of `gpu_target.PROGRAMS` and counts its kernels; in a worker with its environment.

    Returns:
        {"kernels": of a step, "bytes": that these read and write, "library_calls" and "library_bytes": of these the
        ones of cuDNN and cuBLAS, "temporary_bytes": of memory beside arguments and results}.
    """
    lowered = {"jax-epoch": _hand_written, "stock-fit": _stock}.get(program, _ours)
    compiled = lowered(job, sharding()).compile()
    found = kernels(compiled.as_text())
    library = [kernel for kernel in found if kernel.library]
    return {
        "kernels": len(found),
        "bytes": sum(kernel.bytes for kernel in found),
        "library_calls": len(library),
        "library_bytes": sum(kernel.bytes for kernel in library),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }


def _ours(job, gpu):
    from kmodels.bench.ours import state_of, training_of

    trainer = training_of(job, steps=1).trainer
    images, labels = _images_and_labels(job, STEPS * job.batch_size)
    chunk = {"images": images, "steps": jax.ShapeDtypeStruct((STEPS, job.batch_size), "int32")}
    return lower(trainer.train_step, gpu, state_of(trainer), (chunk, labels))


def _hand_written(job, gpu):
    from kmodels.bench.jax_twin import epoch_of, training

    step, state = training(build_network(job), job.optimizer, job.learning_rate)
    return lower(epoch_of(step, job.batch_size), gpu, state, *_images_and_labels(job, STEPS * job.batch_size))


def _stock(job, gpu):
    from kmodels.bench.ours import state_of, stock_network
    from kmodels.training.trainer import build_state

    network = stock_network(job)
    build_state(network)
    return lower(network.train_step, gpu, state_of(network), _images_and_labels(job, job.batch_size))


def _images_and_labels(job, examples):
    images = jax.ShapeDtypeStruct((examples, job.image_size, job.image_size, 3), "uint8")
    return images, jax.ShapeDtypeStruct((examples,), "int32")


def lower(step, sharding, state, *data):
    """A step lowered for arguments with a sharding, of which only shapes and types count.

    Args:
        step: `step(state, *data)`.
        sharding: from `gpu_target.sharding`.
        state: arrays in tuples, lists and dicts; donated.
        *data: arrays too.

    Returns:
        A jax.stages.Lowered.
    """
    arguments = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), (state, *data))
    return jax.jit(step, donate_argnums=0).lower(*arguments)
