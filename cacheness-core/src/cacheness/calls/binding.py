# SPDX-License-Identifier: MIT
"""Compiles, from a function's signature, what takes the same arguments as it does."""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any

from cacheness.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Binding"]

_PREFIX = "_cacheness_"


class Binding:
    """The parameters of a function, and functions that are called as it is.

    What it gives is compiled, since `inspect.Signature.bind` takes longer than a whole hit.
    Defaults are applied, positional and keyword spellings of a call give the same, and what
    ``ignore`` names is left out and never touched.

    Args:
        function: The function, or anything that can be called.
        ignore: The parameters that don't count.

    Raises:
        ConfigError: ``ignore`` names no parameter of the function.
    """

    def __init__(self, function: Callable[..., Any], ignore: frozenset[str] = frozenset()) -> None:
        self._of = getattr(function, "__qualname__", None) or repr(function)
        self._parameters = _parameters(function)
        self._ignore = ignore
        self.check("ignore", ignore)
        self._defaults: dict[str, Any] = {}
        self._signature = self._without_annotations()
        self.names = tuple(p.name for p in self._parameters if p.name not in ignore)
        """The parameters that count; what ``**`` takes is one, under its own name."""

    def check(self, option: str, names: Iterable[str]) -> None:
        """Make sure that an option names parameters of the function.

        Raises:
            ConfigError: It names another, and the function takes no ``**``.
        """
        known = [parameter.name for parameter in self._parameters]
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in self._parameters):
            return
        for name in sorted(set(names) - set(known)):
            raise ConfigError(
                f"{option}={name!r} is no parameter of {self._of}; there are: {', '.join(known)}"
            )

    def bind(self) -> Callable[..., dict[str, Any]]:
        """A function that returns its arguments by name."""
        return self.compile("def {name}{signature}: return {params}", {})

    def compile(
        self, template: str, names: Mapping[str, Any], order: Iterable[str] = ()
    ) -> Callable[..., Any]:
        """Compile the source of a function with the function's signature.

        Args:
            template: The source. In it ``{signature}`` is the parameters, ``{params}`` a dict
                of those that count, ``{values}`` a tuple of them, ``{args}`` and ``{kwargs}``
                all of them as they are to be passed on, and each other word in braces a name
                of the template's own, which no parameter bears.
            names: What the template's own names stand for.
            order: The order of ``{values}``.
        """
        prefix = self._prefix()
        source = template.format_map(
            {
                "signature": self._signature,
                "params": f"{{{', '.join(f'{n!r}: {self._spelled(n)}' for n in self.names)}}}",
                "values": _tuple(self._spelled(name) for name in order),
                "args": _tuple(self._positional()),
                "kwargs": f"{{{', '.join(self._keywords())}}}",
                **{word: prefix + word for word in (*names, *_LOCALS)},
            }
        )
        namespace = {prefix + word: value for word, value in names.items()}
        namespace |= {"__name__": __name__, **self._defaults}
        code = compile(source, f"<cached {self._of}>", "exec")
        exec(code, namespace)  # noqa: S102  # it names parameters only, which are identifiers
        made: Callable[..., Any] = namespace[prefix + "name"]
        return made

    def _prefix(self) -> str:
        prefix = _PREFIX
        while any(parameter.name.startswith(prefix) for parameter in self._parameters):
            prefix += "_"
        return prefix

    def _without_annotations(self) -> str:
        """The source of the signature; defaults come by reference."""
        plain = []
        for number, parameter in enumerate(self._parameters):
            default: Any = Parameter.empty
            if parameter.default is not Parameter.empty:
                name = f"{self._prefix()}default_{number}"
                self._defaults[name] = parameter.default
                default = _Name(name)
            plain.append(parameter.replace(default=default, annotation=Parameter.empty))
        return str(Signature(plain))

    def _spelled(self, name: str) -> str:
        """A parameter's value; of what ``**`` takes without what is ignored in it."""
        parameter = next(p for p in self._parameters if p.name == name)
        if parameter.kind is not Parameter.VAR_KEYWORD or not self._ignore:
            return name
        ignored = sorted(self._ignore)
        return f"{{n: v for n, v in {name}.items() if n not in {ignored!r}}}"

    def _positional(self) -> Iterable[str]:
        for parameter in self._parameters:
            if parameter.kind is Parameter.VAR_POSITIONAL:
                yield f"*{parameter.name}"
            elif parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
                yield parameter.name

    def _keywords(self) -> Iterable[str]:
        for parameter in self._parameters:
            if parameter.kind is Parameter.VAR_KEYWORD:
                yield f"**{parameter.name}"
            elif parameter.kind is Parameter.KEYWORD_ONLY:
                yield f"{parameter.name!r}: {parameter.name}"


_LOCALS = ("name", "found", "source", "item")
"""Names that templates use for themselves."""


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    try:
        return list(signature(function).parameters.values())
    except ValueError:  # a function in C that does not tell
        return [
            Parameter("args", Parameter.VAR_POSITIONAL),
            Parameter("kwargs", Parameter.VAR_KEYWORD),
        ]


def _tuple(parts: Iterable[str]) -> str:
    return f"({''.join(f'{part}, ' for part in parts)})"


class _Name:
    """A default that the source names instead of spelling."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name
