# SPDX-License-Identifier: MIT
"""Writes docs/API_REFERENCE.md and the listing of public names, out of the source.

    uv run python docs/make_api_reference.py

The source is read, not imported, so that no library has to be installed and every Python
gives the same. Tests compare both files with what this gives.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "API_REFERENCE.md"
LISTING = ROOT / "tests" / "data" / "public_api.txt"

PACKAGES = ("cacheness", "cacheness.testing", "cacheness_pandas", "cacheness_tensorflow")
PACKAGES += ("cacheness_postgres",)
MORE = {
    "cacheness.decorator": ("CachedFunction",),
    "cacheness.calls.options": ("CachedOptions",),
    "cacheness.calls.base": ("CacheInfo",),
    "cacheness.aio": ("AsyncCache",),
    "cacheness.explaining.explanation": ("NearCall",),
    "cacheness.explaining.adopt": ("OldCode",),
}
"""What public names give or take, though nobody has to import it."""
HOOKS = "cacheness.hookspecs"
CAPABILITIES = "cacheness.handlers.protocols"

GROUPS = (
    ("Caches", ("UnifiedCache", "CacheConfig", "Entry", "configure", "disabled")),
    ("Cached functions", ("cached", "CachedFunction", "CachedOptions", "CacheInfo", "CacheRef")),
    ("What to put in a key", ("FileContent",)),
    ("Why, and what else there was", ("Explanation", "NearCall", "Difference", "Adoption")),
    ("Asyncio", ("AsyncCache",)),
)
"""The order in which a user meets them; all others follow by module."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef | ast.Assign | ast.AnnAssign
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Example|Examples|Attributes):$")


@dataclass(frozen=True, slots=True)
class Public:
    """A public name, and where it is defined."""

    package: str
    name: str
    module: str
    node: Definition
    doc: str


@dataclass(frozen=True, slots=True)
class Member:
    """An attribute or a method of a public class."""

    name: str
    declared: str
    doc: str


# --- what is public -------------------------------------------------------------------------


@cache
def public_names() -> tuple[Public, ...]:
    """Every public name of the four packages."""
    found = [found_name(package, *named) for package in PACKAGES for named in exported(package)]
    found += [found_name(module, name, module) for module in MORE for name in MORE[module]]
    hooks = [n for n in tree(HOOKS).body if isinstance(n, ast.FunctionDef)]
    found += [Public(HOOKS, n.name, HOOKS, n, doc_of(n)) for n in hooks]
    return tuple(found)


def exported(package: str) -> Iterator[tuple[str, str]]:
    """What a package names for type checkers, and from which module."""
    for node in statements(tree(package).body):
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            for alias in node.names:
                if node.module.startswith("cacheness"):
                    yield alias.name, node.module


def found_name(package: str, name: str, module: str) -> Public:
    """Look a name up in the module that defines it."""
    home, node, doc = definition(module, name)
    return Public(package, name, home, node, doc)


@cache
def definition(module: str, name: str) -> tuple[str, Definition, str]:
    """The last definition of a name, overloads left out, with its docstring."""
    body = list(statements(tree(module).body))
    for node, after in reversed(list(zip(body, [*body[1:], None], strict=True))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name == name:
                return module, node, doc_of(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return module, node, text_of(after)
        elif isinstance(node, ast.ImportFrom) and node.module and names_it(node, name):
            return definition(node.module, name)
    raise LookupError(f"{module} does not define {name}")


def names_it(node: ast.ImportFrom, name: str) -> bool:
    """Whether an import brings a name."""
    return any((alias.asname or alias.name) == name for alias in node.names)


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those for type checkers included."""
    for node in body:
        if isinstance(node, ast.If):
            yield from statements(node.body)
        else:
            yield node


@cache
def tree(module: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(source_path(module).read_text(encoding="utf-8"))


def source_path(module: str) -> Path:
    """The file of a module."""
    package, *rest = module.split(".")
    folder = "cacheness-core" if package == "cacheness" else package.replace("_", "-")
    path = ROOT.joinpath(folder, "src", package, *rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


# --- members --------------------------------------------------------------------------------


def members(public: Public, names: frozenset[str]) -> list[Member]:
    """What a class has, with what it has from classes that are not public themselves."""
    if not isinstance(public.node, ast.ClassDef):
        return []
    found = {member.name: member for member in own_members(public.node)}
    above = list(ancestors(public.module, public.node))
    for _, base in above:
        if base.name not in names:
            for member in own_members(base):
                found.setdefault(member.name, member)
    for name, member in found.items():
        if not member.doc and (home := documented_in(name, [base for _, base in above])):
            found[name] = Member(name, member.declared, f"As in `{home}`.")
    return list(found.values())


def documented_in(name: str, above: list[ast.ClassDef]) -> str:
    """The class that documents what others override, a handler's capabilities included."""
    if any(base.name == "Handler" for base in above):
        above = above + [n for n in tree(CAPABILITIES).body if isinstance(n, ast.ClassDef)]
    for base in above:
        if any(member.name == name and member.doc for member in own_members(base)):
            return base.name
    return ""


def ancestors(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes of ours that a class is made of, nearest first."""
    direct = list(bases(module, node))
    yield from direct
    for home, base in direct:
        yield from ancestors(home, base)


def bases(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes of ours that a class is made of."""
    for base in node.bases:
        try:
            home, found, _ = definition(module, ast.unparse(base).partition("[")[0])
        except (LookupError, FileNotFoundError):
            continue
        if isinstance(found, ast.ClassDef):
            yield home, found


@cache
def own_members(node: ast.ClassDef) -> tuple[Member, ...]:
    """The public attributes and methods that a class body defines."""
    return tuple(members_in(node.body))


def members_in(body: list[ast.stmt]) -> Iterator[Member]:
    """The public attributes and methods among statements."""
    for one, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if is_public(one.name) and not is_overload(one):
                yield Member(one.name, member_signature(one), doc_of(one))
        elif isinstance(one, ast.AnnAssign) and is_public(ast.unparse(one.target)):
            yield Member(ast.unparse(one.target), attribute(one), text_of(after))
        elif isinstance(one, ast.Assign) and is_public(ast.unparse(one.targets[0])):
            yield assigned(one, text_of(after))


def assigned(node: ast.Assign, doc: str) -> Member:
    """An attribute, or a coroutine that is made of a method of `UnifiedCache`."""
    name = ast.unparse(node.targets[0])
    if isinstance(node.value, ast.Call) and ast.unparse(node.value).startswith("_"):
        like = ast.unparse(node.value.args[0])
        return Member(name, f"async {name}: as {like}", doc or f"As `{like}`, as a coroutine.")
    return Member(name, ast.unparse(node), doc)


def is_public(name: str) -> bool:
    """Whether it is meant for others; the tests in a suite are for pytest."""
    return not name.startswith(("_", "test_"))


def is_overload(node: Function) -> bool:
    """Whether it is one of several signatures for type checkers."""
    return any(ast.unparse(one) in {"overload", "typing.overload"} for one in node.decorator_list)


def member_signature(node: Function) -> str:
    """A method as it is called, or a property as an attribute."""
    decorators = {ast.unparse(one) for one in node.decorator_list}
    if decorators & {"property", "cached_property"}:
        return f"{node.name}: {ast.unparse(node.returns) if node.returns else 'object'}"
    return signature(node, bound="staticmethod" not in decorators)


def attribute(node: ast.AnnAssign) -> str:
    """An attribute with its type and, where it has one, its default."""
    declared = f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}"
    return declared if node.value is None else f"{declared} = {ast.unparse(node.value)}"


def signature(node: Function, *, bound: bool, name: str = "") -> str:
    """A function's parameters and result, one parameter a line where they are many."""
    parts = parameters(node.args)[1 if bound else 0 :]
    if parts and parts[0] == "/":
        parts = parts[1:]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not name else ""
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    line = f"{prefix}{name or node.name}({', '.join(parts)}){returns}"
    if len(line) <= 92:
        return line
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{prefix}{name or node.name}(\n{inner}){returns}"


def parameters(args: ast.arguments) -> list[str]:
    """Each parameter as it is written, with the marks between the kinds."""
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + list(args.defaults)
    parts = [parameter(arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if args.posonlyargs:
        parts.insert(len(args.posonlyargs), "/")
    if args.vararg:
        parts.append("*" + parameter(args.vararg, None))
    elif args.kwonlyargs:
        parts.append("*")
    keywords = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    parts += [parameter(arg, default) for arg, default in keywords]
    if args.kwarg:
        parts.append("**" + parameter(args.kwarg, None))
    return parts


def parameter(arg: ast.arg, default: ast.expr | None) -> str:
    """One parameter with its type and default; ``...`` is a default that has no literal."""
    text = arg.arg if arg.annotation is None else f"{arg.arg}: {ast.unparse(arg.annotation)}"
    if default is None:
        return text
    value = ast.unparse(default)
    value = "..." if value == "UNSET" else value
    return f"{text}={value}" if arg.annotation is None else f"{text} = {value}"


def doc_of(node: ast.AsyncFunctionDef | ast.FunctionDef | ast.ClassDef) -> str:
    """The docstring, or nothing."""
    return ast.get_docstring(node) or ""


def text_of(node: ast.stmt | None) -> str:
    """The text that stands below an attribute as its docstring."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return cleandoc(str(node.value.value))
    return ""


# --- the listing ----------------------------------------------------------------------------


def listing() -> str:
    """All public names with their signatures, one a line."""
    names = public_names()
    known = frozenset(public.name for public in names)
    lines = []
    for public in names:
        start = f"{public.package}.{public.name}"
        lines.append(one_line(f"{public.package}.{declared(public)}"))
        lines += [one_line(f"{start}.{member.declared}") for member in members(public, known)]
    return "\n".join(sorted(set(lines))) + "\n"


def one_line(text: str) -> str:
    """A declaration that was broken into lines, in one."""
    return re.sub(r",\s*\)", ")", re.sub(r"\(\s+", "(", re.sub(r"\s+", " ", text)))


def declared(public: Public) -> str:
    """How a public name is called, or what it is."""
    node = public.node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return signature(node, bound=False)
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if made:
            return signature(made[-1], bound=True, name=node.name)
        return node.name + (f"({', '.join(map(ast.unparse, node.bases))})" if node.bases else "")
    return f"{public.name} = {ast.unparse(node.value) if node.value else '...'}"


# --- the page -------------------------------------------------------------------------------


INTRODUCTION = """\
# Reference

All public names, as their docstrings have them. Written by `docs/make_api_reference.py`;
change the docstrings instead.

Everything is importable from `cacheness`, unless it stands under another package or another
module is named. What methods raise beside what they say: `CacheClosedError` once the cache
is closed, `InvalidKeyError` for a cache key that can't be one.
"""


def reference() -> str:
    """The whole page."""
    names = public_names()
    known = frozenset(public.name for public in names)
    parts = [INTRODUCTION]
    for title, group in grouped(names):
        parts.append(f"## {title}\n")
        for public in group:
            parts += page_of(public, known)
    return "\n".join(parts)


def grouped(names: Iterable[Public]) -> Iterator[tuple[str, list[Public]]]:
    """The names in the order of the page."""
    left = {(public.package, public.name): public for public in names}
    for title, wanted in GROUPS:
        yield title, [left.pop(key) for name in wanted for key in list(left) if key[1] == name]
    errors = [key for key, public in left.items() if public.module == "cacheness.errors"]
    core = [k for k in left if k[0].startswith("cacheness.") and k[0] not in {HOOKS, *PACKAGES}]
    core += [key for key in left if key[0] == "cacheness" and key not in errors]
    keys = {"For authors of plugins, and the rest": core, "Errors and warnings": errors}
    keys["Hooks: `cacheness.hookspecs`"] = [key for key in left if key[0] == HOOKS]
    for package in PACKAGES[1:]:
        keys[f"`{package}`"] = [key for key in left if key[0] == package]
    for title, those in keys.items():
        yield title, [left[key] for key in those]


def page_of(public: Public, known: frozenset[str]) -> Iterator[str]:
    """What the page says of one name."""
    yield f"### {public.name}\n"
    if public.package not in PACKAGES and public.package != HOOKS:
        yield f"Defined in `{public.package}`.\n"
    if isinstance(public.node, ast.ClassDef) and (of := base_names(public.node, known)):
        yield f"Extends {of}.\n"
    if not isinstance(public.node, ast.ClassDef) or has_init(public.node):
        yield f"```text\n{declared(public)}\n```\n"
    yield markdown(public.doc)
    defaults = option_defaults() if public.name == "CacheConfig" else {}
    for member in members(public, known):
        if "(" in member.declared.partition(":")[0]:
            yield f"#### {public.name}.{member.name}\n"
            yield f"```text\n{member.declared}\n```\n"
            yield markdown(member.doc)
        else:
            default = defaults.get(member.name)
            shown = member.declared if default is None else f"{member.declared} = {default}"
            text = " ".join(plain(member.doc).split())
            yield f"- `{one_line(shown)}`" + (f": {text}" if text else "") + "\n"


def base_names(node: ast.ClassDef, known: frozenset[str]) -> str:
    """The classes that it extends and that a reader knows, as code."""
    shown = [ast.unparse(base).partition("[")[0] for base in node.bases]
    builtin = {"Exception", "UserWarning", "dict", "str", "TypedDict", "KeyError", "OSError"}
    return ", ".join(f"`{one}`" for one in shown if one in known | builtin)


def has_init(node: ast.ClassDef) -> bool:
    """Whether it says itself how it is made."""
    return any(isinstance(n, ast.FunctionDef) and n.name == "__init__" for n in node.body)


def option_defaults() -> dict[str, str]:
    """The defaults of `CacheConfig`, out of its table."""
    _, node, _ = definition("cacheness.config", "_OPTIONS")
    value = node.value if isinstance(node, ast.AnnAssign) else None
    if not isinstance(value, ast.Dict):
        raise TypeError("cacheness.config._OPTIONS is no table any more")
    return {
        str(key.value): ast.unparse(row.elts[0])
        for key, row in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(row, ast.Tuple)
    }


def markdown(doc: str) -> str:
    """A docstring of Google's style as Markdown."""
    out: list[str] = []
    section = ""
    for line in doc.splitlines():
        if header := SECTION.match(line):
            while out and not out[-1]:
                out.pop()
            out += closing(section)
            section = header[1]
            out += ["", f"**{section}**", "", *(["```pycon"] if section in EXAMPLES else [])]
        elif section in EXAMPLES:
            out.append(re.sub(r" +# doctest:.*", "", line[4:]))
        elif section in {"Args", "Raises", "Attributes"}:
            out.append(described(line))
        else:
            out.append(plain(line[4:] if section else line))
    text = "\n".join([*out, *closing(section)]).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


EXAMPLES = ("Example", "Examples")


def closing(section: str) -> list[str]:
    """What ends a section."""
    return ["```"] if section in EXAMPLES else []


def described(line: str) -> str:
    """A line of a list of parameters or errors, as one of a Markdown list."""
    inner = line[4:]
    if inner.startswith(" ") or not inner:
        return "  " + plain(inner.strip()) if inner else ""
    name, colon, rest = inner.partition(":")
    return f"- `{name}`:{plain(rest)}" if colon else f"- {plain(inner)}"


def plain(text: str) -> str:
    """Text with Markdown's code marks and code blocks."""
    return re.sub(r"::$", ":", text.replace("``", "`"))


def main() -> None:
    """Write both files."""
    REFERENCE.write_text(reference(), encoding="utf-8")
    LISTING.write_text(listing(), encoding="utf-8")


if __name__ == "__main__":
    main()
