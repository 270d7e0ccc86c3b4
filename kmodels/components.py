"""Functions of your own, named as "module:function" wherever an Experiment takes a name.

A string can be hashed, written to JSON, given on a command line and sent to another process; a function can not. It is
imported when it is used. A digest of its source goes into the name of the run, so that changed code is another run.
"""

import ast
import functools
import hashlib
import importlib
import inspect
import re
import symtable
import sys
import textwrap
import types
from pathlib import Path

from kmodels.errors import InputError, shorten, unknown

# {reference: object} that take precedence over an import: functions of a notebook, in the worker processes of a sweep.
RECEIVED = {}


def is_reference(name):
    """Whether a name has the form "module:function" (or "module:Class", "module:Class.method")."""
    return isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", name) is not None


def check_name(kind, name, known, library=None):
    """Raises InputError unless `name` is one of `known`, of the library, or has the form "module:function".

    Args:
        kind: what it names, for the message.
        name: the value received.
        known: the registered names.
        library: what the names of a library begin with, "tfds:" for instance; they are checked when they are used.
    """
    if name in known or is_reference(name) or (library and isinstance(name, str) and name.startswith(library)):
        return
    raise unknown(kind, name, known, f'{library + "NAME, " if library else ""}or your own, as "module:function"')


def load_component(kind, reference):
    """The object that "module:function" names.

    Args:
        kind: what it names, for messages.
        reference: importable from `sys.path` or the current folder; "__main__:NAME" is of the script or notebook.

    Raises:
        InputError: if there is no such module or no such name in it, or what is there cannot be called.
    """
    if reference in RECEIVED:
        return RECEIVED[reference]
    module_name, _, path = reference.partition(":")
    try:
        found = _imported(module_name)
    except ImportError as error:
        raise InputError(
            f"{kind} {reference!r}: cannot import {module_name} ({error}); it must be importable from the current "
            "folder or from PYTHONPATH"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name, value in vars(found).items() if callable(value) and not name.startswith("_")]
            raise InputError(f"{kind} {reference!r}: {module_name} has no {path!r}; it has: {shorten(names) or 'none'}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(
            f"{kind} must be a function or a class. Received: {reference!r}, of type {type(found).__name__}"
        )
    return found


def _imported(name):
    folder = str(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        # Console scripts do not look in the current folder; `python script.py` does not either, but in the script's.
        if folder in sys.path or "" in sys.path:
            raise
        sys.path.append(folder)
        importlib.invalidate_caches()
        return importlib.import_module(name)


def source_digest(component):
    """SHA-256 of the source of a function or class, and of what it uses of the same module, as hex digits.

    That is functions, classes, and the assignments of constants. Comments and formatting count. What it uses of other
    modules does not; the record has the versions of packages.
    """
    digest = hashlib.sha256()
    for source in sorted(_sources(component, {}).values()):
        digest.update(source.encode())
    return digest.hexdigest()


def _sources(component, found):
    """{name: source} of a function or class and, recursively, of what its code names in its module."""
    component = inspect.unwrap(component)
    if isinstance(component, functools.partial):
        # A repr of anything but plain values may have an address in memory.
        given = [*enumerate(component.args), *component.keywords.items()]
        found["partial"] = repr([(key, value if _is_plain(value) else type(value)) for key, value in given])
        return _sources(component.func, found)
    name = getattr(component, "__qualname__", repr(component))
    if name in found:
        return found
    found[name], read = _source(component)
    module = _globals_of(component)
    for used in _names_used(component):
        if _is_defined_in(module, used):
            _sources(module[used], found)
    _add_constants(read, component, found)
    return found


def _source(component):
    """The source of a function or class, and the global names that it reads."""
    try:
        source = inspect.getsource(component)
    except (OSError, TypeError):
        # Typed into a plain interpreter, or compiled: the bytecode changes where the source does.
        code = getattr(component, "__code__", None)
        source = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(component)
        return source, _names_used(component)
    try:
        return source, _globals_in(source)
    except SyntaxError:
        # The lines of a lambda may be a part of a statement.
        return source, _names_used(component)


def _globals_of(component):
    """{name: object} of the module of a function or class; of a function from another process, what it uses of it."""
    module = sys.modules.get(getattr(component, "__module__", None))
    return getattr(component, "__globals__", None) or (vars(module) if module else {})


def _is_defined_in(module, name):
    value = module.get(name)
    return (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.get("__name__")


def _names_used(component):
    if inspect.isclass(component):
        functions = [value for value in vars(component).values() if inspect.isfunction(value)]
        bases = [base.__name__ for base in component.__bases__]
        return bases + [name for function in functions for name in _names_in(function.__code__)]
    code = getattr(component, "__code__", None)
    return _names_in(code) if code else []


def _names_in(code):
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [*code.co_names, *(name for nested in inner for name in _names_in(nested))]


def _add_constants(names, component, found):
    """Adds to `found` the assignments of these names in a component's module and, recursively, of what they name."""
    module = _globals_of(component)
    for name in names:
        source = None if f"{name} =" in found else _assignment(name, component, module)
        if source:
            found[f"{name} ="] = source
            used = _globals_in(source)
            for other in used:
                if _is_defined_in(module, other):
                    _sources(module[other], found)
            _add_constants(used, component, found)


def _assignment(name, component, module):
    """The source of what assigns a name in the file of a component; None where nothing does.

    The value instead, where its repr says all of it, in a notebook, whose cells may have run in any order, and where
    the file is not at hand.
    """
    try:
        if "__file__" in module:
            return _assignments("".join(inspect.findsource(component)[0])).get(name)
    except (OSError, TypeError, SyntaxError):
        pass
    return f"{name} = {module[name]!r}" if name in module and _is_plain(module[name]) else None


def _globals_in(source):
    """The global names that source code reads; a local variable of the same name is none."""
    names, tables = [], [symtable.symtable(textwrap.dedent(source), "source", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names += [symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and symbol.is_global()]
    return names


@functools.lru_cache(maxsize=8)
def _assignments(source):
    """{name: its assignments} of all that are outside functions and classes, also in an `if`, a `try` or a loop."""
    found, statements = {}, [ast.parse(source)]
    while statements:
        statement = statements.pop(0)
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for name in {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}:
                found[name] = found.get(name, "") + ast.get_source_segment(source, statement) + "\n"
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            statements[:0] = ast.iter_child_nodes(statement)
    return found


def _is_plain(value):
    """Whether a value is of numbers and strings alone, so that its repr says all of it."""
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | bytes)


def call_with(kind, reference, function, **arguments):
    """Calls a function of the user's with those of the arguments that its signature takes.

    A None stands for what is not set: it is given only to a parameter without a default.

    Args:
        kind: what the function makes, for messages.
        reference: its name, for messages.
        function: the function, or a class.
        **arguments: what may be given.

    Raises:
        InputError: for an argument that is not None and that the function does not take.
    """
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = {name: value for name, value in arguments.items() if value is not None}
    required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    unset = {name: None for name in arguments if name not in given and name in required}
    unnamed = [name for name in given if name not in parameters]
    if not takes_all:
        _refuse(kind, reference, unnamed, parameters)
    try:
        return function(**given, **unset)
    except (TypeError, ValueError) as error:
        # Behind **options there is a function that takes some names only, as the base class of Keras' optimizers is.
        _refuse(kind, reference, [name for name in unnamed if repr(name) in str(error)], parameters, error)
        raise


def _refuse(kind, reference, names, parameters, error=None):
    if names:
        raise InputError(
            f"{kind} {reference!r} takes no {' or '.join(names)}; it takes: {', '.join(parameters) or 'none'}"
        ) from error
