"""What a training step asks of a GPU: how many kernels, and how many bytes they read and write (JAX).

The programs are compiled for an H100, whether there is a GPU here or not, and nothing is run. A small network's step
is bound by the number of its kernels, a large one's, but for its convolutions, by the bytes; with the same JAX both are
the same on every machine. They are no times: for those see the other sections. A call of cuDNN or cuBLAS counts as one
kernel; which of its algorithms it will be is chosen on the GPU.
"""

from kmodels.bench.contenders import Contender
from kmodels.bench.gpu_target import DETERMINISTIC_ENVIRONMENT, ENVIRONMENT, NAME
from kmodels.bench.memory import MEBIBYTE
from kmodels.bench.workers import Worker, WorkerError

# An epoch as one program is counted by the step that it repeats.
STEPS = 8
# What is compiled, and the environment that it is compiled in.
PROGRAMS = {
    "ours-epoch": ENVIRONMENT,
    "jax-epoch": ENVIRONMENT,
    "stock-fit": ENVIRONMENT,
    "deterministic": DETERMINISTIC_ENVIRONMENT,
}


def measure(settings, gpu, say):
    """Arguments as in `throughput.measure`; the networks are those usual for a GPU.

    Yields:
        Dicts of model, batch_size, gpu (the one compiled for), and programs: {one of PROGRAMS: what `count` returns and
        error, None or what went wrong}; "deterministic" is ours-epoch so compiled that results repeat.
    """
    for job in settings.jobs(gpu=True):
        say(f"{job.model}, batch {job.batch_size}: compiled for {NAME}")
        programs = {name: _counted(name, job, say) for name in PROGRAMS}
        yield {"model": job.model, "batch_size": job.batch_size, "gpu": NAME, "programs": programs}


def _counted(name, job, say):
    with Worker(Contender(name, ""), PROGRAMS[name], say) as worker:
        try:
            order = {"function": "kmodels.bench.kernels:count", "job": job.as_dict(), "program": name}
            found = {**worker.ask("call", **order), "error": None}
        except WorkerError as error:
            say(f"  {name} failed: {error}")
            return {"error": str(error)}
    say(f"  {name}: {found['kernels']:,} kernels, {found['bytes'] / MEBIBYTE:,.0f} MiB")
    return found


def count(job, report, program):
    """Compiles one of PROGRAMS; in a worker with its environment.

    Returns:
        {"kernels": of a step, "bytes": that these read and write, "library_calls" and "library_bytes": of these the
        ones of cuDNN and cuBLAS, "temporary_bytes": of memory beside arguments and results}.
    """
    from kmodels.bench.gpu_target import sharding
    from kmodels.bench.program_text import kernels

    compiled = _LOWERED[program](job, sharding()).compile()
    found = kernels(compiled.as_text())
    library = [kernel for kernel in found if kernel.library]
    return {
        "kernels": len(found),
        "bytes": sum(kernel.bytes for kernel in found),
        "library_calls": len(library),
        "library_bytes": sum(kernel.bytes for kernel in library),
        "temporary_bytes": compiled.memory_analysis().temp_size_in_bytes,
    }


def _ours(job, place):
    import jax

    from kmodels.bench.ours import new_trainer, state_of

    trainer = new_trainer(job)
    images, labels = _split(job)
    chunk = {"images": images, "steps": jax.ShapeDtypeStruct((STEPS, job.batch_size), "int32")}
    return lower(trainer.train_step, place, state_of(trainer), (chunk, labels))


def _plain(job, place):
    from kmodels.bench.plain import training
    from kmodels.bench.plain_training import epoch_of

    step, state = training(job)
    return lower(epoch_of(step, job.batch_size), place, state, *_split(job))


def _stock(job, place):
    import jax

    from kmodels.bench.ours import state_of, stock_network
    from kmodels.training.trainer import build_state

    network = stock_network(job)
    build_state(network)
    batch = [jax.ShapeDtypeStruct((job.batch_size, *array.shape[1:]), array.dtype) for array in _split(job)]
    return lower(network.train_step, place, state_of(network), tuple(batch))


_LOWERED = {"ours-epoch": _ours, "jax-epoch": _plain, "stock-fit": _stock, "deterministic": _ours}


def _split(job):
    """The images and labels of an epoch of STEPS, by shape and type."""
    import jax

    examples = STEPS * job.batch_size
    images = jax.ShapeDtypeStruct((examples, job.image_size, job.image_size, 3), "uint8")
    return images, jax.ShapeDtypeStruct((examples,), "int32")


def lower(step, place, state, *data):
    """A step lowered for arguments that lie at a place, of which only shapes and types count; its state is donated."""
    import jax

    state, *data = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), (state, *data))
    return jax.jit(step, donate_argnums=0).lower(state, *data)
