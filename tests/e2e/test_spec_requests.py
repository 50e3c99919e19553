"""Requests, decision by decision (SPEC §4): what test_requests.py and test_streams.py leave out."""
import gzip
import json

import pytest

from env.build import wait_until
from env.messages import types

JSON = [("content-type", "application/json")]
PROTO = [("content-type", "application/x-protobuf")]
SERVICE = "test.v1.EverythingService."


def reason(r):
    return r.json()["details"][0]["reason"]


def violation(r):
    bad = [d for d in r.json()["details"] if d["@type"].endswith("google.rpc.BadRequest")]
    return bad[0]["fieldViolations"][0]


# -- what the body is -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("content_type", ["application/a+json", "application/vnd.a+JSON;charset=utf-8", 'application/json;charset="utf-8"', "application/json;", "application/json; x=y", "application/problem+json", ""])
def test_names_of_json(http, backend, content_type):
    r = http.request("POST", "/test/v1/echo", [("content-type", content_type)], '{"fInt32":1}')
    assert r.status == 200 and r.json() == {"fInt32": 1}, r


@pytest.mark.parametrize("content_type", ["application/+json", "text/json", "text/plain+json", "application/json; charset=us-ascii", "application/json , text/plain", "application/x-ndjson", "application/json-seq", "application/octet-stream"])
def test_names_that_are_not_json(http, backend, content_type):
    r = http.request("POST", "/test/v1/echo", [("content-type", content_type)], '{"fInt32":1}')
    assert r.status == 415 and "Content-Type" in r.json()["message"] and not backend.calls


def test_two_types_are_400(http, backend):
    assert http.request("POST", "/test/v1/echo", JSON + JSON, "{}").status == 400
    assert not backend.calls


def test_a_type_for_no_body_says_nothing(http, backend):
    assert http.request("POST", "/test/v1/echo", [("content-type", "text/plain")], b"").json() == {}
    assert http.request("GET", "/test/v1/echo", [("content-type", "text/plain")]).json() == {}


@pytest.mark.parametrize("body", [b" ", b"\n\t "])
def test_white_space_is_no_json(http, backend, body):
    r = http.request("POST", "/test/v1/echo", JSON, body)
    assert r.status == 400 and reason(r) == "JSON_TRUNCATED" and not backend.calls


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", '{"fInt32":1}'.encode("utf-16"), b"{}\x00", b'{"fString":"a\nb"}', b"{'fInt32':1}", b'{"fInt32":+1}', b'{"fInt32":1}{}', b"{fInt32:1}", b'{"fInt32":NaN}', b'{"fBool":True}', b"// x\n{}"])
def test_what_rfc_8259_does_not_know(http, backend, body):
    r = http.request("POST", "/test/v1/echo", JSON, body)
    assert r.status == 400 and violation(r)["description"] and "line" in r.json()["message"], r
    assert not backend.calls


BODIES = [
    ("scalar", b"null", {}), ("scalar", b"", {}), ("scalar", b"7.0", {"fInt64": "7"}), ("scalar", b' "8"\n', {"fInt64": "8"}), ("scalar", b"{}", None), ("scalar", b"1 2", None), ("scalar", b'"x"', None),
    ("strings", b"null", {}), ("strings", b"", {}), ("strings", b"[]", {}), ("strings", b'"a"', None), ("strings", b'["a",1]', None), ("strings", b'["a",null]', None),
    ("map", b"{}", {}), ("map", b"[]", None), ("map", b'{"a":null}', None), ("leaves", b"[{},null]", None), ("leaves", b'[{"nope":1}]', None),
    ("value", b"null", {"value": None}), ("value", b"", {}), ("value", b"1e2", {"value": 100}), ("bytes", b'"YQ"', {"fBytes": "YQ=="}), ("timestamp", b"{}", None), ("struct", b"[]", None),
]


@pytest.mark.parametrize("kind,body,want", BODIES, ids=[f"{b[0]}-{b[1].decode()}" for b in BODIES])
def test_body_field_edges(http, backend, kind, body, want):
    r = http.request("POST", f"/test/v1/echo/p/{kind}", JSON, body)
    if want is None:
        assert r.status == 400 and not backend.calls
    else:
        assert r.status == 200 and r.json() == {"fString": "p", **want}, r


def test_body_of_an_enum_and_of_a_wrapper(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": SERVICE + "Query", "put": "/q/color", "body": "color", "additional_bindings": [
        {"put": "/q/wrapped", "body": "wrapped"}, {"put": "/q/colors", "body": "colors"}, {"put": "/q/choice", "body": "choice_text"}]}]))
    assert http.request("PUT", "/q/color", JSON, '"GREEN"').json() == {"color": "GREEN"}
    assert http.request("PUT", "/q/color", JSON, "3").json() == {"color": "BLUE"}
    assert http.request("PUT", "/q/color", JSON, '"PINK"').status == 400
    assert http.request("PUT", "/q/colors", JSON, '["RED",2]').json() == {"colors": ["RED", "GREEN"]}
    assert http.request("PUT", "/q/wrapped", JSON, '"7"').json() == {"wrapped": "7"}
    assert http.request("PUT", "/q/wrapped", JSON, "null").json() == {}
    # the body is a member of the oneof
    assert reason(http.request("PUT", "/q/choice?choiceNumber=1", JSON, '"x"')) == "QUERY_ONEOF"


def test_binary_body_of_a_field(http, backend):
    leaf = types()["test.v1.Leaf"](text="t", number=9)
    r = http.request("PUT", "/test/v1/echo/1/leaf/2?fInt32=3", PROTO, leaf.SerializeToString())
    assert r.json() == {"fInt64": "1", "fLeaf": {"text": "t", "number": 2}, "fInt32": 3}
    assert http.request("POST", "/test/v1/echo/p/scalar", PROTO, b"\x08\x01").status == 415
    assert http.request("POST", "/test/v1/echo/p/scalar", PROTO, b"").json() == {"fString": "p"}  # an empty body is the empty message


BAD_WIRE = [(b"\x8a\x01\x02\xff\xff", "PROTO_MALFORMED", "f_nested"), (b"\x72\x02\xff\xfe", "PROTO_UTF8", "f_string"), (b"\xda\x02\x02\x01\x96", "PROTO_MALFORMED", "r_int32"), (b"\x72\x05x", "PROTO_MALFORMED", "f_string"),
            (b"\x92\x01\x03\x0a\x01\xff", "PROTO_UTF8", "f_leaf.text"), (b"\x0b", "PROTO_MALFORMED", "f_double"), (b"\x0c", "PROTO_MALFORMED", None)]


@pytest.mark.parametrize("wire,why,field", BAD_WIRE, ids=[b[0].hex() for b in BAD_WIRE])
def test_binary_body_that_is_no_message_is_the_clients_fault(http, backend, wire, why, field):
    r = http.request("POST", "/test/v1/echo", PROTO, wire)
    assert r.status == 400 and (reason(r), violation(r).get("field")) == (why, field), r
    r = http.request("POST", "/test/v1/upload/p", PROTO, b"\x00\x02\x12\x05")
    assert r.status == 400 and reason(r) == "PROTO_MALFORMED" and [c.method for c in backend.calls] in ([], ["Up"])


def test_binary_body_too_deep(http, backend):
    m = types()["test.v1.Tree"](name="x")
    for _ in range(98):
        m = types()["test.v1.Tree"](left=m)
    e = types()["test.v1.Everything"](tree=m)
    assert http.request("POST", "/test/v1/echo", PROTO, e.SerializeToString()).status == 200
    deep = b""
    for _ in range(101):  # f_self
        n = len(deep)
        deep = b"\x9a\x01" + (bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])) + deep
    r = http.request("POST", "/test/v1/echo", PROTO, deep)
    assert r.status == 400 and reason(r) == "PROTO_DEPTH"


def test_query_of_the_body_field_is_400(http, backend):
    r = http.request("PUT", "/test/v1/echo/1/leaf/2?fLeaf.text=q", JSON, "{}")
    assert r.status == 400 and reason(r) == "QUERY_BOUND" and violation(r)["field"] == "f_leaf.text"


def test_bound_wholly_by_the_path(http, backend):
    """The path wins over the body inside a message, too."""
    r = http.request("PUT", "/test/v1/echo/1/leaf/2", JSON, '{"number":99,"text":"t"}')
    assert r.json() == {"fInt64": "1", "fLeaf": {"text": "t", "number": 2}}


def test_no_body_mapped(http, backend, gateway):
    assert http.request("DELETE", "/test/v1/nothing", JSON, b"").status == 200
    r = http.request("DELETE", "/test/v1/nothing", [], b" ")
    assert r.status == 400 and reason(r) == "BODY_NOT_ALLOWED"
    s = http.start("DELETE", "/test/v1/nothing", [], -1)  # of unknown length
    s.end()
    assert s.finish().status == 200


# -- content codings ------------------------------------------------------------------------------------------------------

CODED = {  # {"fString":"coded"}
    "br": bytes.fromhex("0309807b2266537472696e67223a22636f646564227d03"),
    "zstd": bytes.fromhex("28b52ffd20139900007b2266537472696e67223a22636f646564227d"),
    "gzip": gzip.compress(b'{"fString":"coded"}'),
}
BOMBS = {  # three million times "x"
    "br": bytes.fromhex("a3ffff0340022f1e0b24f7fe40ffff078004401c1680eefd81feff0f000980382c00ddfb03fdff1f001200715800baf707faff3f002400e2b00074ef0fead7b8004800c46101e8f91600"),
    "zstd": bytes.fromhex("28b52ffd8058c0c62d005400001078780100fbff39c00202001078020010780200107802001078020010780200107802001078020010780200107802001078020010780200"
                          "107802001078020010780200107802001078020010780200107803360e78"),
    "gzip": gzip.compress(b"x" * 3_000_000),
}


@pytest.mark.parametrize("coding", CODED)
def test_coded_body(http, backend, coding):
    for name in (coding, coding.upper()):
        r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", name)], CODED[coding])
        assert r.status == 200 and r.json() == {"fString": "coded"}, r


@pytest.mark.parametrize("coding", CODED)
def test_coded_body_one_byte_at_a_time(http, backend, coding):
    s = http.start("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], -1)
    for b in CODED[coding]:
        s.send(bytes([b]))
    s.end()
    assert s.finish().json() == {"fString": "coded"}


@pytest.mark.parametrize("coding", CODED)
def test_coded_body_that_is_cut_or_goes_on(http, backend, coding):
    for body in (CODED[coding][:-2], CODED[coding] + b"junk"):
        r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", coding)], body)
        assert r.status == 400 and reason(r) == "BAD_CODING" and not backend.calls, r


@pytest.mark.parametrize("coding", BOMBS)
def test_bombs_meet_the_ratio(http, backend, coding):
    r = http.request("PUT", "/test/v1/raw/bomb", [("content-type", "a/b"), ("content-encoding", coding)], BOMBS[coding])
    assert r.status == 413 and reason(r) == "CODING_RATIO" and not backend.calls, r


def test_the_size_counts_after_decoding(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"max_request_bytes": "1KiB"}}))
    for n, status in ((900, 200), (1100, 413)):
        r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", "gzip")], gzip.compress(b'{"fString":"%s"}' % (b"x" * n)))
        assert r.status == status


def test_an_unknown_coding_says_which_are_known(http, backend):
    r = http.request("POST", "/test/v1/echo", [*JSON, ("content-encoding", "gzip, br")], CODED["gzip"])
    assert r.status == 415 and r.header("accept-encoding") == "gzip, br, zstd"


def test_coded_http_body_and_client_stream(http, backend):
    r = http.request("PUT", "/test/v1/raw/f", [("content-type", "a/b"), ("content-encoding", "gzip")], gzip.compress(b"z" * 5000))
    assert r.json()["size"] == "5000" and backend.calls[0].request.content.data == b"z" * 5000
    r = http.request("POST", "/test/v1/upload/p", [*JSON, ("content-encoding", "gzip")], gzip.compress(b'{"text":"a"}{"text":"b"}'))
    assert r.json()["count"] == 2


# -- query ----------------------------------------------------------------------------------------------------------------

QUERIES = [
    ("raw=a+b/", {"raw": "a+b/"}), ("raw=YQ", {"raw": "YQ=="}), ("raw=", {}), ("te%78t=a", {"text": "a"}), ("text=a=b", {"text": "a=b"}), ("text", {}), ("maybe", {"maybe": ""}), ("text=%00", {"text": "\0"}),
    ("text=[x]", {"text": "[x]"}), ("text=a/b:@!$'()*,;?", {"text": "a/b:@!$'()*,;?"}), ("&&text=a&", {"text": "a"}), ("texts=", {"texts": [""]}), ("texts=a&text=x&texts=b", {"texts": ["a", "b"], "text": "x"}),
    ("color=-1", {"color": "NEGATIVE"}), ("color=77", {"color": 77}), ("colors=RED&colors=RED", {"colors": ["RED", "RED"]}), ("number=1e2", {"number": 100}), ("number=1.0", {"number": 1}), ("big=-1", {"big": "-1"}),
    ("flag=tRuE", {"flag": True}), ("flag=FALSE", {}), ("wrappedFlag=TRUE", {"wrappedFlag": True}), ("ratio=Infinity", {"ratio": "Infinity"}),
    ("labels[]=x", {"labels": {"": "x"}}), ("labels[a]=1&labels[a]=2", {"labels": {"a": "2"}}), ("labels[a%5D]=1", {"labels": {"a]": "1"}}), ("labels[a+b]=c+d", {"labels": {"a b": "c d"}}), ("counts[-5]=6&counts[7]=8", {"counts": {"-5": "6", "7": "8"}}),
    ("at=2024-01-02T03:04:05.5%2B01:00", {"at": "2024-01-02T02:04:05.500Z"}), ("within=-0.5s", {"within": "-0.500s"}), ("mask=", {"mask": ""}), ("mask.paths=a_b&mask.paths=c", {"mask": "aB,c"}),
    ("leaf.text=", {"leaf": {}}), ("choiceLeaf.text=a&choiceLeaf.number=1", {"choiceLeaf": {"text": "a", "number": 1}}), ("choice_number=0", {"choiceNumber": 0}),
]


@pytest.mark.parametrize("query,want", QUERIES, ids=[q[0] for q in QUERIES])
def test_query_binds(http, backend, query, want):
    r = http.request("GET", "/test/v1/query?" + query)
    assert r.status == 200 and r.json() == want, r


BAD_QUERIES = [
    ("numbers=1,2", "QUERY_VALUE", "numbers"), ("number=", "QUERY_VALUE", "number"), ("number=+5", "QUERY_VALUE", "number"), ("number=%2B5", "QUERY_VALUE", "number"), ("number=0x5", "QUERY_VALUE", "number"), ("number=1.5", "QUERY_VALUE", "number"),
    ("huge=-1", "QUERY_VALUE", "huge"), ("huge=18446744073709551616", "QUERY_VALUE", "huge"), ("ratio=inf", "QUERY_VALUE", "ratio"), ("ratio=1e400", "QUERY_VALUE", "ratio"), ("color=", "QUERY_VALUE", "color"), ("color=red", "QUERY_VALUE", "color"),
    ("flag=", "QUERY_VALUE", "flag"), ("flag=yes", "QUERY_VALUE", "flag"), ("wrapped=", "QUERY_VALUE", "wrapped"), ("within=3", "QUERY_VALUE", "within"), ("at=2024-01-02T03:04:05.5+01:00", "QUERY_VALUE", "at"),
    ("counts[x]=1", "QUERY_VALUE", "counts"), ("counts[1]=x", "QUERY_VALUE", "counts"), ("labels=x", "QUERY_VALUE", "labels"), ("labels.a=x", "QUERY_UNKNOWN", "labels.a"), ("labels[a]b=x", "QUERY_UNKNOWN", "labels[a]b"), ("labels[a=x", "QUERY_UNKNOWN", "labels[a"),
    ("text[a]=x", "QUERY_UNKNOWN", "text[a]"), ("leafByName[a]=x", "QUERY_MESSAGE", "leaf_by_name"), ("leafByName[a].text=x", "QUERY_UNKNOWN", "leafByName[a].text"), ("leaf=x", "QUERY_MESSAGE", "leaf"), ("struct=x", "QUERY_MESSAGE", "struct"),
    ("tree.children.name=x", "QUERY_MESSAGE", "tree.children"), ("text=a&text", "QUERY_DUPLICATE", "text"), ("snakeCaseName=a&snake_case_name=b", "QUERY_DUPLICATE", "snake_case_name"), ("wrapped=1&wrapped=1", "QUERY_DUPLICATE", "wrapped"),
    ("choiceText=a&choiceLeaf.text=b", "QUERY_ONEOF", "choice_leaf.text"), ("leaf..text=1", "QUERY_UNKNOWN", "leaf..text"), ("leaf.text.x=1", "QUERY_UNKNOWN", "leaf.text.x"), ("Text=a", "QUERY_UNKNOWN", "Text"),
    ("$nope=1", "QUERY_UNKNOWN", "$nope"), ("apiVersion=1", "QUERY_UNKNOWN", "apiVersion"), (".xgafv=1", "QUERY_UNKNOWN", ".xgafv"),
    ("$.xgafv=3", "SYSTEM_PARAMETER", "$.xgafv"), ("$prettyPrint=1", "SYSTEM_PARAMETER", "$prettyPrint"), ("alt=", "SYSTEM_PARAMETER", "alt"), ("$fields=nope", "SYSTEM_PARAMETER", "$fields"), ("$fields=leaf(text", "SYSTEM_PARAMETER", "$fields"),
    ("$alt=json&alt=json", "QUERY_DUPLICATE", "alt"), ("$key=a&key=b", "QUERY_DUPLICATE", "key"),
]


@pytest.mark.parametrize("query,why,field", BAD_QUERIES, ids=[q[0] for q in BAD_QUERIES])
def test_query_that_is_refused(http, backend, query, why, field):
    r = http.request("GET", "/test/v1/query?" + query)
    assert r.status == 400 and (reason(r), violation(r)["field"]) == (why, field), r
    assert not backend.calls


def test_what_the_path_binds_blocks_what_is_in_it_and_around_it(http, backend):
    for query, status in (("leaf.text=x", 400), ("leaf.number=1", 200), ("number=1", 400), ("text=1", 200)):
        assert http.request("GET", "/test/v1/query/t/5?" + query).status == status


# -- system parameters ------------------------------------------------------------------------------------------------------

def test_prefixed_parameters_go_before_fields_of_the_name(http, backend):
    r = http.request("GET", "/test/v1/shadow?$alt=proto&alt=field&$key=secret&key=mine&prettyPrint=true")
    assert r.header("content-type") == "application/x-protobuf"
    assert types()["test.v1.ShadowRequest"].FromString(r.body) == types()["test.v1.ShadowRequest"](alt="field", key="mine", pretty_print=True)
    assert all("secret" not in str(v) for _, v in backend.one_call().metadata)
    assert b"\n" in http.request("GET", "/test/v1/shadow?$prettyPrint=true&key=x").body
    assert b"\n" not in http.request("GET", "/test/v1/shadow?prettyPrint=true&key=x").body


def test_parameters_beside_body_star(http, backend):
    r = http.request("POST", "/test/v1/echo?$alt=json%3Benum-encoding%3Dint&fields=fColor&key=k&quotaUser=u", JSON, '{"fColor":"RED","fInt32":1}')
    assert r.body == b'{"fColor":1}'


FIELDS = [("leaf(text)", {"leaf": {"text": "a"}}), ("leaf/text,number", {"leaf": {"text": "a"}, "number": 4}), ("*", {"text": "x", "number": 4, "leaf": {"text": "a", "number": 1}, "labels": {"k": "v", "l": "w"}}), ("labels(k)", {"labels": {"k": "v"}}), ("leaf", {"leaf": {"text": "a", "number": 1}})]


@pytest.mark.parametrize("fields,want", FIELDS, ids=[f[0] for f in FIELDS])
def test_partial_response_forms(http, backend, fields, want):
    r = http.request("GET", f"/test/v1/query?text=x&number=4&leaf.text=a&leaf.number=1&labels[k]=v&labels[l]=w&$fields={fields}")
    assert r.status == 200 and r.json() == want, r


# -- PATCH ------------------------------------------------------------------------------------------------------------------

MASKS = [
    ('{"fString":"x","fLeaf":{}}', ["f_leaf", "f_string"]), ('{"fLeaf":null}', ["f_leaf"]), ('{"fInt32":0}', ["f_int32"]), ('{"rLeaf":[{"text":"a"}],"mLeaf":{"a":{"text":"b"}}}', ["m_leaf", "r_leaf"]),
    ('{"timestamp":"1970-01-01T00:00:00Z","struct":{"a":1},"value":{"b":1},"int64Value":"5"}', ["int64_value", "struct", "timestamp", "value"]), ('{"any":{"@type":"type.googleapis.com/test.v1.Leaf","text":"x"}}', ["any"]),
    ('{"cLeaf":{"text":"x"}}', ["c_leaf.text"]), ('{"field_name2":"x","@odd \\"name\\"":"y"}', ["field_name2", "renamed"]), ('{"fNested":{"corecursive":{"fLeaf":{"text":"a"}}}}', ["f_nested.corecursive.f_leaf.text"]), ("", []), ("null", []),
]


@pytest.mark.parametrize("body,paths", MASKS, ids=[m[0] or "empty" for m in MASKS])
def test_mask_of_what_was_sent(http, backend, body, paths):
    r = http.request("PATCH", "/test/v1/patch/7", JSON, body)
    assert r.status == 200 and sorted(r.json().get("paths", [])) == paths, r


@pytest.mark.parametrize("query,paths", [("updateMask=", []), ("update_mask=fInt32,fLeaf.text", ["f_int32", "f_leaf.text"]), ("updateMask.paths=f_int32&updateMask.paths=x", ["f_int32", "x"])])
def test_mask_that_was_given(http, backend, query, paths):
    r = http.request("PATCH", "/test/v1/patch/7?" + query, JSON, '{"fString":"x"}')
    assert r.status == 200 and r.json().get("paths", []) == paths, r


def test_mask_is_for_patch_and_json(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": SERVICE + "Patch", "put": "/put/{id}", "body": "everything", "additional_bindings": [{"patch": "/patch/{id}", "body": "everything"}]}]))
    assert "hasMask" not in http.request("PUT", "/put/7", JSON, '{"fInt32":1}').json()
    assert "hasMask" not in http.request("PATCH", "/patch/7", PROTO, types()["test.v1.Everything"](f_int32=1).SerializeToString()).json()
    assert http.request("PATCH", "/patch/7", JSON, '{"fInt32":1}').json()["hasMask"]


# -- client streams -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl"])
def test_lines_may_be_called_lines(http, backend, content_type):
    r = http.request("POST", "/test/v1/upload/p", [("content-type", content_type)], b'{"text":"a"}\n{"text":"b"}\n')
    assert r.status == 200 and r.json()["count"] == 2


BAD_STREAMS = [b"[", b"[{},]", b"[,{}]", b"[{} {}]", b"{},{}", b"null", b"[null]", b"{}\nnull\n", b"[[{}]]", b"1", b'{"text":"\xff"}', b'{"text":"a","text":"b"}']


@pytest.mark.parametrize("body", BAD_STREAMS, ids=[b.decode("latin-1") for b in BAD_STREAMS])
def test_bad_streams_are_400(http, backend, body):
    r = http.request("POST", "/test/v1/upload/p", JSON, body)
    assert r.status == 400 and "line" in r.json()["message"], r


def test_null_as_the_body_field_of_a_stream(http, backend):
    http.request("POST", "/test/v1/upload-leaves/t", JSON, b'[{"text":"a"},null]')
    assert [m.HasField("leaf") for m in backend.one_call().requests] == [True, False]


def test_size_holds_for_each_message_and_for_the_stream(connect, gateways, backend):
    http = connect(gateways(policies={SERVICE + "Up": {"max_request_bytes": "100B"}, SERVICE + "Bidi": {"max_stream_bytes": "1KiB"}}))
    message = b'{"text":"%s"}\n'
    assert http.request("POST", "/test/v1/upload/p", JSON, message % (b"y" * 60) * 5).json()["count"] == 5
    r = http.request("POST", "/test/v1/upload/p", JSON, message % (b"y" * 60) + message % (b"y" * 200))
    assert r.status == 413 and reason(r) == "BODY_TOO_LARGE"
    r = http.request("POST", "/test/v1/bidi", [*JSON, ("x-test-hold", "b")], message % (b"y" * 60) * 20)
    assert r.status == 413 and reason(r) == "STREAM_TOO_LARGE"


def test_bindings_alone_make_a_message(http, backend):
    """Path and query bind into the first message, also when the body has none."""
    assert http.request("POST", "/test/v1/upload-leaves/p?index=3", JSON, b"").json() == {"count": 1, "bytes": "1", "texts": ["p"]}
    # by name: a call that an earlier test cancelled may reach the backend now
    assert [c.request.index for c in backend.calls if c.method == "Up"] == [3]
    r = http.request("POST", "/test/v1/rawstream/f?comment=c", [("content-type", "a/b")], b"")
    assert (r.json()["name"], r.json()["contentType"], r.json()["comment"], r.json()["messages"]) == ("f", "a/b", "c", 1)


def test_bad_query_of_a_stream_costs_the_backend_nothing(http, backend):
    assert http.request("POST", "/test/v1/upload/p?nope=1", JSON, b"{}").status == 400
    assert not backend.calls


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/json-seq"])
def test_bad_json_midway_of_a_bidi_stream(http, backend, accept):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", accept)], -1)
    s.send(b'{"text":"a"}\n')
    assert s.read_some(5)
    s.send(b'{"text":1}\n')
    r = s.finish(5)
    if accept == "application/json":
        assert not r.complete and r.body == b'[{"text":"a","total":"1"}'
    else:
        assert r.body.rstrip().endswith(b"}") and b'"JSON_TYPE"' in r.body and (b"event: status\n" in r.body or b'\x1e{"error":{"code":3,' in r.body)
    call = backend.calls[0]
    assert call.ended.wait(5) and call.cancelled


def test_the_end_of_the_body_half_closes(http, backend):
    s = http.start("POST", "/test/v1/bidi", [*JSON, ("accept", "application/x-ndjson")], -1)
    s.send(b'[{"text":"a"}')
    assert s.read_some(5) == b'{"text":"a","total":"1"}\n'
    assert not backend.calls[0].half_closed
    s.send(b"]")
    s.end()
    assert s.finish(5).complete
    wait_until("the call is half-closed", lambda: backend.calls[0].half_closed)


# -- errors -------------------------------------------------------------------------------------------------------------------

def test_violations_name_place_and_path(http, backend):
    r = http.request("POST", "/test/v1/echo", JSON, '{\n "rLeaf": [\n  {},\n  {"number": "x"}\n ]\n}')
    assert violation(r)["field"].startswith("r_leaf") and violation(r)["field"].endswith("number") and "line 4, column 14" in r.json()["message"]
    assert json.loads(r.body)["code"] == 3


# -- values in the path -------------------------------------------------------------------------------------------------------

PATHS = [{"get": "/k/{at}"}, {"get": "/c/{color}"}, {"get": "/f/{flag}"}, {"get": "/r/{raw}"}, {"get": "/w/{wrapped}"}, {"get": "/d/{within}"}, {"get": "/h/{huge}/{ratio}"}, {"get": "/o/{choice_text}"}, {"put": "/ob/{choice_text}", "body": "choice_leaf"},
         {"put": "/oc/{choice_leaf.text}", "body": "*"}, {"get": "/t/{tree.left.name}/{tree.right.name}"}]
VALUES = [
    ("/k/2024-01-02T03:04:05Z", {"at": "2024-01-02T03:04:05Z"}), ("/k/2024-01-02T03%3A04:05.5+01:00", {"at": "2024-01-02T02:04:05.500Z"}), ("/c/GREEN", {"color": "GREEN"}), ("/c/2", {"color": "GREEN"}), ("/f/TRUE", {"flag": True}),
    ("/r/a+b%2F", {"raw": "a+b/"}), ("/r/_-8", {"raw": "/+8="}), ("/w/7", {"wrapped": "7"}), ("/d/1.5s", {"within": "1.500s"}), ("/h/18446744073709551615/1e3", {"huge": "18446744073709551615", "ratio": 1000}),
    ("/t/l/r?tree.name=n&tree.left.left.name=m", {"tree": {"name": "n", "left": {"name": "l", "left": {"name": "m"}}, "right": {"name": "r"}}}),
]
BAD_VALUES = [("/k/noon", "PATH_VALUE", "at"), ("/c/PINK", "PATH_VALUE", "color"), ("/f/1", "PATH_VALUE", "flag"), ("/w/x", "PATH_VALUE", "wrapped"), ("/h/-1/1", "PATH_VALUE", "huge"),
              ("/o/x?choiceNumber=1", "QUERY_ONEOF", "choice_number"), ("/o/x?choiceText=y", "QUERY_BOUND", "choice_text"), ("/t/l/r?tree.left.name=n", "QUERY_BOUND", "tree.left.name")]


@pytest.fixture
def paths(connect, gateways):
    first, *more = PATHS
    return connect(gateways(http_rules=[{"selector": SERVICE + "Query", **first, "additional_bindings": more}]))


@pytest.mark.parametrize("target,want", VALUES, ids=[v[0] for v in VALUES])
def test_path_binds(paths, backend, target, want):
    r = paths.request("GET", target)
    assert r.status == 200 and r.json() == want, r


@pytest.mark.parametrize("target,why,field", BAD_VALUES, ids=[v[0] for v in BAD_VALUES])
def test_path_that_does_not_bind(paths, backend, target, why, field):
    r = paths.request("GET", target)
    assert r.status == 400 and (reason(r), violation(r)["field"]) == (why, field) and not backend.calls


def test_path_wins_in_a_oneof(paths, backend):
    assert paths.request("PUT", "/ob/x", JSON, '{"text":"y"}').json() == {"choiceText": "x"}
    assert paths.request("PUT", "/oc/x", JSON, '{"choiceText":"y"}').json() == {"choiceLeaf": {"text": "x"}}
    assert paths.request("PUT", "/oc/x", JSON, '{"choiceLeaf":{"text":"y","number":3}}').json() == {"choiceLeaf": {"text": "x", "number": 3}}


EXTENSIONS = [("[test.legacy.ext_int32]=4", {"[test.legacy.ext_int32]": 4}), ("%5Btest.legacy.ext_int32%5D=4", {"[test.legacy.ext_int32]": 4}), ("[test.legacy.ext_list]=1&[test.legacy.ext_list]=2", {"[test.legacy.ext_list]": ["1", "2"]}),
              ("[test.legacy.no]=4", None), ("[test.legacy.ext_int32=4", None), ("[test.legacy.ext_int32]x=4", None), ("[test.legacy.ext_int32].x=4", None), ("[test.legacy.ext_int32]=4&[test.legacy.ext_int32]=5", None), ("[]=4", None), ("[=4", None),
              ("detail.inner.deep=5", {"detail": {"inner": {"deep": "5"}}})]


@pytest.mark.parametrize("query,want", EXTENSIONS, ids=[e[0] for e in EXTENSIONS])
def test_query_of_groups_and_extensions(http, backend, query, want):
    r = http.request("GET", "/test/v1/legacy/x?" + query)
    if want is None:
        assert r.status == 400 and not backend.calls
    else:
        assert r.status == 200 and r.json() == {"id": "x", **want}, r
