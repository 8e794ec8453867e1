# SPDX-License-Identifier: MIT
"""The public names are those of the committed listing, and all are documented."""

import ast
import re
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UPDATE = "run `uv run python docs/make_api_reference.py`, and commit what it changes"


@pytest.fixture(scope="module")
def maker():
    spec = spec_from_file_location("make_api_reference", ROOT / "docs" / "make_api_reference.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
def test_the_public_names_and_signatures_are_those_that_were_decided_on(maker):
    now, decided = set(maker.listing().splitlines()), set(maker.LISTING.read_text().splitlines())

    told = f"if this change of the public API is meant, {UPDATE}, and tell users in CHANGELOG.md"
    assert (sorted(now - decided), sorted(decided - now)) == ([], []), told


def test_the_reference_is_what_the_docstrings_give(maker):
    assert maker.REFERENCE.read_text() == maker.reference(), UPDATE


def test_every_public_name_is_in_the_reference(maker):
    headings = {
        line.removeprefix("### ")
        for line in maker.REFERENCE.read_text().splitlines()
        if line.startswith("### ")
    }

    for package in ("cacheness", "cacheness.testing", "cacheness_pandas", "cacheness_postgres"):
        missing = set(import_module(package).__all__) - headings
        assert not missing, (package, missing)


def test_every_public_name_has_a_docstring(maker):
    names = maker.public_names()
    known = frozenset(public.name for public in names)
    bare = [
        f"{public.package}.{public.name}"
        for public in names
        if not public.doc and public.name != "API_VERSION"
    ]
    for public in names:
        if public.name != "CachedOptions":  # told in the docstring of `cached`
            bare += [
                f"{public.package}.{public.name}.{member.name}"
                for member in maker.members(public, known)
                if not member.doc
            ]

    assert bare == []


def documented_functions(maker):
    """Each public function and method, its docstring, and the docstrings that it may rest on."""
    names = maker.public_names()
    known = frozenset(public.name for public in names)
    for public in names:
        if isinstance(public.node, maker.Function):
            yield public.name, public.node, public.doc
        if not isinstance(public.node, ast.ClassDef):
            continue
        above = [base for _, base in maker.ancestors(public.module, public.node)]
        classes = [public.node, *(base for base in above if base.name not in known)]
        shared = [maker.doc_of(one) for one in (public.node, *above)]
        if "Handler" in {base.name for base in above} or public.module == maker.CAPABILITIES:
            shared.append(maker.definition("cacheness.handlers.base", "Handler")[2])
        methods = {
            node.name: node
            for one in (*above[::-1], public.node)
            for node in one.body
            if isinstance(node, maker.Function) and not maker.is_overload(node)
        }
        own = {node.name for one in classes for node in one.body if hasattr(node, "name")}
        for name in own & set(methods):
            node = methods[name]
            if maker.is_public(name) and not is_fixture(node):
                doc = maker.doc_of(node)
                named = set(re.findall(r"`(\w+)`", doc)) & set(methods)
                rests_on = [maker.doc_of(methods[other]) for other in named]
                rests_on += [
                    maker.doc_of(n)
                    for one in above
                    for n in one.body
                    if isinstance(n, maker.Function) and n.name == name
                ]
                yield f"{public.name}.{name}", node, "\n".join([doc, *rests_on, *shared])


def is_fixture(node):
    """Whether pytest calls it, and nobody else."""
    return any("fixture" in ast.unparse(one) for one in node.decorator_list)


def test_every_parameter_of_a_public_function_is_told_of(maker):
    """In its docstring, in its class's, in a base's, or in that of a method that it names."""
    untold = []
    for name, node, doc in documented_functions(maker):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [node.args.kwarg] if node.args.kwarg else []
        words = [each.arg for each in arguments if each.arg not in {"self", "cls"}]
        missing = [
            word for word in words if not re.search(rf"``{word}``|^ *{word}:", doc, re.MULTILINE)
        ]
        if len(words) > 1 and missing:  # one alone is what the first line is about
            untold.append((name, missing))

    assert untold == []


UNITS = {
    r"(^|_)(seconds|timeout|staleness|age|older_than)$": "second",
    r"(^|_)(bytes|size|free)$": "byte",
}
"""What is said of a parameter or a field with such a name, or of all of its class."""


def units_missing(name, doc):
    return [
        unit
        for ending, unit in UNITS.items()
        if re.search(ending, name) and unit not in doc.lower()
    ]


def test_the_unit_of_every_duration_and_size_is_told(maker):
    names = maker.public_names()
    known = frozenset(public.name for public in names)
    untold = [
        (f"{public.name}.{member.name}", unit)
        for public in names
        for member in maker.members(public, known)
        if not member.doc.startswith(("Whether ", "As in `"))
        for unit in units_missing(member.name, f"{public.doc} {member.doc}")
    ]
    untold += [
        (f"{name}({argument.arg})", unit)
        for name, node, doc in documented_functions(maker)
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        for unit in units_missing(argument.arg, doc)
    ]

    assert untold == []


def test_every_error_that_a_public_function_raises_is_told_of(maker):
    """Those that it raises itself; an assertion of a suite is what the suite is for."""
    untold = []
    for name, node, doc in documented_functions(maker):
        raised = {
            ast.unparse(n.exc).partition("(")[0]
            for n in ast.walk(node)
            if isinstance(n, ast.Raise) and n.exc is not None
        }
        missing = {one for one in raised if one[0].isupper() and one not in doc}
        if missing - {"AssertionError"}:
            untold.append((name, sorted(missing)))

    assert untold == []
