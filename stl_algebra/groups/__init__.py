"""Finite groups and their representations, exactly.

>>> from stl_algebra.groups import group, character_table, irreps
>>> q8 = group("Q8")
>>> character_table(q8).degrees.tolist(), character_table(q8).indicators.tolist()
([1, 1, 1, 1, 2], [1, 1, 1, 1, -1])
>>> irreps(q8)[4].matrices.shape
(8, 2, 2)

What is where: `table` (the group itself), `constructors`, `generate` (permutations, matrices, presentations),
`smallgroups` (all 319 groups of order ≤ 63), `names`; `subgroups`, `morphisms`; `cyclotomic`, `linalg`, `modular`
(exact arithmetic); `characters`, `irreducible`, `young`, `representations`, `realforms`, `doublecosets`; `universal`,
`cocycles`, `projective`, `equivalence` (Schur multiplier, projective representations); `fourier`, `realfourier`;
`classical`, `designs`, `tripleproduct`.  Only numpy is imported; python-flint, SymPy, networkx and galois are loaded
by the functions that need them.

Conventions: ``table[g, h]`` is the index of g·h; permutations and matrices act on the left; vectors are columns;
ρ(g·h) = ρ(g) ρ(h); ζ_n = exp(2πi/n); D_n has order 2n; classes, characters and subgroups have a fixed order that
does not depend on seeds.

Growth with order, CPU seconds on one core (``python -m search.groups --measure``):

==========  =====  =======  =====  ===============  ======  =======================  =============
group       order  classes  table  character table  irreps  lattice (subgroups)      automorphisms
==========  =====  =======  =====  ===============  ======  =======================  =============
2^(1+4)+       32       17   0.00            0.003   0.005  0.01 (110)                       0.006
A5             60        5   0.00            0.004    0.06  0.01 (59)                        0.006
C2^6           64       64   0.00            0.014   0.005  0.62 (2825)                      0.03
2^(1+6)+      128       65   0.00            0.013    0.02  0.68 (3556)                      0.03
PSL(2,7)      168        6   0.00            0.005    0.07  0.08 (179)
SL(2,7)       336       11   0.00            0.015    0.24
PSL(2,11)     660        8   0.01            0.021    0.35
S6            720       11   0.01            0.008    0.14
C3^3wrC2     1458      405   0.03            0.83     2.6
A7           2520        9   0.10            0.026    2.3
S7           5040       15   0.36            0.024    1.9
==========  =====  =======  =====  ===============  ======  =======================  =============

All irreps of the 51 groups of order 32 together: 1.2 s; all 319 groups of order ≤ 63: tables and irreps 8.8 s,
automorphism groups 3.1 s, subgroup lattices 2.2 s.  The multiplication table costs |G|² (128 MiB at the limit of
8192; `groups.large` does without one, for character tables up to order 200000), a character table k³ for k classes plus
|G|·k, monomial irreps |G|·d each, Dixon's formula |G|·d³·φ(n) over Q(ζ_n) and a dφ(n)×dφ(n) inversion, a lattice the
number of subgroups times the number of cyclic ones.
"""

from __future__ import annotations

from stl_algebra.groups.characters import CharacterTable, character_table
from stl_algebra.groups.cocycles import (
    Cohomology,
    central_extension,
    cohomology,
    is_cocycle,
    schur_cover,
    schur_multiplier,
)
from stl_algebra.groups.constructors import (
    abelian,
    affine,
    alternating,
    cyclic,
    dicyclic,
    dihedral,
    extraspecial,
    frobenius,
    general_linear,
    heisenberg,
    metacyclic,
    modular_group,
    projective_special_linear,
    quaternion,
    semidihedral,
    special_linear,
    symmetric,
)
from stl_algebra.groups.cyclotomic import Cyclotomic, format_number
from stl_algebra.groups.designs import (
    frame_operator,
    frame_potential,
    gram_matrix,
    invariant_form,
    is_centred_tight_frame,
    is_projective_design,
    is_spherical_design,
    is_unitary_design,
    orbit,
    projective_strength,
    simplex,
    spherical_strength,
    unitary_strength,
)
from stl_algebra.groups.doublecosets import DoubleCosets, MackeyTerm, branching, double_cosets, induce, mackey, restrict
from stl_algebra.groups.fourier import AbelianTransform, FourierTransform, abelian_basis, convolve, modular_fourier
from stl_algebra.groups.generate import from_permutations, matrix_group, permutation_group, presentation
from stl_algebra.groups.irreducible import Irrep, irrep, irreps, split_regular
from stl_algebra.groups.morphisms import (
    Automorphisms,
    automorphism_group,
    homomorphism,
    is_isomorphic,
    isomorphism,
    require_homomorphism,
    small_group_id,
)
from stl_algebra.groups.names import group, groups
from stl_algebra.groups.products import direct_product, semidirect_product, wreath_product
from stl_algebra.groups.projective import ProjectiveIrrep, projective_degrees, projective_irreps
from stl_algebra.groups.realforms import RealForm, real_form, real_irreps
from stl_algebra.groups.realfourier import RealFourier, best_known_rank, real_multiplications
from stl_algebra.groups.representations import Representation
from stl_algebra.groups.smallgroups import (
    number_of_small_groups,
    small_group,
    small_group_description,
    small_groups,
)
from stl_algebra.groups.subgroups import (
    SubgroupClass,
    cayley_graph,
    normal_subgroups,
    subgroup_classes,
    subgroup_lattice,
    sylow_subgroup,
)
from stl_algebra.groups.table import MAX_ORDER, ConjugacyClasses, FiniteGroup
from stl_algebra.groups.tripleproduct import has_triple_product_property, realised_formats
from stl_algebra.groups.young import partitions, specht_matrices

__all__ = [
    "MAX_ORDER",
    "AbelianTransform",
    "Automorphisms",
    "CharacterTable",
    "Cohomology",
    "ConjugacyClasses",
    "Cyclotomic",
    "DoubleCosets",
    "FiniteGroup",
    "FourierTransform",
    "Irrep",
    "MackeyTerm",
    "ProjectiveIrrep",
    "RealForm",
    "RealFourier",
    "Representation",
    "SubgroupClass",
    "abelian",
    "abelian_basis",
    "affine",
    "alternating",
    "automorphism_group",
    "best_known_rank",
    "branching",
    "cayley_graph",
    "central_extension",
    "character_table",
    "cohomology",
    "convolve",
    "cyclic",
    "dicyclic",
    "dihedral",
    "direct_product",
    "double_cosets",
    "extraspecial",
    "format_number",
    "frame_operator",
    "frame_potential",
    "frobenius",
    "from_permutations",
    "general_linear",
    "gram_matrix",
    "group",
    "groups",
    "has_triple_product_property",
    "heisenberg",
    "homomorphism",
    "induce",
    "invariant_form",
    "irrep",
    "irreps",
    "is_centred_tight_frame",
    "is_cocycle",
    "is_isomorphic",
    "is_projective_design",
    "is_spherical_design",
    "is_unitary_design",
    "isomorphism",
    "mackey",
    "matrix_group",
    "metacyclic",
    "modular_fourier",
    "modular_group",
    "normal_subgroups",
    "number_of_small_groups",
    "orbit",
    "partitions",
    "permutation_group",
    "presentation",
    "projective_degrees",
    "projective_irreps",
    "projective_special_linear",
    "projective_strength",
    "quaternion",
    "real_form",
    "real_irreps",
    "real_multiplications",
    "realised_formats",
    "require_homomorphism",
    "restrict",
    "schur_cover",
    "schur_multiplier",
    "semidihedral",
    "semidirect_product",
    "simplex",
    "small_group",
    "small_group_description",
    "small_group_id",
    "small_groups",
    "specht_matrices",
    "special_linear",
    "spherical_strength",
    "split_regular",
    "subgroup_classes",
    "subgroup_lattice",
    "sylow_subgroup",
    "symmetric",
    "unitary_strength",
    "wreath_product",
]
