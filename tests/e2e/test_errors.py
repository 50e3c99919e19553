"""Errors (SPEC §6): the table, forms, details, Retry-After."""
import base64

import pytest

from env.build import wait_until
from env.messages import types

JSON = [("content-type", "application/json")]
TABLE = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401}


def fail(http, query, headers=()):
    return http.request("GET", "/test/v1/fail/" + query, headers)


@pytest.mark.parametrize("code", TABLE)
def test_each_code(http, backend, code):
    r = fail(http, f"{code}?message=because")
    assert r.status == TABLE[code] and r.header("content-type") == "application/json"
    assert r.json() == {"code": code, "message": "because"}
    assert r.header("content-length") == str(len(r.body))
    assert (r.header("www-authenticate") is not None) == (r.status == 401)
    assert len(backend.calls) == 1


def test_ok(http, backend):
    r = fail(http, "0")
    assert r.status == 200 and r.json() == {"attempt": 1}


@pytest.mark.parametrize("text", ["", "é ü 漢字 😀", "line\nbreak\ttab", 'quote " back \\', "percent %41 %"])
def test_message_is_kept_exactly(http, backend, text):
    r = http.request("POST", "/test/v1/fail", JSON, __import__("json").dumps({"code": 9, "message": text}))
    assert r.status == 400 and r.json().get("message", "") == text


def test_details_of_loaded_types(http, backend):
    r = fail(http, "3?badRequest=true&retryAfter=0.2s")
    by_type = {d["@type"].split("/")[-1]: d for d in r.json()["details"]}
    assert by_type["google.rpc.BadRequest"]["fieldViolations"] == [{"field": "a.b", "description": "no"}]
    assert by_type["google.rpc.RetryInfo"]["retryDelay"] == "0.200s"
    assert r.header("retry-after") == "1"


@pytest.mark.parametrize("delay,seconds", [("1s", "1"), ("1.5s", "2"), ("90s", "90"), ("0s", "0")])
def test_retry_info_becomes_retry_after(http, backend, delay, seconds):
    assert fail(http, f"14?retryAfter={delay}").header("retry-after") == seconds


def test_detail_of_an_unknown_type_is_kept(http, backend):
    r = fail(http, "9?unknownDetail=true")
    assert r.json()["details"] == [{"@type": "type.example.com/nobody.Knows", "value": base64.b64encode(b"\x08\x01").decode()}]


def test_debug_info_is_dropped(http, backend):
    r = fail(http, "13?debugInfo=true&badRequest=true")
    assert b"secret" not in r.body and len(r.json()["details"]) == 1


def test_debug_info_when_allowed(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"debug_info": True}}))
    assert fail(http, "13?debugInfo=true").json()["details"][0]["detail"] == "secret"


def test_debug_info_is_dropped_from_binary_errors_and_trailers(http, backend):
    r = fail(http, "13?debugInfo=true", [("accept", "application/x-protobuf")])
    assert r.status == 500 and b"secret" not in r.body


def test_trailing_metadata_of_an_error_becomes_headers(http, backend):
    r = fail(http, "9?badRequest=true")
    assert r.header("x-trailing") == "kept"
    assert not any(n.startswith("grpc-") for n, _ in r.headers)


def test_aip193(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"error_format": "aip193"}}))
    r = fail(http, "5?message=gone&badRequest=true")
    error = r.json()["error"]
    assert r.status == 404 and r.header("content-type") == "application/json"
    assert (error["code"], error["status"], error["message"]) == (404, "NOT_FOUND", "gone")
    assert error["details"][0]["@type"].endswith("google.rpc.BadRequest")
    assert set(r.json()) == {"error"}


def test_problem(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"error_format": "problem"}}))
    r = fail(http, "6?message=there")
    problem = r.json()
    assert r.status == 409 and r.header("content-type") == "application/problem+json"
    assert problem["status"] == 409 and problem["title"] == "Conflict" and problem["detail"] == "there"


def test_gateway_errors_take_the_format_too(connect, gateways, backend):
    http = connect(gateways(policies={"*": {"error_format": "problem"}}))
    r = http.request("GET", "/test/v1/query?number=x")
    assert r.status == 400 and r.header("content-type") == "application/problem+json" and r.json()["status"] == 400
    r = http.request("GET", "/nope")
    assert r.status == 404 and r.header("content-type") == "application/problem+json"


def test_gateway_refusals_have_error_info(http, backend):
    r = http.request("GET", "/nope")
    assert r.json() == {"code": 5, "message": r.json()["message"],
                        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ROUTE_NOT_FOUND", "domain": "transom"}]}


def test_binary_status_of_a_refusal(http, backend):
    r = http.request("GET", "/test/v1/query?number=x", [("accept", "application/x-protobuf")])
    status = types()["google.rpc.Status"].FromString(r.body)
    assert r.status == 400 and status.code == 3 and len(status.details) == 2


def test_a_rejected_request_is_counted_by_code(gateway, http, backend):
    labels = {"verb": "GET", "route": "/test/v1/fail/{code}", "code": "NOT_FOUND"}
    before = {k: gateway.metric("transom_requests_total", **{**labels, "code": k}) for k in ("NOT_FOUND", "5")}
    fail(http, "5")
    after = {}

    def counted():  # after the answer
        after.update({k: gateway.metric("transom_requests_total", **{**labels, "code": k}) for k in ("NOT_FOUND", "5")})
        return after != before
    wait_until("it is counted", counted)
    assert sum(after.values()) == sum(before.values()) + 1
