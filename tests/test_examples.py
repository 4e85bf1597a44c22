"""Every example in a docstring runs, and what a user calls has one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

#: Public objects that a user calls; each docstring has an example that runs.
CALLED = {
    "stl_algebra.scores": "epsilon2 kappa2 predicted_error2 flop_ratio expansion score unit_rounding2 additions "
    "monte_carlo_epsilon2 monte_carlo_rounding",
    "stl_algebra.schemes": "standard strassen winograd laderman hopcroft simplex karatsuba toom_cook gauss",
    "stl_algebra.symbolic": "formulas expanded proves_symbolically",
    "stl_algebra.targets": "matmul target polymul cyclic_convolution symmetric_square",
    "stl_algebra.identities": "verify",
    "stl_algebra.conversions": "common_ring",
    "stl_algebra.encoder": "Encoder.build Encoder.kron Encoder.direct_sum Encoder.rotate Encoder.transpose "
    "Encoder.change_basis Encoder.drop_terms Encoder.to_ring Encoder.floats",
    "stl_algebra.files": "save load",
    "stl_algebra.catalogue": "best catalogue",
}
PACKAGES = ("stl_algebra", "search", "kernels")


def modules():
    """Names of all modules that import without a GPU."""
    for top in PACKAGES:
        package = importlib.import_module(top)
        yield top
        for found in pkgutil.walk_packages(package.__path__, top + "."):
            if not found.name.endswith("__main__") and ".triton." not in found.name:
                yield found.name


@pytest.mark.parametrize("name", sorted(modules()))
def test_examples_run(name):
    if name == "kernels.hf":
        pytest.importorskip("transformers")
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize("module, name", [(m, n) for m, names in CALLED.items() for n in names.split()])
def test_what_a_user_calls_has_an_example(module, name):
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    assert ">>>" in (inspect.getdoc(thing) or ""), f"{module}.{name} has no example"
