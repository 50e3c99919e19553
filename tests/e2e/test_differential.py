"""Our JSON against protobuf's own json_format, for random messages of the test types, both ways (ARCHITECTURE, Tests).

TRANSOM_SEED chooses other messages; TRANSOM_MESSAGES how many."""
import json
import os
import random

import pytest
from google.protobuf import json_format

from env.messages import types
from env.random_messages import Random

SEED = int(os.environ.get("TRANSOM_SEED", "20241"))
COUNT = int(os.environ.get("TRANSOM_MESSAGES", "120"))
TARGETS = [("test.v1.Everything", "/test/v1/echo"), ("test.legacy.Legacy", "/test/v1/legacy"), ("google.protobuf.Any", "/test/v1/any"),
           ("google.protobuf.Value", "/test/v1/value")]
NAMES = [t[0] for t in TARGETS]
CONFIG = {"policies": {"*": {"max_request_bytes": "16MiB"}}}


def normal(x):
    """Numbers as floats, so that 1 and 1.0 are one; NaN and infinities are strings in both."""
    if isinstance(x, dict):
        # NullValue is null in ProtoJSON whatever the option; json_format prints 0 for use_integers_for_enums
        return {k: None if k in ("cNull", "nullValue") and v == 0 else normal(v) for k, v in x.items()}
    if isinstance(x, list):
        return [normal(v) for v in x]
    if isinstance(x, int) and not isinstance(x, bool):
        return float(x)
    return x


def same(a, b):
    """The same message. Where the bytes differ (the order of maps inside an Any is free), its meaning counts."""
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True) or normal(types().to_json(a)) == normal(types().to_json(b))


def messages(name, count=COUNT):
    for i in range(count):
        yield i, Random(types(), f"{SEED}-{name}-{i}").message(name)


@pytest.mark.parametrize("name,target", TARGETS, ids=NAMES)
@pytest.mark.parametrize("options", [{}, {"always_print_fields_with_no_presence": True}, {"preserving_proto_field_name": True}, {"use_integers_for_enums": True}],
                         ids=["plain", "defaults", "proto_names", "enum_numbers"])
def test_answers_print_as_json_format_does(connect, gateways, backend, name, target, options):
    policy = {"always_print_fields_with_no_presence": "emit_defaults", "preserving_proto_field_name": "proto_names", "use_integers_for_enums": "enums_as_numbers"}
    http = connect(gateways(policies={"*": {"max_request_bytes": "16MiB", **{policy[o]: True for o in options}}}))
    for i, m in messages(name, COUNT if not options else COUNT // 3):
        r = http.request("POST", target, [("content-type", "application/x-protobuf")], m.SerializeToString())
        assert r.status == 200, (i, r, m)
        want = types().to_json(m, **options)
        got = json.loads(r.body, parse_constant=lambda c: pytest.fail("not JSON: " + c))
        assert normal(got) == normal(want), (i, m)


@pytest.mark.parametrize("name,target", TARGETS, ids=NAMES)
def test_bodies_read_as_json_format_does(http, backend, name, target):
    r = random.Random(SEED)
    for i, m in messages(name):
        text = json_format.MessageToJson(m, descriptor_pool=types().pool, indent=r.choice([None, 2]), ensure_ascii=r.random() < 0.5,
                                         preserving_proto_field_name=r.random() < 0.5, use_integers_for_enums=r.random() < 0.5,
                                         always_print_fields_with_no_presence=r.random() < 0.3)
        want = types().parse_json(name, text)
        backend.calls.clear()
        answer = http.request("POST", target, [("content-type", "application/json")], text.encode("utf-8", "surrogatepass"))
        assert answer.status == 200, (i, answer, text)
        assert same(backend.calls[0].request, want), (i, text)


@pytest.mark.parametrize("name,target", TARGETS[:2], ids=NAMES[:2])
def test_what_is_printed_is_read_back(http, backend, name, target):
    """pb2json(json2pb(x)) is stable."""
    for i, m in messages(name, COUNT // 2):
        first = http.request("POST", target, [("content-type", "application/x-protobuf")], m.SerializeToString())
        second = http.request("POST", target, [("content-type", "application/json")], first.body)
        assert second.status == 200 and second.json() == first.json(), (i, first.body)
        assert same(backend.calls[-1].request, m), i


VARIANTS = [
    '{"fInt32":1.0}', '{"fInt32":1e2}', '{"fInt32":"12"}', '{"fInt32":-0}', '{"fInt64":"9223372036854775807"}', '{"fInt64":9223372036854775807}',
    '{"fUint64":"18446744073709551615"}', '{"fInt64":"1e3"}', '{"fDouble":"NaN"}', '{"fDouble":"1.5"}', '{"fDouble":1e400}', '{"fDouble":-1e400}', '{"fFloat":1e39}',
    '{"fFloat":3.4028235e38}', '{"fFloat":"Infinity"}', '{"fBool":"true"}', '{"fBool":1}', '{"fString":1}', '{"fBytes":"AQI"}', '{"fBytes":"AQI="}', '{"fBytes":"AQ=I"}',
    '{"fBytes":"-_-_"}', '{"fColor":1}', '{"fColor":"1"}', '{"fColor":99}', '{"fColor":null}', '{"fLeaf":null}', '{"rInt32":null}', '{"mString":null}', '{"rInt32":[1,null]}',
    '{"mInt32":{"1":2}}', '{"mInt32":{"x":2}}', '{"mBool":{"true":false}}', '{"mBool":{"True":false}}', '{"mString":{"a":null}}', '{"value":null}', '{"nullValue":null}',
    '{"nullValue":"NULL_VALUE"}', '{"cNull":null}', '{"timestamp":"2024-01-01T00:00:00+01:00"}', '{"timestamp":"2024-01-01t00:00:00z"}', '{"timestamp":"2024-02-30T00:00:00Z"}',
    '{"timestamp":"0000-01-01T00:00:00Z"}', '{"timestamp":"9999-12-31T23:59:59.999999999Z"}', '{"timestamp":"2024-01-01T00:00:00.1234567890Z"}', '{"duration":"1s"}', '{"duration":"-0.5s"}',
    '{"duration":"1"}', '{"duration":"315576000001s"}', '{"duration":"1.0000000001s"}', '{"fieldMask":"a,bC.d"}', '{"fieldMask":"a_b"}', '{"fieldMask":""}',
    '{"int64Value":"5"}', '{"int64Value":null}', '{"boolValue":true}', '{"any":{}}', '{"any":{"@type":"type.googleapis.com/test.v1.Leaf","text":"x"}}',
    '{"any":{"text":"x","@type":"type.googleapis.com/test.v1.Leaf"}}', '{"any":{"@type":"test.v1.Leaf"}}', '{"struct":[]}', '{"listValue":[[],{}]}', '{"struct":{"a":null}}',
    '{"fInt32":1,"fInt32":2}', '{"f_int32":3}', '{"oInt32":null}', '{"oInt32":0}', '{"cUint32":0}', '{"cUint32":null,"cString":"x"}', '{"@odd \\"name\\"":"x"}', '{"renamed":"x"}',
    '{"fString":"\\u0000"}', '{"fString":"\\ud83d\\ude00"}', '{"fString":"\\ud83d"}', '{"fString":"\\x"}', '{"fInt32":+1}', '{"fInt32":.5}', '{"fInt32":2147483648}', '{"fInt32":0x10}',
    '{"fUint32":-1}', '{"fInt32":1,}', "{'fInt32':1}", '{"fInt32":NaN}', '{"fNested":{"corecursive":{"fNested":{"id":"deep"}}}}', '{"tree":{"byName":{"a":{"name":"b"}}}}',
]
# Where SPEC §4 (or the conformance suite) asks for another verdict than Python's.
OURS = {
    '{"fInt32":1,"fInt32":2}': False,      # duplicate names of one field are refused; json_format agrees by default
    '{"fDouble":1e400}': False,            # out of range; Python's parser reads it as infinity
    '{"fDouble":-1e400}': False,
    '{"fInt32":NaN}': False,               # not JSON
    '{"fFloat":3.4028235e38}': True,       # the largest float in its shortest form; json_format prints it and does not read it
    '{"fBytes":"AQ=I"}': False,            # not base64
    '{"fColor":"1"}': False,               # a number is a number
    '{"timestamp":"2024-01-01t00:00:00z"}': None,   # RFC 3339 allows it, ProtoJSON does not say
    '{"fieldMask":"a_b"}': None,           # json_format keeps what does not convert back
    '{"any":{"@type":"test.v1.Leaf"}}': None,       # a type URL without a slash
    '{"mBool":{"True":false}}': None,
    '{"timestamp":"2024-01-01T00:00:00.1234567890Z"}': None,
    '{"duration":"1.0000000001s"}': None,
}


@pytest.mark.parametrize("text", VARIANTS)
def test_verdicts_agree(http, backend, text):
    try:
        want = types().parse_json("test.v1.Everything", text)
        accepted = True
    except json_format.ParseError:
        accepted = False
    r = http.request("POST", "/test/v1/echo", [("content-type", "application/json")], text)
    assert r.status in (200, 400)
    expected = OURS.get(text, accepted)
    if expected is None:
        return
    assert (r.status == 200) == expected, (r, accepted)
    if expected and accepted:
        assert same(backend.one_call().request, want)
