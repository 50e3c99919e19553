
Æ
s4.protopgoogle/protobuf/any.protogoogle/protobuf/struct.protogoogle/protobuf/timestamp.protogoogle/protobuf/wrappers.proto"´
M"
a (2.google.protobuf.AnyRa$
v (2.google.protobuf.ValueRv(
t (2.google.protobuf.TimestampRt)
w (2.google.protobuf.Int64ValueRw
odd (	Ra"bbproto3