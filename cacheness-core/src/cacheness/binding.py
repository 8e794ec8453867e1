# SPDX-License-Identifier: MIT
"""Binds the arguments of a call to the names of a function's parameters, fast."""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from cacheness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["binder"]


def binder(function: Callable[..., Any], ignore: frozenset[str]) -> Callable[..., dict[str, Any]]:
    """Give a function that takes the same arguments and returns them by name.

    Defaults are applied; positional and keyword spellings of a call give the same; what
    ``ignore`` names is left out and never touched. It is compiled from the signature,
    since `inspect.Signature.bind` takes longer than a whole hit.

    Raises:
        ConfigError: ``ignore`` names no parameter of the function.
    """
    parameters = list(signature(function).parameters.values())
    names = [parameter.name for parameter in parameters]
    open_ended = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    unknown = sorted(ignore - set(names))
    if unknown and not open_ended:
        raise ConfigError(
            f"ignore={unknown[0]!r} is no parameter of "
            f"{getattr(function, '__qualname__', function)}; there are: {', '.join(names)}"
        )
    return _compiled(parameters, ignore)


def _compiled(parameters: list[Parameter], ignore: frozenset[str]) -> Callable[..., dict[str, Any]]:
    """The source names parameters only, which are identifiers; defaults come by reference."""
    defaults: dict[str, Any] = {}
    plain = []
    for number, parameter in enumerate(parameters):
        default: Any = Parameter.empty
        if parameter.default is not Parameter.empty:
            defaults[f"_default_{number}"] = parameter.default
            default = _Name(f"_default_{number}")
        plain.append(parameter.replace(default=default, annotation=Parameter.empty))
    pairs = ", ".join(
        f"{parameter.name!r}: {parameter.name}"
        for parameter in plain
        if parameter.name not in ignore and parameter.kind is not Parameter.VAR_KEYWORD
    )
    extra = next((p.name for p in plain if p.kind is Parameter.VAR_KEYWORD), None)
    source = f"def bind{Signature(plain)}: return {{{pairs}}}"
    if extra is not None and extra not in ignore:
        kept = extra
        ignored = sorted(ignore)
        if ignored:
            kept = f"{{name: value for name, value in {extra}.items() if name not in {ignored!r}}}"
        # Under the parameter's own name, so that no keyword can pass for a parameter.
        separator = ", " if pairs else ""
        source = f"def bind{Signature(plain)}: return {{{pairs}{separator}{extra!r}: {kept}}}"
    namespace: dict[str, Any] = defaults
    exec(source, namespace)  # noqa: S102  # see the docstring
    bind: Callable[..., dict[str, Any]] = namespace["bind"]
    return bind


class _Name:
    """A default that the source names instead of spelling."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name
