# SPDX-License-Identifier: MIT
"""Everything that the four packages provide is proved by a suite, found as users find it."""

import ast
from pathlib import Path

import pytest

from cacheness.plugins.registry import registry_for

HERE = Path(__file__).parent
OURS = {"cacheness-core", "cacheness-pandas", "cacheness-tensorflow", "cacheness-postgres"}
KINDS = {
    "cacheness_handlers": "handler",
    "cacheness_compressors": "compressor",
    "cacheness_metadata_backends": "target",
    "cacheness_blob_backends": "target",
}
NOT_BY_A_SUITE = {
    "stream": "keeps what a running generator gave, which nobody else can make",
    "auto": "chooses among the others; no entry bears its name",
    "tensorflow_refused": "keeps nothing; it says why",
}


def proved(attribute):
    """What the classes in the contract tests set: names of specs, or targets."""
    found = set()
    for file in HERE.rglob("test_contract.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                for one in node.body:
                    if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == attribute:
                        found.add(ast.literal_eval(one.value) if is_text(one.value) else None)
    return found


def is_text(node):
    return isinstance(node, ast.Constant)


@pytest.mark.parametrize("hook", KINDS)
def test_all_that_our_packages_provide_is_proved_by_a_suite(hook):
    table = registry_for().discovered()[hook]
    ours = {name for name, of in table.distributions.items() if of in OURS}
    of_spec = {name: table.specs[name].target if "backends" in hook else name for name in ours}

    unproved = {name for name, known in of_spec.items() if known not in proved(KINDS[hook])}

    assert unproved - set(NOT_BY_A_SUITE) == set()


def test_all_four_packages_were_looked_at():
    tables = registry_for().discovered()

    assert {of for hook in KINDS for of in tables[hook].distributions.values()} >= OURS
