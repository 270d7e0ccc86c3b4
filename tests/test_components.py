"""Functions of one's own, named as "module:function"."""

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


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Returns a function that writes a module of another source and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    numbers = iter(range(100))

    def write(source=MODULE):
        name = f"own_components_{os.getpid()}_{next(numbers)}"
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
    default = make(0.1).get_config()
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
