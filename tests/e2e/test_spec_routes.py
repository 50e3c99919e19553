"""Routes and their table, decision by decision (SPEC §1, §2, §3): what test_routes.py and test_cli.py leave out."""
import json

import pytest

from env.build import wait_until
from env.gateway import base_config, run

JSON = [("content-type", "application/json")]
SERVICE = "test.v1.EverythingService."
BARE, QUERY, STRING, LEGACY = SERVICE + "Bare", SERVICE + "Query", SERVICE + "EchoString", SERVICE + "EchoLegacy"


def bare(*bindings):
    """http_rules that give Bare these bindings."""
    first, *more = bindings
    return [{"selector": BARE, **first, "additional_bindings": more}]


# -- templates --------------------------------------------------------------------------------------------------------------

RULES = bare({"get": "/"}, {"get": "/v/{text}"}, {"post": "/v/{text}:do"}, {"get": "/d/{text=**}/end:go"}, {"get": "/d/{text=**}"},
             {"get": "/lit%2Fx/a~b"}, {"get": "/l%C3%A9"}, {"get": "/t/{text=a/*/b}/c/*"}, {"get": "/t/{text=**}/c/{number}"},
             {"get": "/w/*/x/**"}, {"get": "/par/{text=projects/*/docs/**}/{number}"}, {"get": "/p/{text=**/bots/*}"},
             {"get": "/q/literal"}, {"get": "/q/{text}"}, {"get": "/q/{text=**}"}, {"get": "/b/x/y"}, {"get": "/b/{text}/z"}, {"get": "/verb:one"}, {"get": "/verb:two"})

FOUND = [
    ("/", {}), ("/?text=a", {"text": "a"}),
    # the colon of a verb is a raw one, its letters may be escaped; an unregistered verb is data
    ("/v/a%3Ado", {"text": "a:do"}), ("/v/a:b:c", {"text": "a:b:c"}), ("/v/:do", {"text": ":do"}),
    ("/v/a;x=1", {"text": "a;x=1"}), ("/v/a%25zz", {"text": "a%zz"}), ("/v/..a", {"text": "..a"}), ("/v/a%2F..", {"text": "a/.."}), ("/v/a?", {"text": "a"}), ("/v/a?&&", {"text": "a"}),
    ("/v/%5B%5d", {"text": "[]"}),
    ("/d", {}), ("/d/", {}), ("/d/end:go", {}), ("/d/a/b/end:go", {"text": "a/b"}), ("/d/a//end:go", {"text": "a/"}), ("/d/a/b/end", {"text": "a/b/end"}),
    ("/d/a/b/end:other", {"text": "a/b/end:other"}),
    # literals: unreserved letters decoded on both sides, hexadecimal digits in either case, %2F is no slash
    ("/lit%2fx/a%7Eb", {}), ("/l%c3%a9", {}),
    # backtracking: the longer literal first, then what remains
    ("/t/a/x/b/c/y", {"text": "a/x/b"}), ("/t/q/c/5", {"text": "q", "number": 5}), ("/t/c/5", {"number": 5}), ("/b/x/y", {}), ("/b/x/z", {"text": "x"}),
    ("/w/1/x", {}), ("/w/1/x/", {}), ("/w/1/x/2/3", {}),
    ("/par/projects/p/docs/5", {"text": "projects/p/docs", "number": 5}), ("/par/projects/p/docs/a%2Fb/c/5", {"text": "projects/p/docs/a%2Fb/c", "number": 5}),
    ("/p/bots/b", {"text": "bots/b"}), ("/p/x/y/bots/b", {"text": "x/y/bots/b"}),
    ("/q/literal", {}), ("/q/other", {"text": "other"}), ("/q/a/b", {"text": "a/b"}), ("/q/", {"text": ""}), ("/verb:one", {}), ("/verb:t%77o", {}),
]


@pytest.fixture
def rules(connect, gateways):
    return connect(gateways(http_rules=RULES))


@pytest.mark.parametrize("target,want", FOUND, ids=[f[0] for f in FOUND])
def test_template_matches(rules, backend, target, want):
    r = rules.request("GET", target)
    assert r.status == 200 and r.json() == {k: v for k, v in want.items() if v}, r


@pytest.mark.parametrize("target", ["//", "/v", "/v/", "/v/a/", "/lit/x/a~b", "/w//x/1", "/w/1/y", "/par/projects//docs/5", "/t/a/x", "/verb", "/verb:three", "/V/a", "/p/bots"])
def test_template_does_not_match(rules, backend, target):
    assert rules.request("GET", target).status == 404
    assert not backend.calls


@pytest.mark.parametrize("target,allow", [("/v/a:do", "POST, OPTIONS"), ("/q/literal", None)])
def test_allow_names_what_there_is(rules, backend, target, allow):
    r = rules.request("DELETE", target)
    assert r.status == 405 and r.header("allow") == (allow or "GET, HEAD, OPTIONS")
    r = rules.request("OPTIONS", target)
    assert r.status == 204 and r.header("allow") == (allow or "GET, HEAD, OPTIONS") and r.header("content-length") is None
    assert not backend.calls


def test_a_value_that_does_not_fit_its_field_is_400(rules, backend):
    r = rules.request("GET", "/t/q/c/x")
    assert r.status == 400
    info, bad = r.json()["details"]
    assert info["reason"] == "PATH_VALUE" and bad["fieldViolations"][0]["field"] == "number" and not backend.calls


@pytest.mark.parametrize("target", ["/v/..:do", "/v/%2e%2e:do", "/v/.:do", "/v/[a]", "/v/a#b", "/v/a%C3", "/v/%C0%80", "/v/%ed%a0%80", "/v/a?x=%zz", "/v/a?x=\xe9", "/v/a?x=a\"b"])
def test_target_that_is_refused(rules, backend, target):
    assert rules.request("GET", target).status == 400
    assert not backend.calls


def test_methods_are_case_sensitive(rules, backend):
    assert rules.request("get", "/v/a").status == 405


# -- verbs ------------------------------------------------------------------------------------------------------------------

def test_a_verb_before_the_star_kind(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": BARE, "custom": {"kind": "*", "path": "/any/{text}"}}, {"selector": STRING, "get": "/any/{value}"},
                                        {"selector": QUERY, "custom": {"kind": "OPTIONS", "path": "/any/{text}"}}]))
    assert http.request("GET", "/any/x").json() == "x"
    assert http.request("PUT", "/any/x").json() == {"text": "x"}
    assert http.request("OPTIONS", "/any/x").status == 200
    assert http.request("HEAD", "/any/x").status == 200
    assert [c.method for c in backend.calls] == ["EchoString", "Bare", "Query", "EchoString"]


def test_options_and_head_may_be_mapped(connect, gateways, backend):
    http = connect(gateways(http_rules=bare({"custom": {"kind": "OPTIONS", "path": "/o/{text}"}}, {"custom": {"kind": "HEAD", "path": "/h/{text}"}}, {"get": "/h/{number}"})))
    assert http.request("OPTIONS", "/o/x").json() == {"text": "x"}
    assert http.request("GET", "/o/x").header("allow") == "OPTIONS"
    r = http.request("HEAD", "/h/x")  # the GET would refuse "x" as a number
    assert r.status == 200 and r.body == b"" and r.header("content-length") == str(len('{"text":"x"}'))


# -- configuration ----------------------------------------------------------------------------------------------------------

def test_a_selector_with_a_star_names_each_method(connect, gateways, backend):
    """The last rule whose selector fits wins; a method that has one loses its annotation."""
    http = connect(gateways(services=[{"name": "test.v1.EverythingService", "upstream": "main"}],
                            http_rules=[{"selector": "test.v1.*", "get": "/everything"}, {"selector": BARE, "get": "/bare"}], on_route_conflict="first"))
    assert http.request("GET", "/everything").status == 200
    assert http.request("GET", "/bare").status == 200
    assert http.request("GET", "/test/v1/query").status == 404
    http = connect(gateways(http_rules=[{"selector": BARE, "get": "/bare"}, {"selector": "test.v1.*", "get": "/everything"}], on_route_conflict="first"))
    assert http.request("GET", "/bare").status == 404


def test_rules_read_both_spellings_and_every_key(connect, gateways, backend):
    http = connect(gateways(http_rules=[{"selector": SERVICE + "Patch", "patch": "/one/{id}", "body": "everything", "responseBody": "paths",
                                         "additionalBindings": [{"put": "/two/{id}", "body": "everything", "response_body": "id"}, {"delete": "/three/{id}"}]}]))
    assert http.request("PATCH", "/one/7", JSON, '{"fInt32":1}').json() == ["f_int32"]
    assert http.request("PUT", "/two/7", JSON, '{"fInt32":1}').json() == "7"
    assert http.request("DELETE", "/three/7").json()["id"] == "7"


def test_expose_all_leaves_methods_with_a_rule_alone(connect, gateways, backend):
    http = connect(gateways(services=[{"name": "test.v1.EverythingService", "upstream": "main", "expose": "all", "path_prefix": "/p"}],
                            http_rules=[{"selector": QUERY, "get": "/"}]))
    assert http.request("POST", "/p/test.v1.EverythingService/Bare", JSON, '{"text":"b"}').json() == {"text": "b"}
    assert http.request("POST", "/p/test.v1.EverythingService/Echo", JSON, "{}").status == 404
    assert http.request("GET", "/p?text=root").json() == {"text": "root"}  # "/" under the prefix
    assert http.request("GET", "/p/").status == 404


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        path = tmp_path / "transom.json"
        path.write_text(json.dumps(base_config(["127.0.0.1:1"], **changes), indent=2))
        return path
    return write


SAME_SHAPE = [{"selector": STRING, "get": "/same/{value}"}, {"selector": BARE, "get": "/same/*"}]


def test_a_conflict_is_a_load_error_that_names_both(config):
    for verb in ("check", "serve"):
        done = run(verb, "--config", config(http_rules=SAME_SHAPE))
        assert done.returncode == 1 and BARE in done.stdout + done.stderr and STRING in done.stdout + done.stderr


def test_the_order_of_services_decides_a_conflict(config):
    done = run("routes", "--json", "--config", config(http_rules=SAME_SHAPE, on_route_conflict="first"))
    same = [r for r in json.loads(done.stdout) if r["template"].startswith("/same/")]
    assert done.returncode == 0 and [r["method"] for r in same] == [STRING]  # declared before Bare, whatever the order of the rules


def test_one_method_twice_is_a_warning(config):
    done = run("check", "--config", config(http_rules=bare({"get": "/x/{text}"}, {"get": "/x/{number}"})))
    assert done.returncode == 0 and "1 warning" in done.stdout


def test_another_verb_or_kind_is_no_conflict(config):
    done = run("check", "--config", config(http_rules=[{"selector": STRING, "get": "/same/{value}"}, {"selector": BARE, "custom": {"kind": "*", "path": "/same/{text}"}}, {"selector": QUERY, "post": "/same/{text}"}]))
    assert done.returncode == 0 and "0 warnings" in done.stdout, done.stdout


GOOD_VALUES = [({"drain_timeout": "1.5s"}, 0), ({"drain_timeout": "200ms"}, 0), ({"drain_timeout": "5m"}, 0), ({"drain_timeout": 5}, 1), ({"drain_timeout": "5"}, 1), ({"drain_timeout": "-1s"}, 1),
               ({"drain_timeout": "5 s"}, 1), ({"drain_timeout": "1e3s"}, 1),
               ({"limits": {"max_header_bytes": "64KiB"}}, 0), ({"limits": {"max_header_bytes": 65536}}, 0), ({"limits": {"max_header_bytes": "64KB"}}, 1), ({"limits": {"max_header_bytes": "1.5KiB"}}, 1),
               ({"limits": {"max_header_bytes": -1}}, 1), ({"limits": {"max_header_bytes": 1e9}}, 1), ({"limits": {"max_headers": "100"}}, 1),
               ({"policies": {"*": {"success_status": 203}}}, 1), ({"policies": {"*": {"success_status": 299}}}, 1), ({"policies": {"a b": {}}}, 1), ({"policies": {"*": {"url_unescape": "none"}}}, 1)]


@pytest.mark.parametrize("changes,status", GOOD_VALUES, ids=[json.dumps(g[0]) for g in GOOD_VALUES])
def test_durations_sizes_and_choices(config, changes, status):
    done = run("check", "--config", config(**changes))
    assert done.returncode == status, done.stdout


def test_the_keys_without_a_default(tmp_path):
    for missing in ("descriptors", "upstreams", "services"):
        whole = base_config(["127.0.0.1:1"])
        small = {k: whole[k] for k in ("descriptors", "upstreams", "services")}
        path = tmp_path / "c.json"
        path.write_text(json.dumps(small))
        assert run("check", "--config", path).returncode == 0
        del small[missing]
        path.write_text(json.dumps(small))
        done = run("check", "--config", path)
        assert done.returncode == 1 and missing in done.stdout


# -- policies ---------------------------------------------------------------------------------------------------------------

POLICIES = {
    "*": {"timeout": "9s", "ignored_query_parameters": ["a", "b"], "set_headers": {"request": {"x-a": "general", "x-b": "general"}}},
    "test.v1.*": {"max_request_bytes": "1KiB", "ignored_query_parameters": ["c"]},
    SERVICE + "*": {"timeout": None, "set_headers": {"request": {"x-a": None, "x-c": "service"}}},
    QUERY: {"pretty": True, "max_request_bytes": None},
}


def leaves(text):
    """{key: (value, source)} of the policy that check or explain printed."""
    out = {}
    for line in text.splitlines():
        if line.startswith("  ") and " = " in line and line.endswith(")"):
            key, rest = line.strip().split(" = ", 1)
            value, source = rest[:-1].rsplit("   (", 1)
            out[key] = value, source
    return out


def test_explain_shows_the_source_of_each_leaf(config):
    done = run("explain", "--config", config(policies=POLICIES), "GET", "/test/v1/query?text=x")
    got = leaves(done.stdout)
    assert done.returncode == 0
    assert got["timeout"] == ("15s", SERVICE + "*")                                    # null removes what was inherited
    assert got["max_request_bytes"] == ("4MiB", QUERY)
    assert got["ignored_query_parameters"] == ('["c"]', "test.v1.*")                     # arrays replace
    assert got["pretty"] == ("true", QUERY) and got["emit_defaults"] == ("false", "default")
    assert {k: v for k, v in got.items() if k.startswith("set_headers")} == {"set_headers.request.x-b": ('"general"', "*"), "set_headers.request.x-c": ('"service"', SERVICE + "*")}


def test_check_shows_the_source_of_each_leaf(config):
    done = run("check", "--config", config(policies=POLICIES))
    assert done.returncode == 0
    blocks = done.stdout.split("policy of ")[1:]
    assert len(blocks) == 2 and blocks[0].startswith(SERVICE + "Echo ") and blocks[1].startswith(QUERY)
    assert leaves(blocks[0])["max_request_bytes"] == ('"1KiB"', "test.v1.*") and "pretty" not in leaves(blocks[0])
    assert leaves(blocks[1])["pretty"] == ("true", QUERY)
    assert leaves(blocks[1])["set_headers.request.x-c"] == ('"service"', SERVICE + "*")


def test_policies_merge_when_served(connect, gateways, backend):
    http = connect(gateways(policies=POLICIES))
    assert http.request("GET", "/test/v1/query?text=x&c=1").body == b'{\n  "text": "x"\n}'
    call = backend.one_call()
    assert (call.all("x-a"), call.all("x-b"), call.all("x-c")) == ([], ["general"], ["service"])
    assert http.request("GET", "/test/v1/query?text=x&a=1").status == 400
    assert http.request("POST", "/test/v1/echo", JSON, '{"fString":"%s"}' % ("y" * 1100)).status == 413


# -- explain ----------------------------------------------------------------------------------------------------------------

def explain(path, *args):
    return run("explain", "--config", path, *args)


ANSWERED = [
    (("OPTIONS", "/test/v1/echo"), "204 with Allow: GET, HEAD, POST, OPTIONS"), (("OPTIONS", "*"), "204"), (("HEAD", "/test/v1/echo"), "GET /test/v1/echo"),
    (("GET", "http://api.example.com/test/v1/query?text=a"), '"text": "a"'),
    (("POST", "/test/v1/upload/p", "-d", '[{"text":"a","index":1},{"text":"b"}]'), '"text": "b"'),
    (("POST", "/test/v1/upload/p", "-H", "content-type: application/x-ndjson", "-d", '{"text":"a"}\n{"text":"b"}\n'), '"text": "b"'),
    (("PATCH", "/test/v1/patch/7", "-d", '{"fLeaf":{"text":"x"}}'), '"updateMask": "fLeaf.text"'),
    (("PUT", "/test/v1/raw/a?comment=c", "-H", "Content-Type: text/csv", "-d", "1,2"), '"contentType": "text/csv",\n    "data": "MSwy"'),
    (("GET", "/test/v1/echo/x", "-H", "x-request-timeout: 0.5"), "deadline: 0.5 s"),
    (("POST", "/test.v1.EverythingService/Echo", "-H", "content-type: application/grpc+proto"), "native gRPC"),
]


@pytest.mark.parametrize("args,want", ANSWERED, ids=[" ".join(a[0][:2]) for a in ANSWERED])
def test_explain_what_would_be_answered(config, args, want):
    done = explain(config(), *args)
    assert done.returncode == 0 and want in done.stdout, done.stdout + done.stderr


REFUSED = [
    (("POST", "/test/v1/echo", "-H", "content-type: text/plain", "-d", "x"), "415"), (("POST", "/test/v1/echo", "-H", "content-encoding: snappy", "-d", "{}"), "415"),
    (("GET", "/test/v1/echo", "-d", "{}"), "400"), (("GET", "/test/v1/echo?$alt=xml"), "400"), (("GET", "/test/v1/echo?$fields=nope"), "400"), (("GET", "/test/v1/echo/.."), "400"),
    (("GET", "/test/v1/echo/a", "-H", "grpc-timeout: 5"), "400"), (("POST", "/test/v1/upload/p", "-d", '[{"text":"a"}'), "400"), (("POST", "/test/v1/upload/p", "-d", "[{}] {}"), "400"),
    (("GET", "/nope"), "404"), (("DELETE", "/test/v1/echo"), "405"), (("POST", "/test.v1.EverythingService/Bare", "-H", "content-type: application/grpc"), "404 METHOD_UNIMPLEMENTED"),
]


@pytest.mark.parametrize("args,want", REFUSED, ids=[" ".join(r[0][:2]) + f" {r[1]} {i}" for i, r in enumerate(REFUSED)])
def test_explain_what_would_be_refused(config, args, want):
    done = explain(config(), *args)
    assert done.returncode == 1 and "refused: " + want in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("args", [("GET",), ("GET", "/", "x"), ("G T", "/"), ("GET", "/", "-H", "no colon"), ("GET", "/", "--nope")])
def test_explain_wrong_usage_is_2(config, args):
    done = explain(config(), *args)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_serve_warns_once_that_nobody_is_asked_who_they_are(start, backend):
    gateway = start(base_config([backend.endpoint]))
    wait_until("the warning", lambda: "no authentication" in gateway.stderr)
    gateway.stop()  # all that it wrote has been read
    assert gateway.stderr.count("no authentication") == 1


# -- where backends and listeners are -------------------------------------------------------------------------------------------

def test_a_name_is_an_endpoint_and_its_authority(start, backend):
    from env.http1 import H1
    gateway = start(base_config([f"localhost:{backend.port}"]))
    with H1(gateway.port) as http:
        assert http.request("GET", "/test/v1/echo/x").json() == {"fString": "x"}


@pytest.mark.parametrize("endpoint", ["::1:5", "127.0.0.1", "name", "name:", "name:0", "name:70000", "na me:5", "http://127.0.0.1:1", "dns:///x", "unix:", "", ":5"])
def test_what_is_no_endpoint(config, endpoint):
    done = run("check", "--config", config(upstreams={"main": {"endpoints": [endpoint]}}))
    assert done.returncode == 1 and "/upstreams/main/endpoints/0" in done.stdout


def test_sockets_are_relative_to_the_file_too(tmp_path, session_backend):
    import os
    import socket
    from env.backend import Backend
    from env.gateway import Gateway
    session_backend.reset()
    folder = tmp_path / "g"
    folder.mkdir()
    backend = Backend(address=f"unix:{folder}/b.sock")
    os.chdir("/")
    with Gateway(folder, base_config(["unix:b.sock"], listeners=[{"address": "127.0.0.1:0"}, {"address": "unix:l.sock"}])):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(folder / "l.sock"))
            s.sendall(b"GET /test/v1/echo/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := s.recv(4096):
                got += piece
    backend.stop()
    assert got.endswith(b'{"fString":"x"}')


def test_problems_of_a_rule_stand_at_the_rule(config):
    path = config(http_rules=[{"selector": BARE, "get": "/fine"}, {"selector": QUERY, "get": "/x/{nope}"}, {"selector": STRING, "get": "/fine"}])
    done = run("check", "--config", path)
    assert done.returncode == 1 and "/http_rules/1: " in done.stdout and "2 errors" in done.stdout, done.stdout
    row = next(i for i, line in enumerate(path.read_text().splitlines(), 1) if QUERY in line) - 1  # the object begins above
    assert f"{path}:{row}:" in done.stdout


BAD_RULES = [{"selector": BARE, "get": "/x", "put": "/y"}, {"selector": "", "get": "/x"}, {"get": "/x"}, {"selector": BARE, "custom": {"kind": "A B", "path": "/x"}}, {"selector": BARE, "custom": {"path": "/x"}}, {"selector": BARE, "custom": {"kind": "*"}},
             {"selector": BARE, "get": "/x/{text}", "body": "text"}, {"selector": BARE, "get": 5}, "x", {"selector": BARE, "get": "/x", "bogus": 1}, {"selector": BARE, "get": "/x", "additional_bindings": {"get": "/y"}},
             *({"selector": QUERY, "get": t} for t in ("/x/{labels}", "/x/{texts}", "/x/{leaf}", "/x/{mask}", "/x/{tree.children.name}", "/x/{leaf.text}/{leaf.text}", "/x/{snakeCaseName}/{snake_case_name}", "", "/x/", "//x", "/x:", "/a b", "/\u00e9", "/x?y",
                                                       "/x/{a=**}/**", "/x/{text=a/{number}}", "/x/{text", "/x/text}", "/x/a*", "/{text}b", "/x/..", "/x:v/y", "/%zz")),
             {"selector": QUERY, "post": "/x", "body": "leaf.text"}, {"selector": QUERY, "get": "/x", "responseBody": "leaf.text"}]


@pytest.mark.parametrize("rule", BAD_RULES, ids=[json.dumps(r)[:70] for r in BAD_RULES])
def test_rules_that_are_none(config, rule):
    done = run("check", "--config", config(http_rules=[rule]))
    assert done.returncode == 1 and "/http_rules/0" in done.stdout, done.stdout


# -- the command line -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [("check", "x"), ("routes", "x"), ("routes", "--jsn"), ("serve", "x"), ("explain", "GET", "/", "-d"), ("check", "--config")])
def test_surplus_and_missing_arguments_are_2(config, args):
    verb, *rest = args
    done = run(verb, "--config", config(), *rest)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_options_in_every_gnu_form(config):
    path = config()
    for args in (("GET", "/test/v1/echo/x", f"--config={path}"), (f"-c{path}", "GET", "/test/v1/echo/x"), ("-c", path, "--", "GET", "/test/v1/echo/x"), ("--conf", path, "GET", "/test/v1/echo/x", "-Ha:b")):
        done = run("explain", *args)
        assert done.returncode == 0 and '"fString": "x"' in done.stdout, args


@pytest.mark.parametrize("args", [("--help",), ("version",), ("routes",), ("routes", "--json"), ("explain", "GET", "/test/v1/echo"), ("check",)])
def test_output_that_cannot_be_written_is_1(config, args):
    import subprocess
    from env.build import BINARY
    from env.gateway import sanitizer_env
    more = [] if args[0] in ("--help", "version") else ["--config", str(config())]
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(BINARY), *args, *more], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=sanitizer_env())
    assert done.returncode == 1 and "standard output" in done.stderr


@pytest.mark.parametrize("changes", [{"path_prefix": "x"}, {"path_prefix": "/x/"}, {"path_prefix": "/"}, {"path_prefix": "/a b"}, {"path_prefix": "/a/*"}, {"path_prefix": "/{text}"}, {"path_prefix": "/a:b"}, {"name": "no.Such"}, {"upstream": "none"}, {"expose": "some"}],
                         ids=lambda c: json.dumps(c))
def test_a_service_with_one_fault_is_one_problem(config, changes):
    done = run("check", "--config", config(services=[{"name": "test.v1.EverythingService", "upstream": "main", **changes}]))
    assert done.returncode == 1 and "/services/0" in done.stdout and ": 1 error," in done.stdout, done.stdout


def test_a_service_twice_is_one_problem(config):
    done = run("check", "--config", config(services=[{"name": "test.v1.EverythingService", "upstream": "main"}] * 2))
    assert done.returncode == 1 and "/services/1: test.v1.EverythingService is listed twice" in done.stdout and ": 1 error, 0 warnings" in done.stdout
