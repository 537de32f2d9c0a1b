"""Mistakes put into the segment language, for the tests which show that its laws can fail."""

import sys
from typing import Any

import pytest

LEAVES_PACKAGE = "domain.segments.leaves"


def patch_in_package(patch: pytest.MonkeyPatch, package: str, name: str, mutant: Any) -> None:
    """Replace a name in every loaded module of a package that has imported it, so that a new module is not forgotten."""
    modules = [module for path, module in sys.modules.items() if path == package or path.startswith(f"{package}.")]
    patched = [module for module in modules if hasattr(module, name)]
    assert patched, f"no module of {package} has {name}"
    for module in patched:
        patch.setattr(module, name, mutant)
