"""What each operation of a compiled JAX program is for, read from the program's text.

XLA fuses and renames what a program computes, and keeps beside an operation the path of names that it was traced under:
`jit(train_step)/transpose(jvp(model4))/conv2/conv_general_dilated` belongs to the gradient of the layer conv2.
"""

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
    found, inside, lines, computation = {}, {}, [], ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            computation = match[1]
        elif match := _INSTRUCTION.match(line):
            name, rest = match[1], match[2]
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
