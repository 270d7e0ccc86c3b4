"""What a training step asks of a GPU: how many kernels, and how many bytes they read and write (JAX).

The programs are compiled for an H100, whether there is a GPU here or not, and nothing is run. A small network's step
is bound by the number of its kernels, a large one's (except for convolutions) by the bytes; with the same version of
JAX both are the same on every machine. They are not times: for those see the other sections. A call of cuDNN or cuBLAS
counts as one kernel; its algorithm is chosen on the GPU.
"""

import math
import re
from typing import NamedTuple

import jax

from kmodels.bench.blocks import build_network
from kmodels.bench.gpu_target import sharding
from kmodels.bench.jax_twin import adam, epoch_of, training
from kmodels.bench.ours import state_of, stock_network, training_of
from kmodels.training.trainer import build_state

# An epoch as one program is counted by the step that it repeats.
STEPS = 8


def count(job, program):
    """Compiles one of `gpu_target.PROGRAMS` and counts its kernels; in a worker with its environment.

    Returns:
        {"kernels": of a step, "bytes": that they read and write}.
    """
    examples = job.batch_size * (1 if program == "stock-fit" else STEPS)
    images = jax.ShapeDtypeStruct((examples, job.image_size, job.image_size, 3), "uint8")
    labels = jax.ShapeDtypeStruct((examples,), "int32")
    if program == "jax-epoch":
        step, state = training(build_network(job), adam(job.learning_rate))
        lowered = lower(epoch_of(step, job.batch_size), sharding(), state, images, labels)
    elif program == "stock-fit":
        network = stock_network(job)
        build_state(network)
        lowered = lower(network.train_step, sharding(), state_of(network), (images, labels))
    else:
        trainer = training_of(job, 1).trainer
        chunk = {"images": images, "steps": jax.ShapeDtypeStruct((STEPS, job.batch_size), "int32")}
        lowered = lower(trainer.train_step, sharding(), state_of(trainer), (chunk, labels))
    found = kernels(lowered.compile().as_text())
    return {"kernels": len(found), "bytes": sum(kernel.bytes for kernel in found)}


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


_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(?:.*calls=%?([\w.-]+))?")
_LOOP_OR_ENTRY = re.compile(r"(?:body=|^ENTRY )%?([\w.-]+)", re.MULTILINE)
_ARRAY = re.compile(r"[a-z]+(\d*)\w*\[([\d,]*)\]")
# These launch nothing on a GPU.
_NO_KERNEL = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all")
_PARTIAL = ("gather", "slice", "dynamic-slice")
# Scratch memory, which a library call returns beside its result.
_SCRATCH = re.compile(r", [su]8\[\d+\]\{0\}(?=\)$)")


class Kernel(NamedTuple):
    """A kernel of XLA's own, or a call of cuDNN or cuBLAS, and the bytes that it reads and writes."""

    name: str
    bytes: int


class _Operation(NamedTuple):
    """One line of a program: `name = type kind(arguments), calls=called`, where a fusion calls a computation."""

    name: str
    type: str
    kind: str
    arguments: list[str]
    called: str | None


def kernels(text):
    """The Kernels of a program for a GPU; of one that is a loop, those of one iteration.

    A loop within an iteration counts as one kernel that moves its arguments. Where a kernel takes a part of an array,
    that part counts; scratch memory does not.

    Args:
        text: the program as `jax.stages.Compiled.as_text` writes it.
    """
    computations, computation = {}, ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        elif match := _INSTRUCTION.match(line):
            name, type_, kind, arguments, called = match.groups()
            arguments = [word.strip().rpartition("%")[2] for word in arguments.split(",")]
            computations.setdefault(computation, []).append(_Operation(name, type_, kind, arguments, called))
    bodies = set(_LOOP_OR_ENTRY.findall(text)) & set(computations)
    return max((_launched(computations[name], computations) for name in bodies), key=len)


def _launched(body, computations):
    types, found = {operation.name: operation.type for operation in body}, []
    for op in body:
        if op.kind in _NO_KERNEL or op.kind.endswith("-done"):
            continue
        inside = computations.get(op.called, ()) if op.kind == "fusion" else ()
        read = sum(_read(number, types.get(name, ""), inside) for number, name in enumerate(op.arguments))
        written = _size(_SCRATCH.sub("", op.type) if op.kind == "custom-call" else op.type)
        found.append(Kernel(op.name, read + written))
    return found


def _read(number, type_, inside):
    """The bytes that a fusion reads of one argument: of its parts where only these are used."""
    names = {op.name for op in inside if op.kind == "parameter" and op.arguments == [str(number)]}
    users = [op for op in inside if names & set(op.arguments)]
    partial = [op for op in users if op.kind in _PARTIAL and op.arguments[0] in names]
    return sum(_size(op.type) for op in partial) if users and users == partial else _size(type_)


def _size(type_):
    """Bytes of an array, or of all arrays of a tuple."""
    return sum(
        int(bits or 8) // 8 * math.prod(int(side) for side in shape.split(",") if side)
        for bits, shape in _ARRAY.findall(type_)
    )
