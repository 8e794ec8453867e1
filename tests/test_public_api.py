# SPDX-License-Identifier: MIT
"""The public names are those of the committed listing, and all are documented."""

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
