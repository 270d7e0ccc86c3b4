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

from kmodels.errors import InputError, require, shorten, unknown

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


def source_digest(component, reference=":"):
    """SHA-256 of the source of a function or class, and of what it uses of the same module, as hex digits.

    That is functions, classes, and the assignments of constants, also where a decorator, a default or a body of a class
    names them. Comments and formatting count. What it uses of other modules does not; the record has the versions of
    packages.

    Args:
        component: a function, a class, or another object that can be called.
        reference: its name "module:NAME"; of such an object, what assigns NAME counts.

    Raises:
        InputError: for an object that can be called, where the source that assigns its name is not at hand.
    """
    digest, found = hashlib.sha256(), {}
    module_name, _, path = reference.partition(":")
    module, name = sys.modules.get(module_name), path.partition(".")[0]
    # Also the object of a method.
    if module and not _is_code(getattr(module, name, None)):
        _add_constants([name], module, found)
    if _is_code(component):
        _sources(component, found)
    rule = f"{reference} must be a function or a class; make it a function that returns the object, which has no source"
    require(found, rule, type(component).__name__)
    for source in sorted(found.values()):
        digest.update(source.encode())
    return digest.hexdigest()


def _unwrapped(value):
    """What a decorator wraps; the value itself where nothing does, or where it answers to every attribute."""
    try:
        return inspect.unwrap(value)
    except ValueError:
        return value


def _is_code(value):
    """Whether a value is a function, a class or a partial, and no other object that can be called."""
    kinds = inspect.isroutine, inspect.isclass, inspect.ismodule
    value = _unwrapped(value)
    return isinstance(value, functools.partial) or any(kind(value) for kind in kinds)


def _sources(component, found):
    """{name: source} of a function or class and, recursively, of what its source names in its module."""
    component = _unwrapped(component)
    if isinstance(component, functools.partial):
        # A repr of anything but plain values may have an address in memory.
        given = [*enumerate(component.args), *component.keywords.items()]
        found["partial"] = repr([(key, value if _is_plain(value) else type(value)) for key, value in given])
        return _sources(component.func, found)
    name, enclosed = getattr(component, "__qualname__", repr(component)), _enclosed(component)
    if enclosed:
        # One function makes many of this name.
        name = f"{name} {id(component)}"
    if name in found:
        return found
    found[name], read = _source(component)
    module = _globals_of(component)
    for used in (*_names_used(component), *_globals_in(_without_annotations(found[name]))):
        if _is_defined_in(module, used):
            _sources(module[used], found)
    for variable, value in enclosed.items():
        if _is_plain(value):
            found[f"{name} {variable}"] = f"{variable} = {value!r}"
        elif _is_defined_in({**module, variable: value}, variable):
            _sources(value, found)
    _add_constants(read, component, found)
    return found


def _enclosed(component):
    """{name: value} of the variables of an enclosing function that a function uses."""
    if not inspect.isfunction(component):
        return {}
    cells = zip(component.__code__.co_freevars, component.__closure__ or (), strict=True)
    # The class of a method that calls super() has the method in it.
    return {name: cell.cell_contents for name, cell in cells if name != "__class__"}


def _source(component):
    """The source of a function or class, and the global names that it reads."""
    try:
        source = inspect.getsource(component)
    except (OSError, TypeError):
        # Typed into a plain interpreter, or compiled: the bytecode changes where the source does.
        return repr(_compiled(component)), _names_used(component)
    try:
        return source, _globals_in(source)
    except SyntaxError:
        # The lines of a lambda may be a part of a statement.
        return source, _names_used(component)


def _compiled(component):
    """The bytecode of a function and its defaults, or of all that is in a class; where there is none, the component."""
    if inspect.isclass(component):
        plain = {name: value for name, value in vars(component).items() if _is_plain(value)}
        return plain, [_bytecode(function.__code__) for function in _functions_in(component)]
    if not hasattr(component, "__code__"):
        return component
    defaults = component.__defaults__, component.__kwdefaults__
    return _bytecode(component.__code__) + (defaults if any(defaults) and _is_plain(defaults) else ())


def _bytecode(code):
    # The repr of code inside, as of a comprehension, has its address in memory.
    constants = tuple(_bytecode(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.co_code, constants, code.co_names


def _functions_in(kind):
    """The functions in the body of a class, those of its properties included."""
    found = []
    for value in vars(kind).values():
        parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else [value]
        found += [inspect.unwrap(getattr(part, "__func__", part)) for part in parts]
    return [value for value in found if inspect.isfunction(value)]


def _globals_of(component):
    """{name: object} of the module of a function or class; of a function from another process, what it uses of it."""
    if inspect.ismodule(component):
        return vars(component)
    module = sys.modules.get(getattr(component, "__module__", None))
    return getattr(component, "__globals__", None) or (vars(module) if module else {})


def _is_defined_in(module, name):
    value = _unwrapped(module.get(name))
    return (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.get("__name__")


def _names_used(component):
    if inspect.isclass(component):
        bases = [base.__name__ for base in component.__bases__]
        return bases + [name for function in _functions_in(component) for name in _names_in(function.__code__)]
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


def _without_annotations(source):
    """Source code without the types of arguments and variables, which do not change what it does."""
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if getattr(node, name, None):
                setattr(node, name, ast.Constant(None))
    return ast.unparse(tree)


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
