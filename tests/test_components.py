"""Functions of one's own, named as "module:function"."""

import functools
import hashlib
import itertools
import os
import subprocess
import sys

import keras
import pytest

from kmodels import InputError
from kmodels.components import call_with, is_reference, load_component, source_digest

MODULE = """
import math

FACTOR = 2


def helper(x):
    return x * FACTOR


def network(input_shape, num_classes, *, depth=1):
    return helper(depth)


class Head:
    def fit(self, x):
        return helper(x)
"""


# No name is imported twice.
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Returns a function that writes a module of another source and imports it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source=MODULE):
        name = f"own_components_{os.getpid()}_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize("name", ["a:b", "a.b:c", "__main__:tiny", "keras.optimizers:Lion", "a:B.c"])
def test_a_module_and_a_name_are_a_reference(name):
    assert is_reference(name)


@pytest.mark.parametrize("name", ["adam", "a/b", "a:", ":b", "a b:c", "a:b:c", None, 3])
def test_anything_else_is_none(name):
    assert not is_reference(name)


def test_it_is_imported_when_it_is_used(module):
    name = module()
    assert load_component("model", f"{name}:network").__name__ == "network"
    assert load_component("head", f"{name}:Head.fit").__name__ == "fit"
    for reference, message in (
        ("nowhere_at_all:f", "model 'nowhere_at_all:f': cannot import nowhere_at_all"),
        (f"{name}:netwrk", "has no 'netwrk'; it has: helper, network"),
        (f"{name}:FACTOR", "must be a function or a class. Received: .*of type int"),
    ):
        with pytest.raises(InputError, match=message):
            load_component("model", reference)


def test_a_module_beside_the_user_is_found_from_the_console_script(tmp_path):
    (tmp_path / "mine.py").write_text("def network(input_shape, num_classes): ...\n")
    program = (
        "import sys; sys.path = [p for p in sys.path if p]; from kmodels.components import load_component; "
        "print(load_component('model', 'mine:network').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "network\n"


def test_the_digest_follows_the_source_and_what_it_uses_of_its_module(module):
    def digest(source, name="network"):
        return source_digest(load_component("model", f"{module(source)}:{name}"))

    first = digest(MODULE)
    assert digest(MODULE) == first
    assert digest(MODULE.replace("depth=1", "depth=2")) != first
    assert digest(MODULE.replace("return x * FACTOR", "return x + FACTOR")) != first
    assert digest(MODULE.replace("FACTOR = 2", "FACTOR = 2\nUNUSED = 3")) == first
    assert digest(MODULE.replace("return helper(x)", "return helper(-x)")) == first
    assert digest(MODULE.replace("return helper(x)", "return helper(-x)"), "Head") != digest(MODULE, "Head")


def test_an_object_that_answers_to_every_attribute_stops_no_digest(module):
    source = "from unittest.mock import call\n\n\ndef network(x):\n    return x if call else None\n"
    name = f"{module(source)}:network"
    assert source_digest(load_component("model", name)) == source_digest(load_component("model", name))


CONSTANTS = """
WIDTH = 8
DEPTH: int = 2
SIZES = [WIDTH, 2 * WIDTH]
FIRST, LAST = "relu", "softmax"
if DEPTH > 1:
    NAMES = {"relu": "one"}
NAMES["softmax"] = "other"
SCALE = 3
local = SCALE


def layer(size):
    return size, LAST


BLOCKS = {"plain": layer}


def network(input_shape, num_classes, *, depth=DEPTH):
    local = [BLOCKS["plain"](size) for size in SIZES]
    return local, NAMES, lambda: FIRST


class Network:
    width = WIDTH

    def call(self, x):
        return x.local
"""


def test_the_digest_follows_the_constants_of_the_module_that_the_code_names(module):
    def digest(old="", new="", name="network"):
        return source_digest(load_component("model", f"{module(CONSTANTS.replace(old, new))}:{name}"))

    first = digest()
    for old, new in (
        ("WIDTH = 8", "WIDTH = 64"),
        ("DEPTH: int = 2", "DEPTH: int = 3"),
        ('"relu", "softmax"', '"tanh", "softmax"'),
        ('{"relu": "one"}', '{"relu": "two"}'),
        ('NAMES["softmax"] = "other"', 'NAMES["softmax"] = "another"'),
        ("return size, LAST", "return LAST, size"),
    ):
        assert digest(old, new) != first
    assert digest("SCALE = 3", "SCALE = 4") == first
    assert digest("WIDTH = 8", "WIDTH = 64", "Network") != digest(name="Network")
    assert digest("SCALE = 3", "SCALE = 4", "Network") == digest(name="Network")


USES = """
import functools


def helper(x):
    return x * 1


def wrapping(function):
    @functools.wraps(function)
    def call(*arguments):
        return helper(function(*arguments))

    return call


def hiding(function):
    def call(*arguments):
        return function(*arguments)

    return call


@functools.lru_cache
def cached():
    return helper(1)


@wrapping
def by_decorator(x): ...


@hiding
def by_closure(x):
    return helper(x)


def by_default(x, *, change=helper): ...


def by_cached(x):
    return cached()


class ByStaticMethod:
    @staticmethod
    def change(x):
        return helper(x)


class ByProperty:
    @property
    def change(self):
        return helper(self)


class ByAttribute:
    change = {"a": helper}


class Network:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, input_shape, num_classes):
        return helper(self.factor)


by_instance = Network(3)


def by_annotation(x: Network) -> Network: ...
"""
USING = ("by_decorator", "by_closure", "by_default", "by_cached", "ByStaticMethod", "ByProperty", "ByAttribute")


@pytest.mark.parametrize("name", [*USING, "by_instance", "by_instance.__call__"])
def test_the_digest_follows_whatever_way_code_is_used(module, name):
    def digest(source=USES):
        reference = f"{module(source)}:{name}"
        return source_digest(load_component("model", reference), reference)

    assert digest() == digest()
    assert digest() != digest(USES.replace("x * 1", "x * 2"))
    assert (digest() != digest(USES.replace("Network(3)", "Network(4)"))) == name.startswith("by_instance")


def test_the_digest_does_not_follow_the_types_of_arguments(module):
    found = source_digest(load_component("model", f"{module(USES)}:by_annotation"))
    assert found == hashlib.sha256(b"def by_annotation(x: Network) -> Network: ...\n").hexdigest()


def test_an_object_without_source_is_refused_with_what_to_do(module):
    name = module(USES)
    network = load_component("model", f"{name}:by_instance")
    with pytest.raises(InputError, match=r"make it a function that returns the object.*Received: 'Network'"):
        source_digest(network, f"{name}:another")


def test_the_digest_of_code_without_constants_is_that_of_its_functions_alone(module):
    source = "def helper(x):\n    return x\n\n\ndef network(x):\n    y = 1\n    return helper(x).width + y\n"
    found = source_digest(load_component("model", f"{module('width = y = 3' + chr(10) * 3 + source)}:network"))
    parts = ["def helper(x):\n    return x\n", "def network(x):\n    y = 1\n    return helper(x).width + y\n"]
    assert found == hashlib.sha256("".join(parts).encode()).hexdigest()


def test_the_digest_of_a_partial_is_that_of_its_function_and_of_what_it_was_given():
    def digest(function, *arguments, **options):
        return source_digest(functools.partial(function, *arguments, **options))

    assert digest(call_with, object()) == digest(call_with, object())
    given = [((), {}), ((2,), {}), ((), {"n": 2}), ((), {"n": 3}), ((object(),), {})]
    assert len({digest(one, *listed, **named) for one in (call_with, is_reference) for listed, named in given}) == 10


def test_in_a_notebook_the_digest_follows_the_values_of_constants():
    def digest(**constants):
        cells = {"__name__": "a_notebook", **constants}
        exec("def network(x): return x * WIDTH + len(OTHER)", cells)
        return source_digest(cells["network"])

    other = object()
    assert digest(WIDTH=8, OTHER=other) == digest(WIDTH=8, OTHER=object(), UNUSED=1)
    assert digest(WIDTH=[8, "a"], OTHER=other) != digest(WIDTH=[8, "b"], OTHER=other)


def test_code_without_source_has_the_same_digest_each_time_and_another_when_it_changes():
    def digest(source, name):
        defined = {"__name__": "typed"}
        exec(source, defined)
        return source_digest(defined[name])

    for source, name in (
        ("def f(x): return [x * 1 for _ in x]", "f"),
        ("def f(x, n=1): ...", "f"),
        ("def f(x, *, n=1): ...", "f"),
        ("class C:\n  n = 1", "C"),
        ("class C:\n  @classmethod\n  def f(cls, x): return x * 1", "C"),
    ):
        assert digest(source, name) == digest(source, name) != digest(source.replace("1", "2"), name)


def test_a_function_without_source_has_a_digest_too():
    functions = {}
    for number in (1, 2):
        exec(f"def f(x): return x + {number}", functions)
        functions[number] = source_digest(functions["f"])
    assert functions[1] != functions[2]


def test_only_what_a_function_takes_is_given_to_it():
    def optimizer(learning_rate, weight_decay=None):
        return learning_rate, weight_decay

    given = {"learning_rate": 0.1, "momentum": None, "weight_decay": 0.2}
    assert call_with("optimizer", "a:b", optimizer, **given) == (0.1, 0.2)
    with pytest.raises(InputError, match="optimizer 'a:b' takes no momentum; it takes: learning_rate, weight_decay"):
        call_with("optimizer", "a:b", optimizer, **{**given, "momentum": 0.9})
    assert call_with("optimizer", "a:b", lambda **options: options, **given) == {
        "learning_rate": 0.1,
        "weight_decay": 0.2,
    }


def test_what_is_not_set_keeps_the_default_of_the_function():
    unset = {"image_size": None, "data_dir": None, "skip_unreadable": None}
    assert call_with("dataset", "a:b", lambda image_size=16, **options: (image_size, options), **unset) == (16, {})
    assert call_with("dataset", "a:b", lambda image_size, data_dir="here": (image_size, data_dir), **unset) == (
        None,
        "here",
    )


@pytest.mark.parametrize(("name", "momentum"), [("SGD", 0.0), ("RMSprop", 0.0), ("AdamW", None), ("Adam", None)])
def test_optimizers_of_keras_are_called_with_what_is_set(name, momentum):
    make, given = getattr(keras.optimizers, name), {"learning_rate": 0.1, "weight_decay": None}
    optimizer = call_with("optimizer", f"keras.optimizers:{name}", make, momentum=None, **given)
    default = make(0.1, name=optimizer.name).get_config()
    assert (optimizer.get_config(), default.get("momentum")) == (default, momentum)
    if momentum is None:
        with pytest.raises(InputError, match=f"'keras.optimizers:{name}' takes no momentum; it takes: learning_rate"):
            call_with("optimizer", f"keras.optimizers:{name}", make, momentum=0.9, **given)


def test_an_error_of_the_function_itself_stays_what_it_is():
    def optimizer(learning_rate, **options):
        raise ValueError("learning_rate is too large")

    with pytest.raises(ValueError, match="too large") as raised:
        call_with("optimizer", "a:b", optimizer, learning_rate=9.0, momentum=0.9)
    assert not isinstance(raised.value, InputError)
