"""Group algebras as bilinear algorithms, and the ways to put matrix products into them.

`wedderburn` (an algorithm for the product of a group algebra, from its irreducible representations), `indexmaps`
(where the entries of A and B go), `embedding` (the encoder that this gives), `puzzles` (uniquely solvable puzzles and
the simultaneous products they stand for), `polish` (what may be optimised while the transform is kept) and
`composition` (what the catalogue gives by sums, Kronecker products and restriction).
"""
