"""Collect the error codes that the program can emit, by reading its source.

A code reaches a report, an event or a message in the field `code` of one of `CARRIERS`. `emitted` follows the
expression that fills the field: through constants, imported names, parameters (to every call of the function) and
local variables. An expression that it cannot follow is an error, so that no code escapes the registry.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

CARRIERS = {"HostError": 1, "Failure": 0, "Warn": 0, "Obstacle": 0}
"""The classes with a field `code`, and the field's position in a call."""
OPTIONAL = {"Load": 2}
"""The same, where the field has a default."""
CATALOGUE = "FailureCatalogue"
"""The base of the enumerations with members that are codes with their texts."""
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True)
class Module:
    """One parsed file, with the parent of each node."""

    path: Path
    tree: ast.Module
    parents: dict[ast.AST, ast.AST]

    def where(self, node: ast.AST) -> str:
        """Return `file:line` of a node."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"

    def function_around(self, node: ast.AST) -> _FUNCTION | None:
        """Return the innermost function that holds the node."""
        around = self.parents.get(node)
        while around is not None and not isinstance(around, _FUNCTION):
            around = self.parents.get(around)
        return around


@dataclass
class Emitted:
    """What a walk found."""

    codes: dict[str, str] = field(default_factory=dict)
    """Each code, and the first place that emits it."""
    prefixes: dict[str, str] = field(default_factory=dict)
    """What a code from elsewhere is prefixed by, such as `bastion-`."""
    unresolved: list[str] = field(default_factory=list)


@cache
def modules() -> tuple[Module, ...]:
    """Parse the package and the Ansible collection."""
    paths = [*(ROOT / "fleettrace").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")]
    return tuple(_parsed(path) for path in sorted(paths) if "lab" not in path.relative_to(ROOT).parts)


def _parsed(path: Path) -> Module:
    tree = ast.parse(path.read_text())
    return Module(path, tree, {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)})


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


@cache
def _calls(name: str) -> tuple[tuple[Module, ast.Call], ...]:
    return tuple(
        (module, node)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _called(node) == name
    )


def _calls_of(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[Module, ast.Call]]:
    """Yield the calls of a function: of a method by its name, else in modules that define or import it."""
    method = isinstance(module.parents.get(function), ast.ClassDef)
    dotted = ".".join(module.path.relative_to(ROOT).with_suffix("").parts)
    for caller, call in _calls(function.name):
        if isinstance(call.func, ast.Attribute):
            private = function.name.startswith("_")
            reached = method and (caller is module or not private)
        else:
            reached = not method and (caller is module or dotted in _imports_of(caller, function.name))
        if reached:
            yield caller, call


def _imports_of(module: Module, name: str) -> set[str]:
    return {
        node.module
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names)
    }


@cache
def emitted() -> Emitted:
    """Return every code that reaches a carrier."""
    found = Emitted()
    walk = _Walk(found)
    for carrier, position in (CARRIERS | OPTIONAL).items():
        for module, call in _calls(carrier):
            if (argument := _argument(call, position, "code")) is not None:
                walk.follow(module, argument)
            elif carrier in CARRIERS:
                found.unresolved.append(f"{module.where(call)}: no code in {ast.unparse(call)}")
    walk.subclasses()
    walk.catalogues()
    return found


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    given = call.args[: position + 1]
    if any(isinstance(each, ast.Starred) for each in given):
        return next(each for each in given if isinstance(each, ast.Starred))
    return call.args[position] if len(call.args) > position else None


class _Walk:
    def __init__(self, found: Emitted) -> None:
        self._found = found
        self._seen: set[tuple[Path, int, int, str]] = set()

    def subclasses(self) -> None:
        """Follow what the subclasses of a carrier hand to its constructor."""
        for module in modules():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    for base in node.bases:
                        if isinstance(base, ast.Name) and base.id in CARRIERS:
                            self._constructor(module, node, CARRIERS[base.id])

    def catalogues(self) -> None:
        """Follow the codes of the members of every failure catalogue."""
        for module in modules():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == CATALOGUE for base in node.bases):
                    for member in node.body:
                        if isinstance(member, ast.Assign) and isinstance(member.value, ast.Tuple):
                            self.follow(module, member.value.elts[0])

    def _constructor(self, module: Module, owner: ast.ClassDef, position: int) -> None:
        for node in ast.walk(owner):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__":
                argument = _argument(node, position, "code")
                if argument is not None:
                    self.follow(module, argument)

    def follow(self, module: Module, value: ast.expr) -> None:
        """Add the codes that an expression can have."""
        key = (module.path, value.lineno, value.col_offset, ast.unparse(value))
        if key in self._seen:
            return
        self._seen.add(key)
        match value:
            case ast.Constant(value=str() as code):
                if code:
                    self._found.codes.setdefault(code, module.where(value))
            case ast.Attribute(attr="code"):
                pass  # the code of another carrier
            case ast.IfExp():
                self._all(module, value.body, value.orelse)
            case ast.BoolOp():
                self._all(module, *value.values)
            case ast.Tuple() | ast.List() | ast.Set():
                self._all(module, *value.elts)
            case ast.Starred():
                self.follow(module, value.value)
            case ast.Subscript():
                self.follow(module, value.value)
            case ast.JoinedStr(values=[ast.Constant(value=str() as prefix), ast.FormattedValue(value=ast.Attribute())]):
                self._found.prefixes.setdefault(prefix, module.where(value))
            case ast.JoinedStr(
                values=[ast.FormattedValue(value=ast.Name() as first), ast.Constant(value=str() as end)]
            ):
                self._suffixed(module, first, end)
            case ast.BinOp(left=ast.Name() as first, op=ast.Add(), right=ast.Attribute(attr="code")):
                inner = Emitted()
                _Walk(inner).follow(module, first)
                self._found.unresolved += inner.unresolved
                self._found.prefixes |= inner.codes
            case ast.Name():
                self._name(module, value)
            case _:
                self._unresolved(module, value)

    def _all(self, module: Module, *values: ast.expr) -> None:
        for value in values:
            self.follow(module, value)

    def _unresolved(self, module: Module, value: ast.AST) -> None:
        self._found.unresolved.append(f"{module.where(value)}: {ast.unparse(value)}")

    def _suffixed(self, module: Module, name: ast.Name, end: str) -> None:
        inner = Emitted()
        _Walk(inner).follow(module, name)
        self._found.unresolved += inner.unresolved
        for code, where in inner.codes.items():
            self._found.codes.setdefault(code + end, where)

    def _name(self, module: Module, name: ast.Name) -> None:
        if (guard := _guard(module, name)) is not None:
            self._all(module, *guard)
            return None
        function = module.function_around(name)
        while function is not None:
            if name.id in _parameters(function):
                return self._parameter(module, function, name.id)
            bound = [] if isinstance(function, ast.Lambda) else list(_bindings(module, function, name.id))
            if bound:
                return self._all(module, *bound)
            function = module.function_around(function)
        bound = list(_bindings(module, module.tree, name.id))
        if bound:
            return self._all(module, *bound)
        return self._imported(module, name)

    def _imported(self, module: Module, name: ast.Name) -> None:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if (alias.asname or alias.name) == name.id:
                        source = ROOT / (node.module.replace(".", "/") + ".py")
                        origin = next((each for each in modules() if each.path == source), None)
                        bound = list(_bindings(origin, origin.tree, alias.name)) if origin is not None else []
                        if origin is not None and bound:
                            return self._all(origin, *bound)
        return self._unresolved(module, name)

    def _parameter(self, module: Module, function: _FUNCTION, name: str) -> None:
        if isinstance(function, ast.Lambda) or name == "self":
            return self._unresolved(module, function)
        names = [each for each in _parameters(function) if each not in ("self", "cls")]
        position = names.index(name)
        if function.name == "__init__":
            return None  # a carrier's own constructor: its calls are followed
        calls = list(_calls_of(module, function))
        if not calls:
            return self._unresolved(module, function)
        for caller, call in calls:
            argument = _argument(call, position, name)
            if argument is not None:
                self.follow(caller, argument)
        defaults = dict(zip(reversed(names), reversed(function.args.defaults), strict=False))
        if name in defaults:
            self.follow(module, defaults[name])
        return None


def _parameters(function: _FUNCTION) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _guard(module: Module, name: ast.Name) -> list[ast.expr] | None:
    """Return the keys of the table that an `if name in TABLE` around the use restricts the name to."""
    around: ast.AST | None = module.parents.get(name)
    while around is not None and not isinstance(around, _FUNCTION):
        if isinstance(around, ast.If):
            for test in ast.walk(around.test):
                match test:
                    case ast.Compare(left=ast.Name(id=id_), ops=[ast.In()], comparators=[table]) if id_ == name.id:
                        return _rows(module, table)
        around = module.parents.get(around)
    return None


def _rows(module: Module, values: ast.expr) -> list[ast.expr]:
    """Return the elements that an iteration over an expression has, as far as the module's literals show them."""
    match values:
        case ast.Tuple(elts=rows) | ast.List(elts=rows) | ast.Set(elts=rows):
            return list(rows)
        case ast.Dict(keys=keys):
            return [key for key in keys if key is not None]
        case ast.Name():
            return [row for bound in _bindings(module, module.tree, values.id) for row in _rows(module, bound)]
        case ast.Call(func=ast.Attribute(value=ast.Name() as table, attr="items")):
            return [ast.Tuple([key, key]) for key in _rows(module, table)]
    return []


def _bindings(module: Module, scope: ast.AST, name: str) -> Iterator[ast.expr]:
    """Yield what a name is bound to in a function or a module, without the functions inside."""
    body = scope.body if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) else []
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, _FUNCTION | ast.ClassDef):
            continue
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _bound(target, value, name)
            case ast.AnnAssign(target=ast.Name(id=bound), value=ast.expr() as value) if bound == name:
                yield value
            case ast.NamedExpr(target=ast.Name(id=bound), value=value) if bound == name:
                yield value
            case ast.For(target=target, iter=values) | ast.comprehension(target=target, iter=values):
                yield from _iterated(module, target, values, name)
        pending.extend(ast.iter_child_nodes(node))


def _bound(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    elif isinstance(target, ast.Tuple):
        position = next(
            (n for n, each in enumerate(target.elts) if isinstance(each, ast.Name) and each.id == name), None
        )
        if position is not None:
            yield from (_part(value, position) or (value,))


def _part(value: ast.expr, position: int) -> tuple[ast.expr, ...]:
    match value:
        case ast.Tuple(elts=parts):
            return (parts[position],)
        case ast.IfExp(body=one, orelse=other):
            return (*_part(one, position), *_part(other, position))
    return ()


def _iterated(module: Module, target: ast.expr, values: ast.expr, name: str) -> Iterator[ast.expr]:
    if isinstance(target, ast.Name) and target.id == name:
        yield from (_rows(module, values) or (values,))
    elif isinstance(target, ast.Tuple):
        for position, each in enumerate(target.elts):
            if isinstance(each, ast.Name) and each.id == name:
                parts = [part for row in _rows(module, values) for part in _part(row, position)]
                yield from (parts or (values,))
