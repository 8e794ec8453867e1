# SPDX-License-Identifier: MIT
"""Prints the code digest of ``job.run`` in each of the projects named on the command line."""

import importlib
import json
import os
import sys
import warnings

from cacheness.keys.code import CodeDigest

found = {}
site = sys.path[:]
kept = set(sys.modules)
for project in sys.argv[1:]:
    sys.path[:] = [project, os.path.join(project, "site-packages"), *site]
    for name in set(sys.modules) - kept:
        if getattr(sys.modules[name], "__file__", None) and name in (
            ["job", "helper", "deep", "settings", "late", "later", "shapes", "extlib"]
        ):
            del sys.modules[name]
    importlib.invalidate_caches()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digest = CodeDigest(importlib.import_module("job").run)
        found[project] = [digest.current(), digest.parts(), digest.not_followed()]
json.dump(found, sys.stdout)
