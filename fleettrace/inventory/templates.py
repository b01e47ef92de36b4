"""Evaluate Jinja2 templates, as far as the variables of an inventory need them.

The author of an inventory is trusted: a lookup may run a command on the controller, as in Ansible. The sandbox is for
the rest: it keeps a template from reaching Python's internals and bounds what one may compute. Nothing that a node or a
client reports is ever a template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast

import jinja2
from jinja2.lexer import TOKEN_STRING, TOKEN_VARIABLE_BEGIN, TOKEN_VARIABLE_END, Lexer
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from fleettrace.inventory.template_functions import FILTERS, TESTS, LookupFailureError, lookup

__all__ = ["TemplateError", "evaluate"]

MAX_RESULT = 1 << 20
"""Characters, or items, of a value that a template makes."""
_NAMES = "fleettrace names"
_CONSTANTS = (str, int, float, list, dict, type(None))


class TemplateError(Exception):
    """A template cannot be evaluated; the text is why."""


class _Undefined(jinja2.StrictUndefined):
    """An undefined value, of which an attribute is undefined too, so that `default` can replace it."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: object) -> Any:
        return self


class _Context(Context):
    """Looks a name up when the template needs it, so that what no one uses is never evaluated."""

    def resolve_or_missing(self, key: str) -> Any:
        """Return the value of a name: set in the template, a variable of the host, or one of Jinja's own."""
        if key in self.vars:
            return self.vars[key]
        found = self.parent[_NAMES](key)
        return self.parent.get(key, missing) if found is missing else found


class _Lexer(Lexer):
    """Takes a backslash in a string of an expression for itself, as Ansible's lexer does: for `'\\1'` in a pattern."""

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        """Yield line, kind and text of each token."""
        in_expression = False
        for line, kind, text in super().tokeniter(source, name, filename, state):
            in_expression = kind == TOKEN_VARIABLE_BEGIN or (in_expression and kind != TOKEN_VARIABLE_END)
            yield line, kind, text.replace("\\", "\\\\") if in_expression and kind == TOKEN_STRING else text


class _CodeGenerator(NativeCodeGenerator):
    def _output_const_repr(self, group: Iterable[Any]) -> str:
        """Return the code of a constant, with its type where nothing stands beside it."""
        values = list(group)
        if len(values) == 1 and isinstance(values[0], _CONSTANTS):
            return repr(values[0])
        return super()._output_const_repr(values)


class _Environment(ImmutableSandboxedEnvironment):
    code_generator_class = _CodeGenerator
    context_class = _Context
    intercepted_binops = frozenset({"*", "**"})

    @cached_property
    def lexer(self) -> Lexer:
        """The lexer of the language, which Jinja calls for each template."""
        return _Lexer(self)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse products that would fill the memory."""
        for one, other in ((left, right), (right, left)):
            if isinstance(other, int) and hasattr(one, "__len__") and len(one) * max(0, other) > MAX_RESULT:
                raise TemplateError(f"the product has more than {MAX_RESULT:,} items")
        if operator == "**" and (abs(right) > 64 or abs(left) > MAX_RESULT):
            raise TemplateError("the power is too large")
        return super().call_binop(context, operator, left, right)


@cache
def _environment() -> _Environment:
    environment = _Environment(undefined=_Undefined, keep_trailing_newline=True)
    for table, own in ((environment.filters, FILTERS), (environment.tests, TESTS)):
        functions = cast("dict[str, Callable[..., Any]]", table)
        functions.update(own)
        functions.update({f"ansible.builtin.{name}": function for name, function in list(functions.items())})
    return environment


@cache
def _compiled(text: str) -> jinja2.Template:
    return _environment().from_string(text)


def evaluate(text: str, names: Callable[[str], Any], directories: Iterable[Path]) -> Any:
    """Return the value of a template, with Ansible's types: of one expression alone the value, else a string.

    `names` returns the value of a name, or raises KeyError. Raises `TemplateError`.
    """

    def find(key: str) -> Any:
        try:
            return names(key)
        except KeyError:
            return missing

    search = partial(lookup, tuple(directories))
    given = {
        _NAMES: find,
        "lookup": search,
        "query": lambda *terms, **options: [search(*terms, **options)],
        "q": lambda *terms, **options: [search(*terms, **options)],
    }
    try:
        template = _compiled(text)
        context = template.new_context(given)
        parts = list(_bounded(template.root_render_func(context)))
    except (jinja2.TemplateError, LookupFailureError) as error:
        raise TemplateError(str(error)) from None
    except RecursionError:
        raise TemplateError("it nests too deeply") from None
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise TemplateError(f"{type(error).__name__}: {error}") from None
    value = parts[0] if len(parts) == 1 else "".join(str(part) for part in parts)
    if isinstance(value, jinja2.Undefined):
        raise TemplateError(_why_undefined(value))
    return _plain(value)


def _bounded(parts: Iterable[Any]) -> Iterator[Any]:
    size = 0
    for part in parts:
        size += len(part) if hasattr(part, "__len__") else 1
        if size > MAX_RESULT:
            raise TemplateError(f"the value has more than {MAX_RESULT:,} characters")
        yield part


def _why_undefined(value: jinja2.Undefined) -> str:
    return str(value._undefined_message)


def _plain(value: Any) -> Any:
    """Return the value without the types of the template's evaluation."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
