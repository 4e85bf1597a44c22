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
    "Encoder.change_basis Encoder.drop_terms Encoder.keep_terms Encoder.restrict Encoder.to_ring Encoder.floats "
    "Encoder.__call__",
    "stl_algebra.files": "save load",
    "stl_algebra.catalogue": "best catalogue Catalogue.where",
    "stl_algebra.opening": "load save",
    "stl_algebra.fields": "matmul factors galois_field ring_of coefficients elements",
    "stl_algebra.known": "best_rank best_known lower_bound compare",
    "stl_algebra.bounds": "epsilon2_lower_bound",
    "stl_algebra.symmetry": "stabiliser equivalent",
    "stl_algebra.groups": "group groups character_table irreps irrep small_group small_group_id from_permutations "
    "matrix_group direct_product wreath_product subgroup_classes normal_subgroups automorphism_group is_isomorphic "
    "FourierTransform modular_fourier real_irreps realised_formats cayley_graph FiniteGroup.from_permutations "
    "FiniteGroup.character_table FiniteGroup.irreps FiniteGroup.subgroups FiniteGroup.automorphisms",
    "search": "discover",
    "search.improve": "improve",
    "kernels": "STLLinear convert_linear unconvert fast_matmul stl_matmul exact_matmul leak_test plan_matmul "
    "encode_weight matmul_split as_codec layout STLConv2d",
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
    needs = {"kernels.hf": "transformers", "kernels.lora": "peft"}
    if name in needs:
        pytest.importorskip(needs[name])
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize("module, name", [(m, n) for m, names in CALLED.items() for n in names.split()])
def test_what_a_user_calls_has_an_example(module, name):
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    assert ">>>" in (inspect.getdoc(thing) or ""), f"{module}.{name} has no example"
