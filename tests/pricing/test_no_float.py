"""No float touches money: no float literal, no `/` between numbers, no float(), no round-trip through one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pricing

SOURCES = sorted(Path(pricing.__file__).parent.rglob("*.py"))
# `/` that is exact: on Fractions in money, on Paths in the converter.
EXACT_DIVISIONS = {"money.py": 1, "convert.py": 2}


def violations(tree: ast.AST) -> tuple[list[str], int]:
    found, divisions = [], 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"line {node.lineno}: float literal {node.value}")
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            divisions += 1
        if isinstance(node, ast.Name) and node.id in ("float", "math", "statistics"):
            found.append(f"line {node.lineno}: {node.id}")
    return found, divisions


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_float_in_pricing(path: Path) -> None:
    found, divisions = violations(ast.parse(path.read_text()))
    assert not found
    assert divisions == EXACT_DIVISIONS.get(path.name, 0)


@pytest.mark.parametrize("code", ["x = 1.5", "x = 1e6", "x = float('1')", "import math\nmath.floor(x)"])
def test_the_check_sees_floats(code: str) -> None:
    assert violations(ast.parse(code))[0]


def test_the_check_sees_divisions() -> None:
    assert violations(ast.parse("x = a / b; y /= c"))[1] == 2
