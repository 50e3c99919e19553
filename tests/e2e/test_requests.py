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
