"""The import arrows point one way, importing stays cheap, and what is public exists and is documented."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "stl_algebra": {"torch", "triton", "search", "kernels"},
    "search": {"kernels"},
    "kernels": {"search"},
}
CORE = ["errors", "rings", "targets", "encoder", "conversions", "identities", "scores", "schemes", "files", "symbolic"]


def imports_of(source):
    """Top-level names of everything a module imports, also inside functions and through importlib."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                found.add(node.args[0].value.split(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_arrows(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): bad for f in files if (bad := imports_of(f.read_text()) & FORBIDDEN[package])}
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "from torch.nn import Linear",
        "def f():\n    import torch.cuda as c",
        "def f():\n    from torch import nn",
        "import importlib\nimportlib.import_module('torch.nn')",
        "__import__('torch')",
    ],
)
def test_arrow_scan_sees_lazy_imports(line):
    assert "torch" in imports_of(line)


def modules():
    """Every module of the three packages by its dotted name."""
    found = {}
    for package in FORBIDDEN:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def files_imported(name, source, is_package, known):
    """Which of the known modules a module imports, also inside functions; what only type checkers read is left out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    home = name if is_package else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = home.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {full if (full := f"{base}.{alias.name}") in known else base for alias in node.names}
    return (found & set(known)) - {name}


def circles(graph):
    """Sets of modules that import one another, directly or by way of others."""
    reach = {}

    def reached(start):
        seen, frontier = set(), [start]
        while frontier:
            for there in graph[frontier.pop()] - seen:
                seen.add(there)
                frontier.append(there)
        return seen

    for name in graph:
        reach[name] = reached(name)
    return {frozenset({n} | {m for m in reach[n] if n in reach[m]}) for n in graph if n in reach[n]}


def test_no_circles_of_files():
    known = modules()
    graph = {n: files_imported(n, f.read_text(), f.name == "__init__.py", known) for n, f in known.items()}
    assert sum(map(len, graph.values())) > 300
    assert not {tuple(sorted(c)) for c in circles(graph)}


@pytest.mark.parametrize("back", ["from .a import x", "def f():\n    from . import a", "import p.a", "from p import a"])
def test_circle_scan_sees_lazy_and_relative_imports(back):
    sources = {"p.a": "from .b import y", "p.b": "from p import c", "p.c": back}
    graph = {n: files_imported(n, s, False, sources) for n, s in sources.items()}
    assert circles(graph) == {frozenset(sources)}
    sources["p.c"] = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import x"
    assert not circles({n: files_imported(n, s, False, sources) for n, s in sources.items()})


@pytest.mark.parametrize("package", ["search", "kernels"])
def test_imports_inside_a_package_are_relative(package):
    """So that it can be installed under another name."""
    wrong = {str(f.relative_to(ROOT)) for f in (ROOT / package).rglob("*.py") if package in imports_of(f.read_text())}
    assert not wrong


def fresh(code):
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_the_algebra_loads_nothing_heavy():
    heavy = "sympy galois torch networkx numba triton flint scipy safetensors"
    assert fresh(f"import sys, stl_algebra; print(*[m for m in '{heavy}'.split() if m in sys.modules])") == []


def test_search_never_loads_kernels_nor_kernels_search():
    code = "import sys, {0}.{1}; print(*[m for m in sys.modules if m.split('.')[0] == '{2}'])"
    assert fresh(code.format("search", "run", "kernels")) == []
    assert fresh(code.format("kernels", "reference", "search")) == []


@pytest.mark.parametrize("name", CORE)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(f"stl_algebra.{name}")
    assert module.__doc__
    for public in module.__all__:
        value = getattr(module, public)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert value.__doc__, f"{name}.{public}"


def test_reference_vectors_state_source_and_licence():
    folder = ROOT / "tests" / "vectors" / "reference_schemes"
    text = (folder / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| s")]
    assert {row.split("|")[1].strip() for row in rows} == {p.name for p in folder.glob("*.json")}
    assert all(row.split("|")[6].strip() for row in rows)
