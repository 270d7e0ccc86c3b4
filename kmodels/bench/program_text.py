"""What each operation of a compiled JAX program is for, and the kernels of a GPU's, read from the program's text.

XLA fuses and renames what a program computes, and keeps beside an operation the path of names that it was traced under:
`jit(train_step)/transpose(jvp(model4))/conv2/conv_general_dilated` belongs to the gradient of the layer conv2.
"""

import math
import re
from typing import NamedTuple

FORWARD, BACKWARD = "forward", "backward"
# On a processor XLA turns the gradient of a kernel into another convolution and forgets where it came from.
KERNEL_GRADIENT = "convolution kernel"
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*{$")
_PATH = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")
_NAME = re.compile(r"%([\w.-]+)")
_ARRAY = re.compile(r"([a-z]+)(\d*)\w*\[([\d,]*)\]")
_OPERATION = re.compile(r"^(\(.*?\)|\S+) ([\w-]+)\((.*?)\)")
_BODY = re.compile(r"body=%?([\w.-]+)")
# What a GPU is not asked to do anything for.
_NO_KERNEL = ("parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all")
_PARTIAL = ("gather", "slice", "dynamic-slice")
# What a library call returns beside its result: memory that it may use meanwhile.
_SCRATCH = re.compile(r", [su]8\[\d+\]\{0\}(?=\)$)")


class Purpose(NamedTuple):
    """What an operation is for.

    Attributes:
        part: the name of a layer, "loss", "optimizer" or KERNEL_GRADIENT; "" for anything else, as metrics.
        direction: FORWARD or BACKWARD.
    """

    part: str
    direction: str


def paths(text):
    """{operation: the path it was traced under, "" where none is known} of a compiled program.

    An operation that XLA made itself, a copy or a layout, has no path of its own: it gets that of what it is made of,
    or else of the first operation that reads it.

    Args:
        text: of the optimised program, as `jax.stages.Compiled.as_text` gives it.
    """
    found, inside, lines = {}, {}, []
    for computation, name, rest in _instructions(text):
        path = _PATH.search(rest)
        found[name] = path[1] if path else KERNEL_GRADIENT if " convolution(" in rest else ""
        inside[computation] = inside.get(computation) or found[name]
        lines.append((name, rest))
    for name, rest in lines:
        called = _CALLED.search(rest)
        if not found[name] and called:
            found[name] = inside.get(called[1], "")
    nameless = {name for name, path in found.items() if not path}
    # An operation stands behind those that it reads: going backwards, its own path is known, and the first reader wins.
    for name, rest in reversed(lines):
        for read in _NAME.findall(rest.partition(", metadata=")[0]):
            if read in nameless and found[name]:
                found[read] = found[name]
    return found


def _instructions(text):
    """(computation, name, what stands behind the equals sign) of every instruction."""
    computation = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        elif match := _INSTRUCTION.match(line):
            yield computation, match[1], match[2]


def purpose(path, layers, optimizer):
    """The Purpose of an operation that was traced under this path.

    Args:
        path: as from `paths`.
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
    """One call of a GPU: a kernel of XLA's own, or a call of a library, which may launch several.

    Attributes:
        name: of the operation.
        library: whether it is one of cuDNN's or cuBLAS'.
        bytes: that it reads and writes, scratch memory aside; of an array of which it takes a part, that part.
    """

    name: str
    library: bool
    bytes: int


def kernels(text):
    """The Kernels of a program for a GPU; of one that is a loop, those of one turn.

    A loop within a turn counts as one kernel that moves its arguments.

    Args:
        text: as for `paths`.
    """
    computations = {}
    for name, operation in _operations(text):
        computations.setdefault(name, []).append(operation)
    bodies = set(_BODY.findall(text)) | {match[1] for match in re.finditer(r"^ENTRY %?([\w.-]+)", text, re.MULTILINE)}
    return max((_launched(computations[name], computations) for name in bodies if name in computations), key=len)


class _Operation(NamedTuple):
    name: str
    type: str
    kind: str
    arguments: tuple[str, ...]
    rest: str


def _operations(text):
    """(computation, _Operation) of every instruction."""
    for computation, name, rest in _instructions(text):
        if parts := _OPERATION.match(rest):
            arguments = tuple(word.strip().rpartition("%")[2] for word in parts[3].split(","))
            yield computation, _Operation(name, parts[1], parts[2], arguments, rest)


def _launched(operations, computations):
    types = {operation.name: operation.type for operation in operations}
    found = []
    for operation in operations:
        if operation.kind in _NO_KERNEL or operation.kind.endswith("-done"):
            continue
        called = _CALLED.search(operation.rest)
        inside = computations.get(called[1], ()) if operation.kind == "fusion" and called else ()
        read = sum(_read(number, types.get(name, ""), inside) for number, name in enumerate(operation.arguments))
        library = operation.kind == "custom-call"
        written = _size(_SCRATCH.sub("", operation.type) if library else operation.type)
        found.append(Kernel(operation.name, library, read + written))
    return found


def _read(number, type_, inside):
    """The bytes of one argument that a fusion reads: of one of which it only takes parts, theirs."""
    names = {op.name for op in inside if op.kind == "parameter" and op.arguments == (str(number),)}
    users = [op for op in inside if names & set(op.arguments)]
    partial = [op for op in users if op.kind in _PARTIAL and op.arguments[0] in names]
    return sum(_size(op.type) for op in partial) if users and users == partial else _size(type_)


def _size(type_):
    """Bytes of an array, or of all arrays of a tuple."""
    return sum(
        int(bits or 8) // 8 * math.prod(int(side) for side in shape.split(",") if side)
        for _, bits, shape in _ARRAY.findall(type_)
    )
