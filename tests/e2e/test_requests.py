"""Requests to messages (SPEC §4): content types, body kinds, query, system parameters, masks."""
import json

import pytest

from env.messages import types

JSON = [("content-type", "application/json")]


def post(http, target, body, headers=JSON):
    return http.request("POST", target, headers, body)


def test_json_body_is_the_message(http, backend):
    r = post(http, "/test/v1/echo", '{"fString":"hi","fInt64":"-9007199254740993","rLeaf":[{"text":"a","number":1}]}')
    assert r.status == 200 and r.header("content-type") == "application/json"
    assert r.json() == {"fString": "hi", "fInt64": "-9007199254740993", "rLeaf": [{"text": "a", "number": 1}]}
    assert r.header("content-length") == str(len(r.body))
    got = backend.one_call().request
    assert (got.f_string, got.f_int64) == ("hi", -9007199254740993)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
                                          "application/vnd.x+json", "APPLICATION/JSON", None])
def test_json_types_are_accepted(http, backend, content_type):
    r = post(http, "/test/v1/echo", '{"f_string":"x"}', [("content-type", content_type)] if content_type else [])
    assert r.status == 200 and r.json() == {"fString": "x"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/jsonx",
                                          "application/json; charset=latin1", "multipart/form-data; boundary=x"])
def test_other_types_are_415(http, backend, gateway, content_type):
    with gateway.counts("UNSUPPORTED_MEDIA_TYPE"):
        r = post(http, "/test/v1/echo", "{}", [("content-type", content_type)])
    assert r.status == 415
    assert r.json()["code"] == 3 and "Content-Type" in r.json()["message"]
    assert not backend.calls


@pytest.mark.parametrize("content_type", ["application/x-protobuf", "application/protobuf"])
def test_binary_body(http, backend, content_type):
    m = types()["test.v1.Everything"](f_string="bin", r_int32=[1, 2, 3])
    r = post(http, "/test/v1/echo", m.SerializeToString(), [("content-type", content_type)])
    assert r.status == 200 and r.json() == {"fString": "bin", "rInt32": [1, 2, 3]}
    assert backend.one_call().request == m


def test_binary_body_that_is_no_message_is_400(http, backend):
    r = post(http, "/test/v1/echo", b"\xff\xff\xff", [("content-type", "application/x-protobuf")])
    assert r.status == 400 and r.json()["code"] == 3
    assert not backend.calls


def test_empty_body_is_the_empty_message(http, backend):
    assert post(http, "/test/v1/echo", b"").json() == {}
    assert backend.one_call().request == types()["test.v1.Everything"]()


BODY_FIELDS = [
    ("PUT", "/test/v1/echo/7/leaf/5?fString=q", '{"text":"t"}', {"fInt64": "7", "fLeaf": {"text": "t", "number": 5}, "fString": "q"}),
    ("POST", "/test/v1/echo/p/strings", '["a","b"]', {"fString": "p", "rString": ["a", "b"]}),
    ("POST", "/test/v1/echo/p/leaves", '[{"text":"a"},{}]', {"fString": "p", "rLeaf": [{"text": "a"}, {}]}),
    ("POST", "/test/v1/echo/p/map", '{"k":"v"}', {"fString": "p", "mString": {"k": "v"}}),
    ("POST", "/test/v1/echo/p/scalar", '"42"', {"fString": "p", "fInt64": "42"}),
    ("POST", "/test/v1/echo/p/timestamp", '"2024-02-29T01:02:03.5Z"', {"fString": "p", "timestamp": "2024-02-29T01:02:03.500Z"}),
    ("POST", "/test/v1/echo/p/value", '[1,null,"x"]', {"fString": "p", "value": [1, None, "x"]}),
    ("POST", "/test/v1/echo/p/struct", '{"a":{"b":[]}}', {"fString": "p", "struct": {"a": {"b": []}}}),
    ("POST", "/test/v1/echo/p/bytes", '"_-8="', {"fString": "p", "fBytes": "/+8="}),
]


@pytest.mark.parametrize("verb,target,body,want", BODY_FIELDS, ids=[b[1] for b in BODY_FIELDS])
def test_body_field_of_each_kind(http, backend, verb, target, body, want):
    r = http.request(verb, target, JSON, body)
    assert r.status == 200 and r.json() == want, r


def test_query_binds_what_the_body_field_does_not(http, backend):
    r = post(http, "/test/v1/echo/p/strings?fInt32=3&fLeaf.text=z", '["a"]')
    assert r.json() == {"fString": "p", "rString": ["a"], "fInt32": 3, "fLeaf": {"text": "z"}}


def test_query_beside_body_star_is_400(http, backend):
    r = post(http, "/test/v1/echo?fInt32=3", "{}")
    assert r.status == 400 and not backend.calls


def test_body_where_none_is_mapped_is_400(http, backend, gateway):
    with gateway.counts("BODY_NOT_ALLOWED"):
        r = http.request("GET", "/test/v1/echo", JSON, "{}")
    assert r.status == 400 and r.json()["code"] == 3
    assert not backend.calls


def test_path_wins_over_body(http, backend):
    r = post(http, "/test/v1/echo/path:custom", '{"fString":"body","fInt32":1}')
    assert r.json() == {"fString": "path", "fInt32": 1}


def test_expect_continue_gets_its_100_after_admission(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        s = c.start("POST", "/test/v1/echo", [*JSON, ("expect", "100-continue")], 2)
        c.limit(5)
        assert c.read_line() == b"HTTP/1.1 100 Continue"
        assert c.read_line() == b""
        s.send(b"{}")
        assert s.finish().json() == {}


def test_expect_continue_of_a_refused_request_gets_no_100(backend, gateway):
    from env.http1 import H1
    with H1(gateway.port) as c:
        s = c.start("POST", "/nowhere", [*JSON, ("expect", "100-continue")], 2)
        r = s.finish()
        assert r.status == 404 and not r.interim


# -- JSON ------------------------------------------------------------------------------------------------------------

BAD_JSON = [
    ('{"fInt32":1,}', "JSON_SYNTAX", None),
    ('{"fInt32":1} x', "JSON_SYNTAX", None),
    ('{"fInt32":01}', "JSON_SYNTAX", None),
    ('{"fInt32":', "JSON_TRUNCATED", None),
    ('{"fString":"\\ud800"}', "JSON_UTF8", "fString"),
    ('{"fString":"\xff"}', "JSON_UTF8", None),
    ('{"fInt32":"x"}', "JSON_TYPE", "f_int32"),
    ('{"fInt32":2147483648}', "JSON_RANGE", "f_int32"),
    ('{"fInt32":1.5}', None, "f_int32"),
    ('{"nope":1}', "JSON_UNKNOWN_FIELD", None),
    ('{"fLeaf":{"nope":1}}', "JSON_UNKNOWN_FIELD", "f_leaf"),
    ('{"fInt32":1,"fInt32":2}', "JSON_DUPLICATE", "f_int32"),
    ('{"fInt32":1,"f_int32":2}', "JSON_DUPLICATE", "f_int32"),
    ('{"cUint32":1,"cString":"x"}', "JSON_ONEOF", None),
    ('{"fColor":"PURPLE"}', "JSON_ENUM", "f_color"),
    ('{"fBytes":"?"}', "JSON_BASE64", "f_bytes"),
    ('{"rInt32":[null]}', "JSON_NULL", "r_int32"),
    ('{"timestamp":"yesterday"}', "JSON_WKT", "timestamp"),
    ('{"any":{"@type":"type.googleapis.com/no.Such"}}', "JSON_ANY", "any"),
    ("[]", "JSON_TYPE", None),
]


@pytest.mark.parametrize("body,reason,field", BAD_JSON, ids=[b[0][:40].encode("ascii", "replace").decode() for b in BAD_JSON])
def test_bad_json_is_400_with_bad_request(http, backend, body, reason, field):
    r = post(http, "/test/v1/echo", body.encode("latin-1"))
    assert r.status == 400, r
    status = r.json()
    assert status["code"] == 3
    info = [d for d in status["details"] if d["@type"].endswith("google.rpc.ErrorInfo")]
    assert info[0]["domain"] == "transom"
    if reason:
        assert info[0]["reason"] == reason, status
    bad = [d for d in status["details"] if d["@type"].endswith("google.rpc.BadRequest")]
    violation = bad[0]["fieldViolations"][0]
    assert violation["description"]
    if field:
        assert violation.get("field", "").replace("fString", "f_string").startswith(field.replace("fString", "f_string")), status
    assert not backend.calls


def test_error_says_line_and_column(http, backend):
    r = post(http, "/test/v1/echo", '{\n  "fString": "x",\n  "fInt32": "abc"\n}')
    assert r.status == 400 and "line 3" in r.json()["message"] and "column" in r.json()["message"]


def test_nesting_to_100_is_accepted_and_deeper_is_400(http, backend):
    ok = '{"tree":' + '{"left":' * 98 + "{}" + "}" * 99
    r = post(http, "/test/v1/echo", ok)
    assert r.status == 200 and r.body == ok.encode()
    backend.reset()
    bad = '{"value":' + "[" * 101 + "]" * 101 + "}"
    r = post(http, "/test/v1/echo", bad)
    assert r.status == 400 and not backend.calls


def test_map_and_struct_duplicates_last_wins(http, backend):
    r = post(http, "/test/v1/echo", '{"mString":{"a":"1","a":"2"},"struct":{"k":1,"k":2}}')
    assert r.json() == {"mString": {"a": "2"}, "struct": {"k": 2}}


def test_legacy_groups_extensions_and_required(http, backend):
    r = post(http, "/test/v1/legacy", '{"id":"x","detail":{"text":"g","inner":{"deep":"5"}},"item":[{"name":"n"}],"[test.legacy.ext_int32]":4}')
    assert r.status == 200, r
    assert r.json() == {"id": "x", "detail": {"text": "g", "inner": {"deep": "5"}}, "item": [{"name": "n"}], "[test.legacy.ext_int32]": 4}


def test_any_by_loaded_types(http, backend):
    body = {"@type": "type.googleapis.com/test.v1.Leaf", "text": "in any", "number": 3}
    r = post(http, "/test/v1/any", json.dumps(body))
    assert r.json() == body
    got = backend.one_call().request
    assert got.value == types()["test.v1.Leaf"](text="in any", number=3).SerializeToString()


@pytest.mark.parametrize("target,body", [("/test/v1/value", '{"a":[1,"x",null,true]}'), ("/test/v1/value", "null"),
                                         ("/test/v1/timestamp", '"1970-01-01T00:00:00Z"'), ("/test/v1/string", '"s"')])
def test_a_well_known_type_as_the_whole_message(http, backend, target, body):
    r = post(http, target, body)
    assert r.status == 200 and r.json() == json.loads(body), r


def test_unknown_fields_ignored_by_policy(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"unknown_fields": "ignore"}}))
    r = post(http, "/test/v1/echo", '{"nope":{"a":[1,{"b":2}]},"fInt32":4}')
    assert r.status == 200 and r.json() == {"fInt32": 4}


# -- query -------------------------------------------------------------------------------------------------------------

QUERIES = [
    ("text=a%20b+c", {"text": "a b c"}),
    ("text=%2B%26%3D", {"text": "+&="}),
    ("text=", {}),
    ("number=-5&big=9007199254740993&huge=18446744073709551615", {"number": -5, "big": "9007199254740993", "huge": "18446744073709551615"}),
    ("ratio=1e3&smallRatio=0.5", {"ratio": 1000, "smallRatio": 0.5}),
    ("ratio=NaN", {"ratio": "NaN"}),
    ("ratio=-Infinity", {"ratio": "-Infinity"}),
    ("flag=true", {"flag": True}),
    ("flag=TRUE", {"flag": True}),
    ("flag=False", {}),
    ("raw=_-8%3D", {"raw": "/+8="}),
    ("color=RED", {"color": "RED"}),
    ("color=2", {"color": "GREEN"}),
    ("leaf.text=t&leaf.number=3", {"leaf": {"text": "t", "number": 3}}),
    ("tree.left.right.name=deep", {"tree": {"left": {"right": {"name": "deep"}}}}),
    ("texts=a&texts=b&numbers=1&numbers=2&colors=RED&colors=3", {"texts": ["a", "b"], "numbers": [1, 2], "colors": ["RED", "BLUE"]}),
    ("labels[a]=1&labels[b.c]=2", {"labels": {"a": "1", "b.c": "2"}}),
    ("labels%5Ba%5D=1", {"labels": {"a": "1"}}),
    ("counts[5]=6", {"counts": {"5": "6"}}),
    ("at=2024-01-02T03:04:05Z&within=1.5s&mask=a,bC", {"at": "2024-01-02T03:04:05Z", "within": "1.500s", "mask": "a,bC"}),
    ("wrapped=7&wrappedText=&wrappedFlag=false", {"wrapped": "7", "wrappedText": "", "wrappedFlag": False}),
    ("choiceText=x", {"choiceText": "x"}),
    ("maybe=", {"maybe": ""}),
    ("snakeCaseName=a", {"snakeCaseName": "a"}),
    ("snake_case_name=a", {"snakeCaseName": "a"}),
    ("odd-name=a", {"odd-name": "a"}),
    ("odd=a", {"odd-name": "a"}),
    ("small_ratio=1", {"smallRatio": 1}),
]


@pytest.mark.parametrize("query,want", QUERIES, ids=[q[0] for q in QUERIES])
def test_query_binds(http, backend, query, want):
    r = http.request("GET", "/test/v1/query?" + query)
    assert r.status == 200 and r.json() == want, r


BAD_QUERIES = [
    ("nope=1", "QUERY_UNKNOWN"), ("leaf.nope=1", "QUERY_UNKNOWN"), ("text.x=1", None), ("number=x", "QUERY_VALUE"),
    ("number=2147483648", "QUERY_VALUE"), ("flag=1", "QUERY_VALUE"), ("color=PINK", "QUERY_VALUE"), ("raw=%3F", "QUERY_VALUE"),
    ("at=noon", "QUERY_VALUE"), ("text=a&text=b", "QUERY_DUPLICATE"), ("text=a&text=a", "QUERY_DUPLICATE"),
    ("leaf.text=a&leaf.text=b", "QUERY_DUPLICATE"), ("choiceText=a&choiceNumber=1", "QUERY_ONEOF"),
    ("leaves.text=a", "QUERY_MESSAGE"), ("times=2024-01-02T03:04:05Z", "QUERY_MESSAGE"), ("text=%zz", None), ("text=%ff", None), ("leaf=x", None),
]


@pytest.mark.parametrize("query,reason", BAD_QUERIES, ids=[q[0] for q in BAD_QUERIES])
def test_bad_query_is_400(http, backend, query, reason):
    r = http.request("GET", "/test/v1/query?" + query)
    assert r.status == 400, r
    status = r.json()
    assert status["code"] == 3
    if reason:
        assert status["details"][0]["reason"] == reason
        assert status["details"][1]["fieldViolations"][0]["field"]
    assert not backend.calls


def test_query_field_that_the_path_binds_is_400(http, backend):
    r = http.request("GET", "/test/v1/query/t/5?number=6")
    assert r.status == 400 and r.json()["details"][0]["reason"] == "QUERY_BOUND"
    assert http.request("GET", "/test/v1/query/t/5?leaf.number=6").json() == {"leaf": {"text": "t", "number": 6}, "number": 5}


def test_unknown_query_may_be_ignored(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"unknown_query": "ignore"}}))
    assert http.request("GET", "/test/v1/query?nope=1&text=x&a.b.c=4").json() == {"text": "x"}


def test_named_query_parameters_may_be_ignored(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"ignored_query_parameters": ["utm_source"]}}))
    assert http.request("GET", "/test/v1/query?utm_source=1&text=x").json() == {"text": "x"}
    assert http.request("GET", "/test/v1/query?utm_other=1&text=x").status == 400


# -- system parameters ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["$alt", "alt"])
def test_alt_chooses_the_format(http, backend, name):
    r = http.request("GET", f"/test/v1/query?text=x&color=RED&{name}=proto")
    assert r.header("content-type") == "application/x-protobuf"
    assert types()["test.v1.QueryRequest"].FromString(r.body) == types()["test.v1.QueryRequest"](text="x", color=1)
    r = http.request("GET", f"/test/v1/query?color=RED&{name}=json")
    assert r.json() == {"color": "RED"}
    r = http.request("GET", f"/test/v1/query?color=RED&{name}=json%3Benum-encoding%3Dint")
    assert r.json() == {"color": 1}


def test_alt_that_is_not_known_is_400(http, backend):
    r = http.request("GET", "/test/v1/query?$alt=xml")
    assert r.status == 400 and r.json()["details"][0]["reason"] == "SYSTEM_PARAMETER"


@pytest.mark.parametrize("name", ["$prettyPrint", "prettyPrint"])
def test_pretty_print(http, backend, name):
    r = http.request("GET", f"/test/v1/query?text=x&{name}=true")
    assert b"\n" in r.body and r.json() == {"text": "x"}


@pytest.mark.parametrize("name", ["$fields", "fields"])
def test_partial_response(http, backend, name):
    r = http.request("GET", f"/test/v1/query?text=x&number=4&leaf.text=a&leaf.number=1&{name}=text,leaf.number")
    assert r.json() == {"text": "x", "leaf": {"number": 1}}


def test_other_system_parameters_pass(http, backend):
    r = http.request("GET", "/test/v1/query?text=x&key=k&access_token=t&quotaUser=u&$.xgafv=2&$apiVersion=1")
    assert r.json() == {"text": "x"}
    assert not any("k" == v or "t" == v for _, v in backend.one_call().metadata)


def test_unprefixed_system_parameters_yield_to_fields(http, backend):
    r = http.request("GET", "/test/v1/shadow?alt=a&fields=b&key=c&prettyPrint=true")
    assert r.json() == {"alt": "a", "fields": "b", "key": "c", "prettyPrint": True}
    r = http.request("GET", "/test/v1/shadow?alt=a&$fields=alt&key=z")
    assert r.json() == {"alt": "a"}


# -- PATCH ----------------------------------------------------------------------------------------------------------------

def test_patch_derives_the_mask(http, backend):
    body = '{"fString":"x","fLeaf":{"text":"t"},"rInt32":[1,2],"mString":{"k":"v"},"fNested":{"leaf":{"number":1}},"oInt32":null}'
    r = http.request("PATCH", "/test/v1/patch/7", JSON, body)
    assert r.status == 200, r
    assert sorted(r.json()["paths"]) == ["f_leaf.text", "f_nested.leaf.number", "f_string", "m_string", "o_int32", "r_int32"]
    assert r.json()["id"] == "7"


def test_patch_keeps_a_mask_that_was_sent(http, backend):
    r = http.request("PATCH", "/test/v1/patch/7?updateMask=fString", JSON, '{"fString":"x","fInt32":1}')
    assert r.json()["paths"] == ["f_string"]


def test_patch_with_body_star_derives_nothing(http, backend):
    r = http.request("PATCH", "/test/v1/patch-all/7", JSON, '{"everything":{"fString":"x"}}')
    assert r.json() == {"id": "7", "everything": {"fString": "x"}}


def test_patch_with_an_empty_object_has_no_mask_or_an_empty_one(http, backend):
    r = http.request("PATCH", "/test/v1/patch/7", JSON, "{}")
    assert r.status == 200 and "paths" not in r.json()


# -- content codings --------------------------------------------------------------------------------------------------------

def test_gzip_body(http, backend):
    import gzip
    r = post(http, "/test/v1/echo", gzip.compress(b'{"fString":"zipped"}'), [*JSON, ("content-encoding", "gzip")])
    assert r.status == 200 and r.json() == {"fString": "zipped"}, r


def test_identity_coding(http, backend):
    assert post(http, "/test/v1/echo", '{"fInt32":1}', [*JSON, ("content-encoding", "identity")]).json() == {"fInt32": 1}


@pytest.mark.parametrize("coding", ["deflate", "compress", "gzip, gzip", "x"])
def test_other_codings_are_415(http, backend, gateway, coding):
    with gateway.counts("UNSUPPORTED_CODING"):
        r = post(http, "/test/v1/echo", b"zz", [*JSON, ("content-encoding", coding)])
    assert r.status == 415 and r.json()["code"] == 3 and not backend.calls


def test_damaged_gzip_is_400(http, backend):
    import gzip
    whole = gzip.compress(b'{"fString":"zipped and long enough to be cut"}')
    assert post(http, "/test/v1/echo", whole[:20], [*JSON, ("content-encoding", "gzip")]).status == 400
    assert post(http, "/test/v1/echo", b"\x1f\x8b" + b"z" * 40, [*JSON, ("content-encoding", "gzip")]).status == 400
    assert not backend.calls


def test_gzip_bomb_is_413(http, backend):
    import gzip
    bomb = gzip.compress(b'{"fString":"' + b"x" * 20_000_000 + b'"}')
    r = post(http, "/test/v1/echo", bomb, [*JSON, ("content-encoding", "gzip")])
    assert r.status == 413 and r.json()["code"] == 8 and not backend.calls


# -- HttpBody -----------------------------------------------------------------------------------------------------------------

def test_http_body_takes_any_type(http, backend):
    r = http.request("PUT", "/test/v1/raw/a/b?comment=hi", [("content-type", "image/x-odd")], b"\x00\x01\xff" * 1000)
    got = r.json()
    assert (got["name"], got["contentType"], got["size"], got["comment"]) == ("a/b", "image/x-odd", "3000", "hi")


def test_http_body_whole_message(http, backend):
    r = http.request("POST", "/test/v1/raw:echo", [("content-type", "text/csv; header=present")], b"a,b\n1,2\n")
    assert r.status == 200 and r.body == b"a,b\n1,2\n" and r.header("content-type") == "text/csv; header=present"


def test_http_body_of_nothing(http, backend):
    r = http.request("PUT", "/test/v1/raw/x", [], b"")
    assert r.status == 200 and r.json() == {"name": "x", "sha256": r.json()["sha256"], "messages": 1}
