"""The package is typed: both checkers agree, and the stub says what the module has."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import windlass
from windlass import _native

PACKAGE = Path(windlass.__file__).parent
USE = Path(__file__).parent / "typed_use.py"


def checked(arguments: list[str], folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_agrees(tmp_path: Path) -> None:
    cache = ["--cache-dir", str(tmp_path)]
    checked(["mypy", "--strict", *cache, "-p", "windlass"], tmp_path)
    checked(["mypy", "--strict", *cache, str(USE)], tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("basedpyright") is None, reason="basedpyright is not installed")
def test_pyright_agrees(tmp_path: Path) -> None:
    config = tmp_path / "pyrightconfig.json"
    config.write_text('{"typeCheckingMode": "standard", "reportMissingModuleSource": false}')
    checked(["basedpyright", "--project", str(config), "--pythonpath", sys.executable, str(PACKAGE), str(USE)], tmp_path)


@pytest.mark.skipif("WINDLASS_WHEEL_IN" not in os.environ, reason="cargo xtask python says where the wheel is installed")
def test_what_is_tested_is_the_wheel() -> None:
    assert PACKAGE.is_relative_to(os.environ["WINDLASS_WHEEL_IN"])
    assert Path(_native.__file__).parent == PACKAGE


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_stub_says_what_the_module_has() -> None:
    tree = ast.parse((PACKAGE / "_native.pyi").read_text())
    stated = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    stated.pop("NodeSpec")
    there = {name for name in dir(_native) if not name.startswith("_")}
    assert set(stated) == there
    for name, node in stated.items():
        thing = getattr(_native, name)
        if isinstance(node, ast.FunctionDef):
            assert parameters(thing) == names_of(node), name
            continue
        methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        assert set(methods) == {own for own in vars(thing) if not own.startswith("_")}, name
        for method, one in methods.items():
            assert parameters(getattr(thing, method)) == names_of(one), f"{name}.{method}"


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def names_of(node: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in node.args.args]
