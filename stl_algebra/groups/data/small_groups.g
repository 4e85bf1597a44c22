# Writes every group of order <= 63 as one text line:
#
#   order index structure|generator generator ...
#
# A generator s is written as its right regular permutation, one character of the
# 64-letter alphabet per element: letter number x is the position of elements[x]*s, where
# elements = AsSSortedList(G) (so element 0 is the identity).  Made by
#
#   gap -q small_groups.g < /dev/null | xz -9e > small_groups.txt.xz
#
# with GAP 4 and its package SmallGrp; nothing here runs when the library is used.
letters := "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";;
elements := [];;
SetPrintFormattingStatus("*stdout*", false);;
for n in [1..63] do
  for i in [1..NumberSmallGroups(n)] do
    G := SmallGroup(n, i);
    elements := AsSSortedList(G);
    if n = 1 then gens := [];
    elif IsSolvableGroup(G) then gens := MinimalGeneratingSet(G);
    else gens := SmallGeneratingSet(G); fi;
    words := List(gens, s -> List(elements, x -> letters[PositionSorted(elements, x * s)]));
    Print(n, " ", i, " ", ReplacedString(StructureDescription(G), " ", ""), "|",
          JoinStringsWithSeparator(words, " "), "\n");
  od;
od;
QUIT;
