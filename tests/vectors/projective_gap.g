# Expected values for tests/stl_algebra/test_groups_projective.py and test_groups_names.py, computed by GAP 4 with
# its package SmallGrp.
#
#   gap -q projective_gap.g < /dev/null > projective_gap.json
#
# "small": every group of order <= 63: elementary divisors of G/G' and of the Schur multiplier, and, for covers of order
#   <= 400, [degree, how often] for the irreducible representations of a Schur cover (all covers have the same).
# "extensions": for every group of order <= 16 the SmallGroups indices of the groups with a central subgroup of order 2
#   and this quotient: the classes of H^2(G, +-1).
# "large": multipliers of larger groups, given by name.
# "named": sorted [size, element order] of the conjugacy classes of groups that have a name.
# "cosets": for groups of order 24, all pairs of conjugacy classes of subgroups: [|H|, |K|, sorted double coset sizes].
SetPrintFormattingStatus("*stdout*", false);;
Out := function(x)
  if IsList(x) and not IsString(x) or x = [] then
    return Concatenation("[", JoinStringsWithSeparator(List(x, Out), ","), "]");
  fi;
  return String(x);
end;;
# elementary divisors, each dividing the next, of an abelian group given by prime power invariants
Divisors := function(powers)
  local out, primes, parts, p, k;
  powers := Filtered(powers, x -> x > 1);
  primes := Set(List(powers, x -> Factors(x)[1]));
  parts := List(primes, p -> Reversed(SortedList(Filtered(powers, x -> x mod p = 0))));
  out := [];
  if parts = [] then return out; fi;
  for k in [1..Maximum(List(parts, Length))] do
    Add(out, Product(List(parts, function(q) if k <= Length(q) then return q[k]; fi; return 1; end)));
  od;
  return Reversed(out);
end;;
Print("{\"small\":[\n");
first := true;;
for n in [1..63] do
  for i in [1..NumberSmallGroups(n)] do
    G := SmallGroup(n, i);
    M := Divisors(AbelianInvariantsMultiplier(G));
    degrees := [];
    if Product(M) * n <= 400 then
      degrees := Collected(List(Irr(Source(EpimorphismSchurCover(G))), chi -> chi[1]));
    fi;
    if not first then Print(",\n"); fi;
    first := false;
    Print("{\"id\":", Out([n, i]), ",\"abelian\":", Out(Divisors(AbelianInvariants(G))), ",\"multiplier\":", Out(M),
          ",\"degrees\":", Out(degrees), "}");
  od;
od;
Print("\n],\"extensions\":[\n");
first := true;;
for n in [1..16] do
  found := List([1..NumberSmallGroups(n)], i -> []);
  for j in [1..NumberSmallGroups(2 * n)] do
    H := SmallGroup(2 * n, j);
    for z in Filtered(Centre(H), x -> Order(x) = 2) do
      AddSet(found[IdGroup(H / Group(z))[2]], j);
    od;
  od;
  for i in [1..NumberSmallGroups(n)] do
    if not first then Print(",\n"); fi;
    first := false;
    Print("{\"id\":", Out([n, i]), ",\"extensions\":", Out(found[i]), "}");
  od;
od;
# the image of the group itself: the range of the isomorphism may be larger
Perm := function(G)
  local f;
  f := IsomorphismPermGroup(G);
  return Group(List(GeneratorsOfGroup(G), x -> x ^ f));
end;;
Affine := function(n, q, special)
  local L, one, gens, mats, m, big, i;
  if special then L := SL(n, q); else L := GL(n, q); fi;
  one := One(GF(q));
  mats := [];
  for m in GeneratorsOfGroup(L) do
    big := IdentityMat(n + 1, GF(q));
    big{[1..n]}{[1..n]} := m;
    Add(mats, big);
  od;
  for i in [1..n] do
    for m in BasisVectors(Basis(GF(q))) do
      big := IdentityMat(n + 1, GF(q));
      big[n + 1][i] := m;
      Add(mats, big);
    od;
  od;
  return Perm(Group(mats));
end;;
M11 := Group((1,2,3,4,5,6,7,8,9,10,11), (3,7,11,8)(4,10,5,6));;
Weyl := function(t, n) return Perm(WeylGroup(RootSystem(SimpleLieAlgebra(t, n, Rationals)))); end;;
large := [
  ["S5", SymmetricGroup(5)], ["S6", SymmetricGroup(6)], ["A6", AlternatingGroup(6)], ["A7", AlternatingGroup(7)],
  ["PSL(2,7)", PSL(2,7)], ["PSL(2,8)", PSL(2,8)], ["PSL(2,11)", PSL(2,11)], ["PGL(2,7)", PGL(2,7)], ["PSL(3,3)", PSL(3,3)]
];;
Print("\n],\"large\":{\n");
first := true;;
for pair in large do
  if not first then Print(",\n"); fi;
  first := false;
  Print("\"", pair[1], "\":", Out(Divisors(AbelianInvariantsMultiplier(pair[2]))));
od;
named := [
  ["V4", AbelianGroup([2,2])], ["Z/6", CyclicGroup(6)], ["Dih(4)", DihedralGroup(8)], ["DihedralGroup(8)", DihedralGroup(8)],
  ["Sym(4)", SymmetricGroup(4)], ["Alt(5)", AlternatingGroup(5)], ["Dic5", DicyclicGroup(20)],
  ["F20", Affine(1, 5, false)], ["F21", SmallGroup(21, 1)], ["F42", Affine(1, 7, false)], ["F56", Affine(1, 8, false)],
  ["PGL(2,5)", PGL(2,5)], ["PGL(2,7)", PGL(2,7)], ["PGL(2,9)", PGL(2,9)], ["PSL(2,9)", PSL(2,9)], ["PSL(3,3)", PSL(3,3)],
  ["GL(3,2)", GL(3,2)], ["GL(2,3)", GL(2,3)], ["GL(2,4)", GL(2,4)], ["SL(3,3)", SL(3,3)], ["SL(2,4)", SL(2,4)],
  ["AGL(2,3)", Affine(2, 3, false)], ["ASL(2,3)", Affine(2, 3, true)], ["AGL(3,2)", Affine(3, 2, false)],
  ["AGL(2,4)", Affine(2, 4, false)], ["AGL(1,9)", Affine(1, 9, false)],
  ["M9", Stabilizer(M11, [10, 11], OnTuples)], ["M10", Stabilizer(M11, 11)], ["M11", M11],
  ["2T", SL(2,3)], ["2O", SmallGroup(48, 28)], ["2I", SL(2,5)], ["Oh", DirectProduct(SymmetricGroup(4), CyclicGroup(2))],
  ["Ih", DirectProduct(AlternatingGroup(5), CyclicGroup(2))], ["Td", SymmetricGroup(4)],
  ["W(A3)", Weyl("A", 3)], ["W(B3)", Weyl("B", 3)], ["W(C3)", Weyl("C", 3)], ["W(D4)", Weyl("D", 4)],
  ["W(F4)", Weyl("F", 4)], ["W(G2)", Weyl("G", 2)], ["W(D5)", Weyl("D", 5)],
  ["<(1 2 3 4 5), (2 3 5 4)>", Group((1,2,3,4,5), (2,3,5,4))], ["mono(2-1,1-2)", DihedralGroup(8)],
  ["mono(231,1w2ww3)", ExtraspecialGroup(27, "+")], ["GF(3)[1101,0110]", GL(2,3)]
];;
Print("\n},\"named\":{\n");
first := true;;
for pair in named do
  if not first then Print(",\n"); fi;
  first := false;
  G := pair[2];
  if not IsPermGroup(G) then G := Perm(G); fi;
  Print("\"", pair[1], "\":", Out(SortedList(List(ConjugacyClasses(G), c -> [Size(c), Order(Representative(c))]))));
od;
Print("\n},\"cosets\":[\n");
first := true;;
for i in [1..NumberSmallGroups(24)] do
  G := SmallGroup(24, i);
  subs := List(ConjugacyClassesSubgroups(G), Representative);
  rows := [];
  for H in subs do
    for K in subs do
      Add(rows, [Size(H), Size(K), SortedList(List(DoubleCosetRepsAndSizes(G, H, K), x -> x[2]))]);
    od;
  od;
  if not first then Print(",\n"); fi;
  first := false;
  Print("{\"id\":", Out([24, i]), ",\"rows\":", Out(SortedList(rows)), "}");
od;
Print("\n]}\n");
QUIT;
