"""What is installed: our own names, every package, every encoder; the version in one place."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INSTALLED = {"stl_algebra": "stl_algebra", "search": "stl_search", "kernels": "stl_kernels"}
#: Run from the checkout only: they compare with baselines and need the repository.
LEFT_OUT = {"stl_search.benchmarks"}


def test_every_package_is_listed_under_its_installed_name():
    folders = set()
    for name, installed in INSTALLED.items():
        for file in (ROOT / name).rglob("__init__.py"):
            parts = file.parent.relative_to(ROOT / name).parts
            folders.add(".".join((installed, *parts)))
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    assert listed == folders - LEFT_OUT | {"stl_algebra.encoders"}


def test_no_installed_name_belongs_to_somebody_else():
    tops = {name.split(".")[0] for name in PROJECT["tool"]["setuptools"]["packages"]}
    assert tops == {"stl_algebra", "stl_search", "stl_kernels"}


def test_console_verbs_name_installed_modules():
    for target in PROJECT["project"]["entry-points"]["stl_algebra.commands"].values():
        module, attribute = target.split(":")
        top, *rest = module.split(".")
        source = {v: k for k, v in INSTALLED.items()}[top]
        path = ROOT / source / Path(*rest)
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        assert f"\n{attribute} = typer.Typer(" in file.read_text(encoding="utf-8"), target
