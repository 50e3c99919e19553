
ù
s2.protop"§
M
a (:-3Ra
g (
2.p.M.GRg
e (2.p.EBRe
b (:\001\\Rb
f (:infRf
first (2.p.ERfirst
G
s (	:x
"Rs*dÉ*
E
A
B:
x.p.Md (2.p.MRx:
y.p.M– (Ry