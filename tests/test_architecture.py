"""Imports point one way: verbs, then tasks, then what knows arrays only."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "irstd_jax"
FREE = {"files", "progress"}  # writing files whole, telling how far it is: for all
ALLOWED = {
    "diffusion": set(),
    "ops": set(),
    "metrics": set(),
    "viz": set(),
    "classical": set(),
    "data": set(),
    "models": {"ops"},
    "mosaic": {"ops"},
    "weights": {"models"},
    "tasks": {"models", "classical", "diffusion", "metrics", "mosaic", "ops"},
    "training": set(),
}


def imported(path):
    """The parts of the package that a file imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "irstd_jax":
            parts |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "irstd_jax."
        ):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            parts |= {n[1] for n in names if n[0] == "irstd_jax" and len(n) > 1}
    return parts


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_arrows(folder):
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        extra = imported(path) - ALLOWED[folder] - FREE - {folder}
        assert not extra, f"{path.name} must not import {sorted(extra)}"


def test_every_folder_is_under_the_rule():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ALLOWED)
