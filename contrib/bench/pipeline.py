"""The pipeline's price: the small case with a token (ES256, the same each time), a local quota, CORS, header rules, a deadline, retries and
a breaker, in transom and in Envoy (jwt_authn with its cache, local_ratelimit, cors, header mutation, retries, outlier detection); with
tokens that differ each time; and with the quota in Redis."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import time

import load
import peers

ISSUER, AUDIENCE, ORIGIN = "https://issuer.example", "books", "https://app.example.com"
RATIOS = {"h2": 5, "h1": 4}  # Envoy over transom, at least
ADDS_US, REDIS_US, UNCACHED_US = 2.5, 6.0, 5.0


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """An ES256 key and tokens that it signed."""

    def __init__(self):
        from cryptography.hazmat.primitives.asymmetric import ec
        self.key = ec.generate_private_key(ec.SECP256R1())
        n = self.key.public_key().public_numbers()
        self.jwks = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": b64(n.x.to_bytes(32, "big")),
                               "y": b64(n.y.to_bytes(32, "big"))}]}

    def token(self, subject="user-1"):
        import jwt
        return jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "plan": "gold", "scope": "books.read books.write",
                           "exp": int(time.time()) + 86400}, self.key, "ES256", headers={"kid": "one"})


def transom_config(issuer, redis=None):
    quota = {"name": "per-user", "key": ["claim:sub"], "limit": 1000000000, "window": "60s"}
    config = {
        "authentication": {"providers": {"issuer": {
            "issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": ["ES256"], "jwks": {"inline": issuer.jwks}, "token_query": "access_token",
            "claims_to_headers": {"sub": "x-auth-subject"}}}},
        "policies": {"*": {
            "authentication": {"any_of": ["issuer"]}, "authorization": {"scopes": ["books.read"]}, "quotas": [quota],
            "cors": {"origins": [ORIGIN], "credentials": True}, "timeout": "5s",
            "set_headers": {"request": {"x-gateway": "bench"}, "response": {"x-served-by": "bench"}},
            "remove_headers": {"request": ["x-debug"]}, "retry": {"attempts": 3, "on": ["UNAVAILABLE"]}}},
    }
    if redis:
        config["quota_store"] = {"redis": redis, "timeout": "1s", "on_failure": "deny"}
    return config


class PipelineTransom(peers.Transom):
    def __init__(self, env, backend_port, issuer, redis=None):
        upstreams = {"backend": {"endpoints": [f"127.0.0.1:{backend_port}"], "circuit_breaker": {}, "outlier_detection": {}}}
        super().__init__(env, backend_port, upstreams=upstreams, **transom_config(issuer, redis))


class PipelineEnvoy(peers.Envoy):
    def __init__(self, env, backend_port, issuer):
        self.issuer = issuer
        super().__init__(env, backend_port)

    def config(self, env, backend_port):
        config = super().config(env, backend_port)

        def any_of(name, **fields):
            return {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{name}", **fields}

        jwt_authn = any_of("jwt_authn.v3.JwtAuthentication", providers={"issuer": {
            "issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": {"inline_string": json.dumps(self.issuer.jwks)},
            "jwt_cache_config": {"jwt_cache_size": 100}, "claim_to_headers": [{"header_name": "x-auth-subject", "claim_name": "sub"}]}},
            rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}])
        limit = any_of("local_ratelimit.v3.LocalRateLimit", stat_prefix="quota", enable_x_ratelimit_headers="DRAFT_VERSION_03",
                       token_bucket={"max_tokens": 1000000000, "tokens_per_fill": 1000000000, "fill_interval": "60s"},
                       filter_enabled={"default_value": {"numerator": 100}}, filter_enforced={"default_value": {"numerator": 100}})
        cors = any_of("cors.v3.Cors")
        for listener in config["static_resources"]["listeners"]:
            for chain in listener["filter_chains"]:
                manager = chain["filters"][0]["typed_config"]
                first = [("envoy.filters.http.cors", cors), ("envoy.filters.http.jwt_authn", jwt_authn),
                         ("envoy.filters.http.local_ratelimit", limit)]
                if manager["http_filters"][0]["name"] == "transcoder":
                    manager["http_filters"] = [{"name": n, "typed_config": c} for n, c in first] + manager["http_filters"]
                host = manager["route_config"]["virtual_hosts"][0]
                host["typed_per_filter_config"] = {"envoy.filters.http.cors": any_of(
                    "cors.v3.CorsPolicy", allow_origin_string_match=[{"exact": ORIGIN}], allow_credentials=True)}
                host["routes"][0]["route"].update(timeout="5s", retry_policy={"retry_on": "unavailable", "num_retries": 2})
                host["request_headers_to_add"] = [{"header": {"key": "x-gateway", "value": "bench"}}]
                host["request_headers_to_remove"] = ["x-debug"]
                host["response_headers_to_add"] = [{"header": {"key": "x-served-by", "value": "bench"}}]
        config["static_resources"]["clusters"][0]["outlier_detection"] = {}
        return config


class Asking(load.Case):
    """The small case as a script with a token asks it."""

    def __init__(self, tokens):
        small = load.CASES["small"]
        super().__init__("pipeline", small.path, "GetBookSummary", small.call_body, small.weight_us)
        self.tokens = tokens

    def args(self, env, translates):
        return self.path, [a for t in self.tokens for a in ("-H", f"authorization: Bearer {t}")] + ["-H", f"origin: {ORIGIN}"]


def verification_us(env):
    """What OpenSSL alone takes for one ES256 verification on this machine."""
    out = subprocess.run(["taskset", "-c", str(env.gateway_core), "openssl", "speed", "-seconds", "1", "ecdsap256"], capture_output=True, text=True, check=True).stdout
    m = re.search(r"256 bits ecdsa \(nistp256\)\s+[\d.]+s\s+([\d.]+)s", out)
    per_second = re.search(r"256 bits ecdsa \(nistp256\).*?([\d.]+)\s*$", out, re.M)
    return 1e6 / float(per_second[1]) if per_second else float(m[1]) * 1e6


def measure(env, args, pairs, proto):
    """pairs: (name, gateway, case); medians of interleaved rounds."""
    counts = [load.calibrate(env, c, g, proto, False, args.seconds) for _, g, c in pairs]
    rounds = {n: [] for n, _, _ in pairs}
    for _ in range(args.rounds):
        for (n, g, c), count in zip(pairs, counts):
            rounds[n].append(load.once(env, c, g, proto, False, count))
    return rounds


class Redis:
    """A server on a free loopback port, without files; its own core is that of the load."""

    def __init__(self, env):
        self.port = peers.free_port()
        self.child = subprocess.Popen(["taskset", "-c", str(env.load_core), "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                                       "--save", "", "--appendonly", "no", "--dir", env.folder], stdout=subprocess.DEVNULL)
        peers.wait_for("redis", lambda: peers.connects(self.port))

    def stop(self):
        self.child.terminate()
        self.child.wait(10)


def run(env, args, report, results, start, stack, medians):
    issuer = Issuer()
    repeated = Asking([issuer.token()])
    small = load.CASES["small"]
    backend = start(stack, lambda: peers.Backend(env, 1))
    plain = start(stack, lambda: peers.Transom(env, backend.port))
    piped = start(stack, lambda: PipelineTransom(env, backend.port, issuer))
    envoy = start(stack, lambda: PipelineEnvoy(env, backend.port, issuer)) if "envoy" in args.only else None
    print(f"\n{'pipeline':<24}{'CPU us':>9}{'p99 ms':>9}")
    for proto in ("h2", "h1"):
        # what a request's own bytes cost, token and origin included, is no part of what the pipeline adds
        pairs = [("bare", plain, small), ("plain", plain, repeated), ("pipeline", piped, repeated)] + ([("envoy", envoy, repeated)] if envoy else [])
        r = {n: medians(v) for n, v in measure(env, args, pairs, proto).items()}
        results["pipeline"][proto] = r
        adds = r["pipeline"]["cpu_us"] - r["plain"]["cpu_us"]
        text = {"pipeline": f"adds {adds:.2f} us, at most {ADDS_US}: {report.verdict(f'pipeline adds {proto}', adds <= ADDS_US)}"}
        if envoy:
            ratio = r["envoy"]["cpu_us"] / r["pipeline"]["cpu_us"]
            text["envoy"] = (f"Envoy / transom {ratio:.1f}x, at least {RATIOS[proto]}x: "
                             f"{report.verdict(f'pipeline {proto}', ratio >= RATIOS[proto])}")
        for n, v in r.items():
            print(f"{n + '/' + proto:<24}{v['cpu_us']:>9.2f}{v['p99_us'] / 1e3:>9.2f}   {text.get(n, '')}", flush=True)
    uncached(env, args, report, results, piped, issuer)
    if shutil.which("redis-server"):
        shared(env, args, report, results, start, stack, backend, issuer, piped, repeated, medians)
    else:
        print("quota in Redis: redis-server is not installed")


def uncached(env, args, report, results, piped, issuer):
    """Each token once, as a query parameter so that h2load can vary it; then all of them again: what the first sight costs beyond OpenSSL's
    verification. As many requests at once as in the other cases, on one connection: h2load begins its list anew on each. A round is short,
    so there are twice as many; one before them fills the gateway's cache of tokens."""
    count = 1000 if args.quick else 3000
    uris = pathlib.Path(env.folder) / "tokens.txt"
    rounds = []
    for n in range(1 + 2 * args.rounds):
        base = f"http://127.0.0.1:{piped.plain}{load.CASES['small'].path}?access_token="
        uris.write_text("".join(f"{base}{issuer.token(f'user-{n}-{i}')}\n" for i in range(count)))
        figures = []
        for _ in ("first", "again"):
            cpu = piped.cpu_seconds()
            out = subprocess.run(["taskset", "-c", str(env.load_core), "h2load", "-n", str(count), "-c", "1", "-m", "100", "-i", str(uris)],
                                 capture_output=True, text=True, timeout=120, check=True).stdout
            figures.append((piped.cpu_seconds() - cpu) / count * 1e6)
            if f"{count} 2xx" not in out:
                raise RuntimeError(f"first-seen tokens: {out[-800:]}")
        if n:
            rounds.append({"first": figures[0], "again": figures[1], "verify": verification_us(env)})
    first, again, verify = (sorted(r[k] for r in rounds)[len(rounds) // 2] for k in ("first", "again", "verify"))
    extra = sorted(r["first"] - r["again"] - r["verify"] for r in rounds)[len(rounds) // 2]
    results["pipeline"]["first_seen"] = {"first_us": first, "again_us": again, "verify_us": verify, "beyond_us": extra}
    print(f"a token seen first: {first - again:.1f} us more than one seen before; OpenSSL's verification alone {verify:.1f} us; beyond it "
          f"{extra:.1f} us, at most {UNCACHED_US}: {report.verdict('first-seen token', extra <= UNCACHED_US)}", flush=True)


def shared(env, args, report, results, start, stack, backend, issuer, piped, repeated, medians):
    redis = start(stack, lambda: Redis(env))
    linked = start(stack, lambda: PipelineTransom(env, backend.port, issuer, f"redis://127.0.0.1:{redis.port}/0"))
    r = {n: medians(v) for n, v in measure(env, args, [("local", piped, repeated), ("redis", linked, repeated)], "h2").items()}
    adds = r["redis"]["cpu_us"] - r["local"]["cpu_us"]
    results["pipeline"]["redis"] = r
    print(f"quota in Redis: {r['redis']['cpu_us']:.2f} us against {r['local']['cpu_us']:.2f} us: adds {adds:.2f} us of the gateway's CPU, at most "
          f"{REDIS_US}: {report.verdict('quota in Redis', adds <= REDIS_US)}", flush=True)
