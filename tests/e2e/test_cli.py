"""The command line (SPEC §1): check, routes, explain, version; GNU conventions and exit statuses."""
import json
import os
import subprocess

import pytest

from env.build import descriptor_set
from env.certs import Certificates
from env.gateway import Gateway, base_config, run

VERBS = ["serve", "check", "routes", "explain", "demo", "version"]


@pytest.fixture
def config(tmp_path):
    def write(**changes):
        path = tmp_path / "transom.json"
        path.write_text(json.dumps(base_config(["127.0.0.1:1"], **changes), indent=2))
        return path
    return write


# -- conventions ------------------------------------------------------------------------------------------------------------

def test_help_everywhere():
    done = run("--help")
    assert done.returncode == 0 and all(v in done.stdout for v in VERBS) and not done.stderr
    for verb in VERBS:
        done = run(verb, "--help")
        assert done.returncode == 0 and done.stdout.startswith(("Usage:", "usage:")) and verb in done.stdout, verb


@pytest.mark.parametrize("args", [[], ["fly"], ["check"], ["check", "--nope"], ["serve"], ["routes", "--config"], ["explain", "--config", "x"], ["version", "x", "y"][:1] + ["--bad"]])
def test_wrong_usage_is_2(args):
    done = run(*args)
    assert done.returncode == 2 and done.stderr and not done.stdout


def test_version_names_the_libraries():
    done = run("version")
    assert done.returncode == 0
    for name in ("transom", "nghttp2", "OpenSSL", "c-ares", "jansson", "zlib", "zstd", "brotli"):
        assert name.lower() in done.stdout.lower()
    assert run("--version").stdout == done.stdout


# -- check ------------------------------------------------------------------------------------------------------------------

def test_check_of_a_good_configuration(config):
    done = run("check", "--config", config())
    assert done.returncode == 0 and "ok" in done.stdout and "0 warnings" in done.stdout


def test_check_shows_every_problem(config):
    path = config(listeners=[{"address": "127.0.0.1:0", "bogus": 1}], upstreams={"main": {"endpoints": ["127.0.0.1:1"], "connect_timeout": "soon"}},
                  services=[{"name": "test.v1.EverythingService", "upstream": "nope"}, {"name": "no.Such", "upstream": "main"}],
                  policies={"*": {"timeot": "1s"}, "no.such.*": {"timeout": "1s"}})
    done = run("check", "--config", path)
    assert done.returncode == 1
    for want in ("/listeners/0/bogus", "/upstreams/main/connect_timeout", "/services/0", "/services/1", "/policies/*/timeot", "timeout", "/policies/no.such.*", "5 errors"):
        assert want in done.stdout, (want, done.stdout)
    lines = path.read_text().splitlines()
    row = next(i for i, line in enumerate(lines, 1) if "bogus" in line)
    assert f"{path}:{row}:" in done.stdout


@pytest.mark.parametrize("changes, place", [
    ({"listeners": [{"address": "127.0.0.1:18080"}, {"address": "localhost:18080"}]}, "/listeners/1/address"),
    ({"listeners": [{"address": "127.0.0.1:18080"}], "admin": {"address": "127.0.0.1:18080"}}, "/admin/address"),
    ({"listeners": [{"address": "[::1]:18080"}], "admin": {"address": "[0::1]:18080"}}, "/admin/address"),
    ({"listeners": [{"address": "unix:/tmp/x"}], "admin": {"address": "unix:/tmp/x"}}, "/admin/address")])
def test_check_refuses_an_address_that_is_given_twice(config, changes, place):
    done = run("check", "--config", config(**changes))
    assert done.returncode == 1 and f"error: {place}: " in done.stdout and "is the address of /listeners/0 already" in done.stdout


@pytest.mark.parametrize("text, place, reason", [
    ("", "1:1", "near end of file"), ('{"listeners": [],\n }', "2:2", "string or '}' expected near '}'"),
    ('{"workers": 1,\n"workers": 1}', "2:9", "duplicate object key"), ("{'workers': 1}", "1:2", "string or '}' expected")])
def test_a_file_that_is_no_json_is_told_with_its_place(tmp_path, text, place, reason):
    path = tmp_path / "transom.json"
    path.write_text(text)
    done = run("check", "--config", path)
    assert done.returncode == 1 and done.stdout.startswith(f"{path}:{place}: error: the JSON is malformed: ") and reason in done.stdout


def test_a_file_that_cannot_be_read_is_named_once(tmp_path):
    path = tmp_path / "nothing"
    assert run("check", "--config", path).stdout.splitlines()[0] == f"{path}: error: cannot open {path}: No such file or directory"


TOKENS = {"providers": {"accounts": {"issuer": "https://accounts.example", "audiences": "any"}}}
PARTNER = {"client_certificates": [{"consumer": "partner", "san": "DNS:partner.example"}]}
MISTAKES = [
    ({"policies": {"*": {"set_headers": {"x-a": "b"}}}}, "/policies/*/set_headers/x-a", 'unknown key "x-a"; there are request, response'),
    ({"policies": {"*": {"set_headers": {"response": {"X-A": "b"}}}}}, "/policies/*/set_headers/response", '"X-A" is not a header name in lower case'),
    ({"policies": {"*": {"remove_headers": {"request": ["te"]}}}}, "/policies/*/remove_headers/request", '"te" is the gateway\'s own'),
    ({"policies": {"*": {"retry": {"attempts": 2, "on": ["503"]}}}}, "/policies/*/retry/on", '"503" is not a gRPC code'),
    ({"policies": {"/test.v1.EverythingService/Bare": {}}}, "/policies/~1test.v1.EverythingService~1Bare", "a policy's key is"),
    ({"services": [{"name": "test.EverythingService", "upstream": "main"}]}, "/services/0", "no descriptor set has the service test.EverythingService; there is test.v1.EverythingService"),
    ({"services": [{"name": "EverythingService", "upstream": "main"}]}, "/services/0", "no descriptor set has the service EverythingService; there is test.v1.EverythingService"),
    ({"upstreams": {"main": {"endpoints": ["127.0.0.1:0"]}}}, "/upstreams/main/endpoints/0", "the port must be 1 to 65535"),
    ({"policies": {"*": {"authentication": {"any_of": ["nobody"]}}}}, "/policies/*/authentication", 'the top-level "authentication", which says'),
    ({"authentication": {}, "policies": {"*": {"authentication": {"any_of": ["api_key"]}}}}, "/policies/*/authentication", "api_key needs authentication.api_keys"),
    ({"authentication": {}, "policies": {"*": {"authentication": {"all_of": ["client_certificate"]}}}}, "/policies/*/authentication",
     "client_certificate needs authentication.client_certificates"),
    ({"authentication": TOKENS, "policies": {"*": {"authentication": {"any_of": ["google"]}}}}, "/policies/*/authentication", 'authentication.providers has no "google"'),
    ({"authentication": TOKENS, "policies": {"*": {"authentication": {"any_of": ["accounts"]}, "authorization": {"consumers": ["acme"]}}}},
     "/policies/*/authorization", "nobody could pass: only an api_key and a client_certificate have a consumer"),
    ({"authentication": PARTNER, "policies": {"*": {"authentication": {"any_of": ["client_certificate"]}, "authorization": {"claims": {"plan": "gold"}}}}},
     "/policies/*/authorization", "nobody could pass: only tokens have claims"),
    ({"authentication": {"client_certificates": [{"consumer": "partner", "san": "partner.example"}]}, "policies": {"*": {"authentication": "none"}}},
     "/authentication/client_certificates/0", 'san begins with "DNS:"'),
    ({"authentication": {"api_keys": {"file": "nothing"}}, "policies": {"*": {"authentication": "none"}}}, "/authentication/api_keys/file", "cannot open "),
]


@pytest.mark.parametrize("changes, place, text", MISTAKES)
def test_check_says_where_a_mistake_is_and_what_was_expected(config, changes, place, text):
    path = config(**changes)
    done = run("check", "--config", path)
    assert done.returncode == 1 and f"error: {place}: {text}" in done.stdout, done.stdout
    at = int(done.stdout.split(f"error: {place}")[0].rsplit("\n", 1)[-1].removeprefix(f"{path}:").split(":")[0])
    assert at > 1  # every one of these has its own line


def test_a_policy_named_like_a_service_is_told_how_to_mean_all_of_it(config):
    done = run("check", "--config", config(policies={"test.v1.EverythingService": {"timeout": "1s"}}))
    assert done.returncode == 0 and 'warning: /policies/test.v1.EverythingService: this policy matches no method: for all of the service write "test.v1.EverythingService.*"' in done.stdout


@pytest.mark.parametrize("policy, level", [
    ({"timeout": "1s"}, "warning"), ({"authentication": "none"}, "warning"), ({"ip": {"allow": ["10.0.0.0/8"]}}, "error"),
    ({"authorization": {"scopes": ["a"]}}, "error"), ({"authentication": {"any_of": ["api_key"]}}, "error"),
])
def test_a_policy_that_should_protect_and_matches_nothing_is_an_error(config, policy, level):
    done = run("check", "--config", config(policies={"test.v1.EverythingService.Misspelt": policy}))
    assert done.returncode == (level == "error") and f"{level}: /policies/test.v1.EverythingService.Misspelt: this policy matches no method" in done.stdout


@pytest.mark.parametrize("key, authentication, told", [
    (["claim:sub"], {"any_of": ["accounts"]}, None), (["claim:sub"], {"any_of": ["client_certificate"]}, "brings claims"), (["claim:sub"], "none", "brings claims"),
    (["consumer"], {"any_of": ["client_certificate"]}, None), (["consumer", "method"], {"all_of": ["accounts"]}, "brings a consumer"),
    (["consumer", "client_address"], "none", None), (["client_address"], "none", None), ([], "none", None)])
def test_check_warns_of_a_quota_that_tells_no_caller_from_another(config, key, authentication, told):
    path = config(authentication={**TOKENS, **PARTNER}, policies={"*": {"authentication": authentication, "quotas": [{"name": "q", "key": key, "limit": 1, "window": "1s"}]}})
    lines = [line for line in run("check", "--config", path).stdout.splitlines() if "warning: /policies" in line]
    assert lines == [] if told is None else len(lines) == 1 and "/policies/*/quotas" in lines[0] and told in lines[0]


def test_an_access_log_that_cannot_be_opened_says_why(config):
    done = run("serve", "--config", config(access_log={"output": "nowhere/access.log"}))
    assert done.returncode == 1 and "nowhere/access.log cannot be opened: No such file or directory" in done.stderr


def test_check_warns_of_a_service_of_which_nothing_is_reachable(tmp_path, config):
    (tmp_path / "plain.proto").write_text('syntax = "proto3"; package plain; message M {} service S { rpc Do(M) returns (M); }')
    subprocess.run(["protoc", "-I", ".", "--descriptor_set_out=plain.pb", "plain.proto"], cwd=tmp_path, check=True)
    service = {"name": "plain.S", "upstream": "main"}
    done = run("check", "--config", config(descriptors=["plain.pb"], services=[service]))
    assert done.returncode == 0 and "warning: /services/0: no method of plain.S is reachable" in done.stdout and "0 routes, 1 warning" in done.stdout
    done = run("check", "--config", config(descriptors=["plain.pb"], services=[{**service, "expose": "all"}]))
    assert done.returncode == 0 and "2 routes, 0 warnings" in done.stdout
    done = run("check", "--config", config(descriptors=["plain.pb"], services=[{**service, "name": "plain.T"}]))
    assert "no descriptor set has the service plain.T; there is plain.S\n" in done.stdout
    both = ["plain.pb", str(descriptor_set("everything"))]
    for name, first in (("S", "plain.S, test.v1.EverythingService"), ("EverythingService", "test.v1.EverythingService, plain.S")):
        done = run("check", "--config", config(descriptors=both, services=[{**service, "name": name}]))
        assert f"no descriptor set has the service {name}; there are {first}\n" in done.stdout


def test_explain_names_the_native_method_of_a_path(config):
    done = run("explain", "--config", config(), "POST", "/test.v1.EverythingService/EchoString")
    assert done.returncode == 1 and "  POST /test.v1.EverythingService/EchoString (test.v1.EverythingService.EchoString): native gRPC" in done.stdout


def test_check_says_what_is_wrong_with_a_certificate_or_its_key(tmp_path, config):
    certificates = Certificates(tmp_path)
    tls = certificates.server("gateway.example")
    subprocess.run(["openssl", "genrsa", "-out", "rsa.key", "2048"], cwd=tmp_path, check=True, capture_output=True)

    def said(**changes):
        return run("check", "--config", config(listeners=[{"address": "127.0.0.1:0", "tls": {**tls, **changes}}])).stdout
    assert "0 warnings" in said()
    assert "rsa.key: it is not the key of the certificate" in said(private_key="rsa.key")
    assert f"{certificates.made['gateway.example'][0]}: no key is in it as PEM" in said(private_key=tls["certificate"])
    assert "rsa.key: nothing of this kind is in it as PEM" in said(certificate="rsa.key")
    assert "warning: /listeners/0/tls: client_ca is not used" in said(client_ca="ca.crt")
    assert "0 warnings" in said(client_ca="ca.crt", client_certificate="optional")


def test_check_reads_the_admin_address(config):
    done = run("check", "--config", config(admin={"address": "9901"}))
    assert done.returncode == 1 and 'error: /admin/address: "9901" is not host:port' in done.stdout


def test_listeners_may_all_take_free_ports(config):
    assert run("check", "--config", config(listeners=[{"address": "127.0.0.1:0"}] * 2, admin={"address": "127.0.0.1:0"})).returncode == 0


def test_serve_does_not_share_an_address_with_another_gateway(config, tmp_path):
    with Gateway(tmp_path / "first", base_config(["127.0.0.1:1"], admin={"address": "127.0.0.1:0"})) as first:
        done = run("serve", "--config", config(listeners=[{"address": f"127.0.0.1:{first.port}"}]))
        assert done.returncode == 1 and f"127.0.0.1:{first.port}: bind: Address already in use" in done.stderr and not done.stdout
        done = run("serve", "--config", config(listeners=[{"address": "127.0.0.1:0"}], admin={"address": first.admin.removeprefix("http://")}))
        assert done.returncode == 1 and "Address already in use" in done.stderr and not done.stdout


def test_check_names_both_methods_of_a_conflict(config):
    path = config(http_rules=[{"selector": "test.v1.EverythingService.EchoString", "get": "/same/{value}"}, {"selector": "test.v1.EverythingService.Bare", "get": "/same/{text}"}])
    done = run("check", "--config", path)
    assert done.returncode == 1 and "test.v1.EverythingService.EchoString" in done.stdout and "test.v1.EverythingService.Bare" in done.stdout


BAD_RULES = [
    ({"selector": "test.v1.EverythingService.Bare", "get": "/x/{nope}"}, "nope"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "/x/{text}/{text}"}, "text"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "/x/{text={number}}"}, "/x/"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "no-slash"}, "no-slash"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "/a/**/b/**"}, "**"),
    ({"selector": "test.v1.EverythingService.Bare", "post": "/x", "body": "nope"}, "nope"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "/x", "response_body": "nope"}, "nope"),
    ({"selector": "test.v1.EverythingService.Bare"}, "Bare"),
    ({"selector": "test.v1.EverythingService.Bare", "get": "/x", "additional_bindings": [{"get": "/y", "additional_bindings": [{"get": "/z"}]}]}, "additional_bindings"),
    ({"selector": "test.v1.EverythingService.Query", "get": "/x/{leaves}"}, "leaves"),
]


@pytest.mark.parametrize("rule,word", BAD_RULES, ids=[str(i) for i in range(len(BAD_RULES))])
def test_check_refuses_bad_rules(config, rule, word):
    done = run("check", "--config", config(http_rules=[rule]))
    assert done.returncode == 1 and word in done.stdout, done.stdout


BAD_HEADERS = [("set", "request", "content-type"), ("set", "request", "te"), ("set", "request", "grpc-timeout"), ("set", "request", "host"),
               ("set", "response", "content-length"), ("set", "response", "connection"), ("set", "response", "grpc-status"), ("set", "response", "date"), ("set", "request", "X-Upper"),
               ("set", "request", "a b"), ("remove", "request", "content-type"), ("remove", "response", "transfer-encoding")]


@pytest.mark.parametrize("what,side,name", BAD_HEADERS, ids=["-".join(b) for b in BAD_HEADERS])
def test_check_refuses_headers_that_the_gateway_needs(config, what, side, name):
    policy = {what + "_headers": {side: {name: "v"} if what == "set" else [name]}}
    done = run("check", "--config", config(policies={"*": policy}))
    assert done.returncode == 1 and f'"{name}"' in done.stdout, done.stdout


@pytest.mark.parametrize("side,name,value", [("request", "x-a", "a\r\nb: c"), ("response", "x-a", "a\nb"), ("request", "x-a", "caf\u00e9"), ("request", "x-a-bin", "?")])
def test_check_refuses_header_values(config, side, name, value):
    done = run("check", "--config", config(policies={"*": {"set_headers": {side: {name: value}}}}))
    assert done.returncode == 1 and f'"{name}"' in done.stdout, done.stdout


def test_check_warns_of_a_selector_that_names_nothing(config):
    done = run("check", "--config", config(http_rules=[{"selector": "test.v1.EverythingService.NoSuch", "get": "/x"}]))
    assert done.returncode == 0 and "/http_rules/0" in done.stdout and "warning" in done.stdout


BAD_CONFIGS = [
    ("", None), ("{", None), ("[]", None), ('{"descriptors": []}', None), ('{"descriptors": ["x.pb"], "descriptors": []}', None),
    ('{"descriptors": ["nowhere.pb"], "upstreams": {}, "services": []}', "nowhere.pb"), ("{} x", None), ('{"a":1e999}', None),
    ('{"workers": "two", "descriptors": [], "upstreams": {}, "services": []}', "/workers"),
    ('{"workers": 1000, "descriptors": [], "upstreams": {}, "services": []}', "/workers"),
]


@pytest.mark.parametrize("text,word", BAD_CONFIGS, ids=[b[0][:30] or "empty" for b in BAD_CONFIGS])
def test_files_that_are_no_configuration(tmp_path, text, word):
    path = tmp_path / "c.json"
    path.write_text(text)
    done = run("check", "--config", path)
    assert done.returncode == 1 and str(path) in done.stdout + done.stderr
    if word:
        assert word in done.stdout + done.stderr
    assert run("serve", "--config", path).returncode == 1


def test_a_file_that_is_not_there(tmp_path):
    done = run("check", "--config", tmp_path / "none.json")
    assert done.returncode == 1 and "none.json" in done.stdout + done.stderr


def test_a_descriptor_set_that_is_none(config, tmp_path):
    (tmp_path / "bad.pb").write_bytes(b"\xff\xfe not protobuf" * 10)
    done = run("check", "--config", config(descriptors=[str(tmp_path / "bad.pb")]))
    assert done.returncode == 1 and "/descriptors/0" in done.stdout


def test_relative_paths_are_relative_to_the_file(config, tmp_path):
    (tmp_path / "set.pb").write_bytes(descriptor_set("everything").read_bytes())
    path = config(descriptors=["set.pb"])
    os.chdir("/")
    assert run("check", "--config", path).returncode == 0


def test_check_warns_of_routes_that_can_never_match(config):
    path = config(http_rules=[{"selector": "test.v1.EverythingService.EchoString", "get": "/v/{value=a}"}, {"selector": "test.v1.EverythingService.Bare", "get": "/v/a"}], on_route_conflict="first")
    done = run("check", "--config", path)
    assert done.returncode == 0 and "warning" in done.stdout, done.stdout


def test_no_certificate(config, tmp_path):
    done = run("check", "--config", config(listeners=[{"address": "127.0.0.1:0", "tls": {"certificate": "none.crt", "private_key": "none.key"}}]))
    assert done.returncode == 1 and "none.crt" in done.stdout


def test_serve_of_an_address_in_use(config, backend):
    done = run("serve", "--config", config(listeners=[{"address": f"127.0.0.1:{backend.port}"}]), timeout=20)
    assert done.returncode == 1 and str(backend.port) in done.stderr


# -- routes -----------------------------------------------------------------------------------------------------------------

def test_routes_text(config):
    done = run("routes", "--config", config())
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:4] == ["VERB", "TEMPLATE", "METHOD", "DIALECT"]
    assert ["GET", "/test/v1/echo/{f_string}", "test.v1.EverythingService.Echo", "rest", "default"] in rows


def test_routes_json(config):
    done = run("routes", "--config", config(policies={"*": {"timeout": "1s"}, "test.v1.EverythingService.Fail": {"pretty": True}}), "--json")
    routes = json.loads(done.stdout)
    fail = [r for r in routes if r["method"].endswith(".Fail")]
    assert {"verb", "template", "method", "dialect"} <= set(fail[0]) and "test.v1.EverythingService.Fail" in fail[0]["policy_sources"]
    assert any(r["dialect"] == "grpc" for r in routes)


# -- explain ----------------------------------------------------------------------------------------------------------------

def explain(path, *args):
    return run("explain", "--config", path, *args)


def test_explain_a_request(config):
    done = explain(config(policies={"test.v1.*": {"timeout": "2s"}}), "GET", "/test/v1/query/t/5?texts=a%20b&leaf.number=3")
    assert done.returncode == 0
    out = done.stdout
    assert "/test/v1/query/{leaf.text}/{number}" in out and "test.v1.EverythingService.Query" in out and "main" in out and "127.0.0.1:1" in out
    message = json.loads(out[out.index("{\n"):out.index("\n}") + 2])
    assert message == {"texts": ["a b"], "leaf": {"text": "t", "number": 3}, "number": 5}
    assert any(line.strip().startswith("timeout = ") and "2s" in line and "test.v1.*" in line for line in out.splitlines())


def test_explain_a_body(config):
    done = explain(config(), "POST", "http://api.example.com/test/v1/echo", "-H", "content-type: application/json", "-d", '{"fString":"x"}')
    assert done.returncode == 0 and '"fString": "x"' in done.stdout
    done = explain(config(), "POST", "/test/v1/echo", "-H", "content-type: application/json", "-d", '{"fInt32":"x"}')
    assert done.returncode == 1 and "400" in done.stdout and "f_int32" in done.stdout and "column" in done.stdout


def test_explain_near_misses(config):
    done = explain(config(), "GET", "/test/v1/trees/t/oak")
    assert done.returncode == 1 and "404" in done.stdout and "walk" in done.stdout
    done = explain(config(), "DELETE", "/test/v1/echo")
    assert done.returncode == 1 and "405" in done.stdout and "POST" in done.stdout


def test_explain_does_what_the_gateway_does(config, gateway, backend):
    """The same requests, offline and served: the same message, or the same refusal."""
    from env.http1 import H1
    path = config()
    for target in ("/test/v1/echo/a%2Fb", "/test/v1/files/a%2Fb/c", "/test/v1/echo/%zz", "/test/v1/query?number=x", "/test/v1/echo?fInt32=4&mString[a]=b", "/nope"):
        with H1(gateway.port) as http:
            served, told = http.request("GET", target), explain(path, "GET", target)
        assert (served.status == 200) == (told.returncode == 0), target
        if served.status == 200:
            out = told.stdout
            assert json.loads(out[out.index("\n{") + 1:out.index("\npolicy:")]) == served.json()
        else:
            assert served.json()["details"][0]["reason"] in told.stdout


# -- reference --------------------------------------------------------------------------------------------------------------

def test_references_are_generated():
    config, errors = run("reference", "config"), run("reference", "errors")
    assert config.returncode == errors.returncode == 0
    for key in ("max_header_bytes", "connect_timeout", "stream_idle_timeout", "on_route_conflict"):
        assert key in config.stdout
    assert "| `BODY_TOO_LARGE` | 8" in errors.stdout
    schema = json.loads(run("reference", "schema").stdout)
    assert set(schema["required"]) == {"descriptors", "upstreams", "services"} and "limits" in schema["properties"]
    assert run("reference", "nothing").returncode == 2 and run("reference").returncode == 2


# -- demo -------------------------------------------------------------------------------------------------------------------

def test_demo_serves_the_bookstore():
    import re
    import signal
    import subprocess
    from env.build import BINARY
    from env.gateway import sanitizer_env
    from env.http1 import H1
    demo = subprocess.Popen([str(BINARY), "demo", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=sanitizer_env())
    try:
        line = ""
        while "http://" not in line:
            line = demo.stdout.readline()
            assert line, demo.stderr.read()
        port = int(re.search(r"http://[^:]+:(\d+)", line).group(1))
        with H1(port) as http:
            shelves = http.request("GET", "/v1/shelves")
            assert shelves.status == 200 and shelves.json()["shelves"]
            created = http.request("POST", "/v1/shelves", [("content-type", "application/json")], '{"theme":"tests"}')
            assert created.status == 200 and created.json()["theme"] == "tests"
            assert http.request("GET", "/v1/shelves/none/books/none").status == 404
    finally:
        demo.send_signal(signal.SIGTERM)
        out, err = demo.communicate(timeout=20)
    assert demo.returncode == 0, err
