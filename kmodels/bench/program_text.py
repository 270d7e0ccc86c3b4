"""Reads the text of a compiled JAX program: what each operation is for, and the kernels of a program for a GPU.

XLA fuses and renames what a program computes, and keeps beside an operation the path of names that it was traced under:
`jit(train_step)/transpose(jvp(model4))/conv2/conv_general_dilated` belongs to the gradient of the layer conv2.
"""

import math
import re
from typing import NamedTuple

FORWARD, BACKWARD = "forward", "backward"
# On a CPU XLA turns the gradient of a kernel into another convolution and forgets where it came from.
KERNEL_GRADIENT = "convolution kernel"
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = ((\(.*?\)|\S+) ([\w-]+)\((.*?)\).*)$")
_PATH = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")
_LOOP_OR_ENTRY = re.compile(r"(?:body=|^ENTRY )%?([\w.-]+)", re.MULTILINE)
_ARRAY = re.compile(r"[a-z]+(\d*)\w*\[([\d,]*)\]")
# These launch nothing on a GPU.
_NO_KERNEL = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all")
_PARTIAL = ("gather", "slice", "dynamic-slice")
# Scratch memory, which a library call returns beside its result.
_SCRATCH = re.compile(r", [su]8\[\d+\]\{0\}(?=\)$)")


class Operation(NamedTuple):
    """One line of a program: its name, what it computes (`kind`) of which arguments, and the line itself."""

    computation: str
    name: str
    type: str
    kind: str
    arguments: tuple[str, ...]
    line: str

    @property
    def called(self):
        """The name of the computation that a fusion consists of; ""."""
        found = _CALLED.search(self.line)
        return found[1] if found else ""


def operations(text):
    """All Operations of a program, as `jax.stages.Compiled.as_text` writes it."""
    computation, found = "", []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        elif match := _INSTRUCTION.match(line):
            name, rest, type_, kind, arguments = match.groups()
            arguments = tuple(word.strip().rpartition("%")[2] for word in arguments.split(","))
            found.append(Operation(computation, name, type_, kind, arguments, rest))
    return found


def paths(text):
    """{operation: the path it was traced under, "" where none is known} of a program.

    An operation that XLA made itself, a copy or a layout, has no path of its own: it gets that of what it is made of,
    or else of the first operation that reads it.
    """
    found, inside, every = {}, {}, operations(text)
    for operation in every:
        path = _PATH.search(operation.line)
        found[operation.name] = path[1] if path else KERNEL_GRADIENT if operation.kind == "convolution" else ""
        inside[operation.computation] = inside.get(operation.computation) or found[operation.name]
    for operation in every:
        found[operation.name] = found[operation.name] or inside.get(operation.called, "")
    nameless = {name for name, path in found.items() if not path}
    # An operation comes after those that it reads: going backwards, its own path is known, and the first reader wins.
    for operation in reversed(every):
        for read in nameless.intersection(operation.arguments):
            found[read] = found[operation.name] or found[read]
    return found


class Purpose(NamedTuple):
    """What an operation is for: the name of a layer, "loss", "optimizer", KERNEL_GRADIENT or, for the rest, ""."""

    part: str
    direction: str


def purpose(path, layers, optimizer):
    """The Purpose of an operation.

    Args:
        path: from `paths`.
        layers: names of layers; of several in the path the last one counts.
        optimizer: the optimizer's name.
    """
    if path == KERNEL_GRADIENT:
        return Purpose(KERNEL_GRADIENT, BACKWARD)
    direction = BACKWARD if "transpose(" in path else FORWARD
    for part in reversed(re.split(r"[/()]", path)):
        if part in layers:
            return Purpose(part, direction)
        if part == optimizer:
            return Purpose("optimizer", FORWARD)
        if part == "compile_loss":
            return Purpose("loss", direction)
    return Purpose("", FORWARD)


class Kernel(NamedTuple):
    """A kernel of XLA's own, or a call of cuDNN or cuBLAS (`library`), and the bytes that it reads and writes."""

    name: str
    library: bool
    bytes: int


def kernels(text):
    """The Kernels of a program for a GPU; of one that is a loop, those of one iteration.

    A loop within an iteration counts as one kernel that moves its arguments. Where a kernel takes a part of an array,
    that part counts; scratch memory does not.
    """
    computations = {}
    for operation in operations(text):
        computations.setdefault(operation.computation, []).append(operation)
    bodies = set(_LOOP_OR_ENTRY.findall(text)) & set(computations)
    return max((_launched(computations[name], computations) for name in bodies), key=len)


def _launched(body, computations):
    types, found = {operation.name: operation.type for operation in body}, []
    for op in body:
        if op.kind in _NO_KERNEL or op.kind.endswith("-done"):
            continue
        inside = computations.get(op.called, ()) if op.kind == "fusion" else ()
        read = sum(_read(number, types.get(name, ""), inside) for number, name in enumerate(op.arguments))
        library = op.kind == "custom-call"
        written = _size(_SCRATCH.sub("", op.type) if library else op.type)
        found.append(Kernel(op.name, library, read + written))
    return found


def _read(number, type_, inside):
    """The bytes that a fusion reads of one argument: of its parts where only these are used."""
    names = {op.name for op in inside if op.kind == "parameter" and op.arguments == (str(number),)}
    users = [op for op in inside if names & set(op.arguments)]
    partial = [op for op in users if op.kind in _PARTIAL and op.arguments[0] in names]
    return sum(_size(op.type) for op in partial) if users and users == partial else _size(type_)


def _size(type_):
    """Bytes of an array, or of all arrays of a tuple."""
    return sum(
        int(bits or 8) // 8 * math.prod(int(side) for side in shape.split(",") if side)
        for bits, shape in _ARRAY.findall(type_)
    )
