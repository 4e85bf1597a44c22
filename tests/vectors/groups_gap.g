# Expected values for tests/stl_algebra/test_groups_gap.py, computed by GAP 4 with its package SmallGrp.
#
#   gap -q groups_gap.g < /dev/null > groups_gap.json
#
# "small": every group of order <= 63.  Elements are numbered by position in AsSSortedList(G),
#   as in stl_algebra/groups/data/small_groups.g, so classes can be compared one by one.
# "large": groups given by permutation generators (lists of images, from 0; GAP acts on the right).
# "named": order and SmallGroups index of groups that have a name.
# A character value is an index into "values", each a list [conductor, [[exponent, coefficient], ...]].
elements := [];;
SetPrintFormattingStatus("*stdout*", false);;
SparseValue := function(z)
  local n, c, out, k;
  n := Conductor(z);
  c := CoeffsCyc(z, n);
  out := [];
  for k in [1..n] do if c[k] <> 0 then Add(out, [k - 1, c[k]]); fi; od;
  return [n, out];
end;;
Out := function(x)
  # JSON for nested lists of integers, without spaces
  local s;
  if IsList(x) and not IsString(x) or x = [] then
    return Concatenation("[", JoinStringsWithSeparator(List(x, Out), ","), "]");
  fi;
  return String(x);
end;;
Table := function(G, where)
  local cl, irr, values, rows, row, chi, v, p, ct;
  ct := CharacterTable(G);
  cl := ConjugacyClasses(ct);
  irr := Irr(ct);
  values := [];
  rows := [];
  for chi in irr do
    row := [];
    for v in chi do
      p := Position(values, v);
      if p = fail then Add(values, v); p := Length(values); fi;
      Add(row, p - 1);
    od;
    Add(rows, row);
  od;
  Print("\"classes\":", Out(List(cl, c -> [where(Representative(c)), Size(c), Order(Representative(c))])),
        ",\"values\":", Out(List(values, SparseValue)), ",\"characters\":", Out(rows),
        ",\"indicators\":", Out(Indicator(ct, irr, 2)));
end;;
Print("{\"small\":[\n");
first := true;;
for n in [1..63] do
  for i in [1..NumberSmallGroups(n)] do
    G := SmallGroup(n, i);
    elements := AsSSortedList(G);
    if not first then Print(",\n"); fi;
    first := false;
    subs := ConjugacyClassesSubgroups(G);
    Print("{\"id\":", Out([n, i]), ",\"exponent\":", Exponent(G), ",\"centre\":", Size(Centre(G)),
          ",\"derived\":", Size(DerivedSubgroup(G)), ",\"automorphisms\":", Size(AutomorphismGroup(G)),
          ",\"subgroups\":", Sum(subs, Size), ",\"subgroup_classes\":", Length(subs),
          ",\"normal_subgroups\":", Number(subs, c -> Size(c) = 1), ",");
    Table(G, x -> PositionSorted(elements, x) - 1);
    Print("}");
  od;
od;
Print("\n],\"large\":[\n");
ImageList := function(x, d) return List([1..d], k -> k^x - 1); end;;
# the image of the group itself: the range of the isomorphism may be larger
PermImage := G -> Group(List(GeneratorsOfGroup(G), x -> x ^ IsomorphismPermGroup(G)));;
large := [
  ["S5", SymmetricGroup(5)], ["S6", SymmetricGroup(6)], ["S7", SymmetricGroup(7)],
  ["A6", AlternatingGroup(6)], ["A7", AlternatingGroup(7)],
  ["PSL(2,7)", PSL(2,7)], ["PSL(2,8)", PSL(2,8)], ["PSL(2,11)", PSL(2,11)],
  ["SL(2,5)", PermImage(SL(2,5))], ["SL(2,7)", PermImage(SL(2,7))],
  ["GL(2,3)", PermImage(GL(2,3))], ["GL(2,4)", PermImage(GL(2,4))],
  ["GL(2,5)", PermImage(GL(2,5))],
  ["Heis(5)", PermImage(ExtraspecialGroup(125, "+"))],
  ["2^(1+6)+", PermImage(ExtraspecialGroup(128, "+"))],
  ["2^(1+6)-", PermImage(ExtraspecialGroup(128, "-"))],
  ["3^(1+4)+", PermImage(ExtraspecialGroup(243, "+"))],
  ["C2^3wrC2", WreathProduct(AbelianGroup(IsPermGroup, [2,2,2]), SymmetricGroup(2))],
  ["C3^3wrC2", WreathProduct(AbelianGroup(IsPermGroup, [3,3,3]), SymmetricGroup(2))],
  ["C3wrS3", WreathProduct(CyclicGroup(IsPermGroup, 3), SymmetricGroup(3))],
  ["C2wrS4", WreathProduct(CyclicGroup(IsPermGroup, 2), SymmetricGroup(4))],
  ["AGL(1,9)", PermImage(SemidirectProduct(Group(Z(9) * IdentityMat(1, GF(9))), GF(9)^1))],
  ["S4xS3", DirectProduct(SymmetricGroup(4), SymmetricGroup(3))],
  ["SL(2,3)xC5", DirectProduct(PermImage(SL(2,3)), CyclicGroup(IsPermGroup, 5))],
  ["M11", Group((1,2,3,4,5,6,7,8,9,10,11), (3,7,11,8)(4,10,5,6))]
];;
first := true;;
for pair in large do
  G := pair[2];
  if not first then Print(",\n"); fi;
  first := false;
  d := Maximum(1, LargestMovedPoint(G));
  Print("{\"name\":\"", pair[1], "\",\"order\":", Size(G),
        ",\"generators\":", Out(List(GeneratorsOfGroup(G), x -> ImageList(x, d))), ",");
  if Size(G) <= 250 then
    subs := ConjugacyClassesSubgroups(G);
    Print("\"subgroups\":", Sum(subs, Size), ",\"subgroup_classes\":", Length(subs), ",");
  fi;
  Table(G, x -> Out(ImageList(x, d)));
  Print("}");
od;
Print("\n],\"named\":{\n");
named := [
  ["C12", CyclicGroup(12)], ["C4xC2", AbelianGroup([4, 2])], ["C2^5", AbelianGroup([2, 2, 2, 2, 2])],
  ["D3", DihedralGroup(6)], ["D4", DihedralGroup(8)], ["D6", DihedralGroup(12)], ["D31", DihedralGroup(62)],
  ["Q8", QuaternionGroup(8)], ["Q16", QuaternionGroup(16)], ["Q32", QuaternionGroup(32)],
  ["Dic3", DicyclicGroup(12)], ["Dic6", DicyclicGroup(24)], ["Dic15", DicyclicGroup(60)],
  ["SD16", SmallGroup(16, 8)], ["SD32", SmallGroup(32, 19)], ["M16", SmallGroup(16, 6)], ["M32", SmallGroup(32, 17)],
  ["S3", SymmetricGroup(3)], ["S4", SymmetricGroup(4)], ["A4", AlternatingGroup(4)], ["A5", AlternatingGroup(5)],
  ["SL(2,3)", SL(2, 3)], ["GL(2,3)", GL(2, 3)], ["SL(2,4)", SL(2, 4)], ["PSL(2,5)", PSL(2, 5)],
  ["2^(1+4)+", ExtraspecialGroup(32, "+")], ["2^(1+4)-", ExtraspecialGroup(32, "-")],
  ["3^(1+2)+", ExtraspecialGroup(27, "+")], ["3^(1+2)-", ExtraspecialGroup(27, "-")],
  ["S3xC2", DirectProduct(SymmetricGroup(3), CyclicGroup(2))],
  ["C2wrC2", WreathProduct(CyclicGroup(2), SymmetricGroup(2))],
  ["C2wrC3", WreathProduct(CyclicGroup(2), CyclicGroup(IsPermGroup, 3))],
  ["C3wrC2", WreathProduct(CyclicGroup(3), SymmetricGroup(2))],
  ["C4wrC2", WreathProduct(CyclicGroup(4), SymmetricGroup(2))],
  ["C2^2wrC2", WreathProduct(AbelianGroup(IsPermGroup, [2, 2]), SymmetricGroup(2))]
];;
first := true;;
for pair in named do
  if not first then Print(",\n"); fi;
  first := false;
  Print("\"", pair[1], "\":", Out(IdGroup(pair[2])));
od;
Frob := function(name, p, q)
  Print(",\n\"", name, "\":", Out(IdGroup(First(AllSmallGroups(p * q), g -> not IsAbelian(g) and
    Size(Centre(g)) = 1 and IsCyclic(SylowSubgroup(g, 7)) and IsCyclic(FittingSubgroup(g)) and Size(FittingSubgroup(g)) = p))));
end;;
Frob("C7:C3", 7, 3);
Frob("C13:C4", 13, 4);
Frob("C11:C5", 11, 5);
A := function(name, q)
  Print(",\n\"", name, "\":", Out(IdGroup(SemidirectProduct(Group(Z(q) * IdentityMat(1, GF(q))), GF(q)^1))));
end;;
A("AGL(1,4)", 4);
A("AGL(1,5)", 5);
A("AGL(1,7)", 7);
A("AGL(1,8)", 8);
Print("\n}}\n");
QUIT;
