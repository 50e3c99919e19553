"""Random messages of any type, from the descriptor; a seed gives the same message always."""
import random
import struct

from google.protobuf.descriptor import FieldDescriptor as F

WORDS = ["", "a", "é", "漢字", "😀", "quote\"\\/", "\x00\x01\x1f", "\u2028<>&'", "x" * 300, "line\r\n\ttab", "%41", "\x7f\x80", "null", "1"]
INTS = {F.CPPTYPE_INT32: (-2**31, 2**31 - 1), F.CPPTYPE_INT64: (-2**63, 2**63 - 1), F.CPPTYPE_UINT32: (0, 2**32 - 1), F.CPPTYPE_UINT64: (0, 2**64 - 1)}
DOUBLES = [0.0, -0.0, 1.0, 0.1, 1e-7, 1e21, 1e22, 123456789012345680.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 2.0**53, 1 / 3]
FLOATS = [0.0, 1.0, 0.1, 1e-7, 16777216.0, 3.0000000054977558e38, float("inf"), float("-inf"), float("nan"), 1 / 3]


class Random:
    def __init__(self, types, seed):
        self.types, self.r = types, random.Random(seed)

    def message(self, full_name, depth=0):
        m = self.types[full_name]()
        self.fill(m, depth)
        return m

    def fill(self, m, depth):
        special = getattr(self, "_" + m.DESCRIPTOR.full_name.replace(".", "_"), None)
        if special:
            special(m, depth)
            return
        fields = list(m.DESCRIPTOR.fields)
        if m.DESCRIPTOR.is_extendable:
            fields += self.types.pool.FindAllExtensions(m.DESCRIPTOR)
        few = self.r.choice([0.03, 0.1, 0.4]) if depth < 3 else 0.02
        for f in fields:
            if not (self.r.random() < few or f.is_required):
                continue
            if f.is_extension:
                self.field(m.Extensions, f, f, depth)
            else:
                self.field(m, f, f.name, depth)

    def field(self, m, f, key, depth):
        get = (lambda: m[f]) if f.is_extension else (lambda: getattr(m, f.name))
        if f.message_type and f.message_type.GetOptions().map_entry:
            k, v = f.message_type.fields_by_name["key"], f.message_type.fields_by_name["value"]
            for _ in range(self.r.randrange(1, 4)):
                name = self.scalar(k)
                if v.message_type:
                    self.fill(get()[name], depth + 1)
                else:
                    get()[name] = self.scalar(v)
        elif f.is_repeated:
            for _ in range(self.r.randrange(1, 4)):
                if f.message_type:
                    self.fill(get().add(), depth + 1)
                else:
                    get().append(self.scalar(f))
        elif f.message_type:
            if depth < 5 or f.is_required:
                get().SetInParent()
                self.fill(get(), depth + 1)
        elif f.is_extension:
            m[f] = self.scalar(f)
        else:
            setattr(m, f.name, self.scalar(f))

    def scalar(self, f):
        kind, r = f.cpp_type, self.r
        if kind in INTS:
            low, high = INTS[kind]
            return r.choice([0, 1, low, high, r.randint(low, high), r.randint(-100, 100) if low else r.randint(0, 100)])
        if kind == F.CPPTYPE_BOOL:
            return r.random() < 0.5
        if kind == F.CPPTYPE_STRING:
            if f.type == F.TYPE_BYTES:
                return bytes(r.randrange(256) for _ in range(r.choice([0, 1, 2, 3, 50])))
            return self.text()
        if kind == F.CPPTYPE_DOUBLE:
            return self.number(DOUBLES, "<d")
        if kind == F.CPPTYPE_FLOAT:
            return self.number(FLOATS, "<f")
        numbers = [v.number for v in f.enum_type.values]
        return r.choice(numbers + ([77, -9] if not f.enum_type.is_closed and f.enum_type.full_name != "google.protobuf.NullValue" else []))

    def number(self, known, form):
        while True:
            if self.r.random() < 0.4:
                v = self.r.choice(known)
            else:
                v = struct.unpack(form, self.r.randbytes(struct.calcsize(form)))[0]
            if form == "<f" and (0 < abs(v) < 1.2e-38 or 3.4e38 < abs(v) < float("inf")):
                continue  # json_format does not print the shortest form of the least, nor read back the largest
            if v != v:
                v = float("nan")  # one NaN: the bits are not JSON's business
            return v

    def text(self):
        return "".join(self.r.choice(WORDS) for _ in range(self.r.randrange(3)))

    # -- well-known types: only what has a JSON form
    def _google_protobuf_Timestamp(self, m, depth):
        m.seconds = self.r.choice([0, -1, -62135596800, 253402300799, self.r.randint(-62135596800, 253402300799)])
        m.nanos = self.nanos()

    def nanos(self):
        return self.r.choice([0, 1, 999999999, 500000000, self.r.randrange(1000) * 1000000, self.r.randrange(10**6) * 1000, self.r.randrange(10**9)])

    def _google_protobuf_Duration(self, m, depth):
        sign = self.r.choice([1, -1])
        m.seconds = sign * self.r.choice([0, 1, 315576000000 - 1, self.r.randrange(10**6)])
        m.nanos = sign * self.nanos()

    def _google_protobuf_FieldMask(self, m, depth):
        m.paths.extend(self.r.choice(["a", "a_b", "a.b_c", "foo_bar.baz", "x1"]) for _ in range(self.r.randrange(4)))

    def _google_protobuf_Value(self, m, depth):
        kind = self.r.randrange(6 if depth < 5 else 4)
        if kind == 0:
            m.null_value = 0
        elif kind == 1:
            m.number_value = self.r.choice([0, 1, -1.5, 1e20, 0.1, 2.0**53])
        elif kind == 2:
            m.string_value = self.text()
        elif kind == 3:
            m.bool_value = self.r.random() < 0.5
        elif kind == 4:
            m.struct_value.SetInParent()
            self._google_protobuf_Struct(m.struct_value, depth + 1)
        else:
            m.list_value.SetInParent()
            self._google_protobuf_ListValue(m.list_value, depth + 1)

    def _google_protobuf_Struct(self, m, depth):
        for _ in range(self.r.randrange(3)):
            self._google_protobuf_Value(m.fields[self.text()], depth + 1)

    def _google_protobuf_ListValue(self, m, depth):
        for _ in range(self.r.randrange(3)):
            self._google_protobuf_Value(m.values.add(), depth + 1)

    def _google_protobuf_Any(self, m, depth):
        if depth > 4:
            return
        inner = self.message(self.r.choice(["test.v1.Leaf", "google.protobuf.Duration", "google.protobuf.Value", "test.v1.Tree", "google.protobuf.StringValue", "google.protobuf.Empty"]), depth + 2)
        m.CopyFrom(self.types.pack(inner))
