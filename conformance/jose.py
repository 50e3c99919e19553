#!/usr/bin/env python3
"""Wycheproof's JWS and JWK cases and the JOSE cookbook (RFC 7520, 8037, 7797) on the gateway's token code.

jose.py JOSE EXPECTED [FOLDER]: JOSE is the adapter (jose.c), EXPECTED the list of cases that end otherwise here, each with
its reason (reason<TAB>id), FOLDER what TRANSOM_VECTORS would name. A listed case that ends as the suite says fails, too.

A key of the suites becomes what the gateway would have: a public key or a set of them is a JWKS, a symmetric key the configured
secret of a provider whose `algorithms` are the key's `alg`. A JWE, and a JWS in another form than the compact one, is given as
a token and must be refused.
"""
import json
import os
import pathlib
import subprocess
import sys

PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")


def key_fields(keys, public=True):
    """KIND, KEY, ALGORITHMS for a JWK or {"keys": [...]}; `public` drops private parts."""
    keys = keys["keys"] if "keys" in keys else [keys]
    if all(k["kty"] == "oct" for k in keys):
        return "secret", keys[0]["k"], keys[0].get("alg", "*")
    if public:
        keys = [{n: v for n, v in k.items() if n not in PRIVATE} for k in keys]
    return "jwks", json.dumps({"keys": keys}), "*"


def wycheproof(folder):
    for file in ("json_web_signature_test", "json_web_key_test", "json_web_crypto_test"):
        for group in json.loads((folder / f"{file}.json").read_text())["testGroups"]:
            key = group.get("public") or group.get("private")
            for test in group["tests"]:
                name = f"wycheproof/{file}#{test['tcId']}"
                if "jws" in test:
                    token = test["jws"] if isinstance(test["jws"], str) else json.dumps(test["jws"])
                    yield name, key_fields(key), token, test["result"] == "valid", None
                else:
                    yield name, ("secret", "A" * 43, "*"), flat(test["jwe"]), False, None
    for group in json.loads((folder / "json_web_encryption_test.json").read_text())["testGroups"]:
        for test in group["tests"]:
            yield f"wycheproof/json_web_encryption_test#{test['tcId']}", ("secret", "A" * 43, "*"), flat(test["jwe"]), False, None


def flat(value):
    return value if isinstance(value, str) else json.dumps(value)


def other(char):
    return "B" if char == "A" else "A"


def cookbook(folder):
    for path in sorted(folder.glob("j*/*.json")) + sorted(folder.glob("rfc7797/*.json")) + sorted(folder.glob("curve25519/*.json")):
        name = f"jose-cookbook/{path.parent.name}/{path.name}"
        data = json.loads(path.read_text())
        if path.parent.name == "jwk":
            # A key set of it: usable by itself if public, else left out. "a.b.c" has no header of a token.
            usable = path.name in ("3_1.ec_public_key.json", "3_3.rsa_public_key.json")
            yield name, ("jwks", json.dumps({"keys": [data]}), "*"), "a.b.c", False, "malformed" if usable else "no_keys"
            continue
        if "signing" not in data:
            continue  # ecdh-es: key agreement, no signature
        keys = data["input"]["key"]
        keys = keys if isinstance(keys, list) else [keys]
        output = data["output"]
        compact = output.get("compact")
        for form in ("json", "json_flat"):
            if form in output:
                yield f"{name} {form}", key_fields(keys[0]), json.dumps(output[form]), False, "malformed"
        if not compact:
            continue
        signature = compact.split(".")[-1]
        if ".." in compact:  # detached: as it is, and with its content
            yield f"{name} detached", key_fields(keys[0]), compact, False, "signature"
            compact = data["signing"]["sig-input"] + "." + signature
        good = "b64" not in data["signing"]["protected"]
        yield name, key_fields(keys[0]), compact, good, None
        middle = len(signature) // 2
        bad = signature[:middle] + other(signature[middle]) + signature[middle + 1:]
        yield f"{name} another signature", key_fields(keys[0]), compact[:-len(signature)] + bad, False, "signature" if good else None
        if any(n in keys[0] for n in PRIVATE):
            yield f"{name} private key", key_fields(keys[0], public=False), compact, False, "no_keys"


def main():
    adapter, expected = sys.argv[1:3]
    root = sys.argv[3] if len(sys.argv) > 3 else os.environ.get("TRANSOM_VECTORS")
    if not root:
        print("TRANSOM_VECTORS is not set\n0 passed, 0 failed, 1 skipped")
        return 77
    root = pathlib.Path(root)
    reasons = {}
    for line in pathlib.Path(expected).read_text().splitlines():
        if line and not line.startswith("#"):
            reason, case = line.split("\t")
            reasons[case] = reason
    cases = list(wycheproof(root / "wycheproof")) + list(cookbook(root / "jose-cookbook"))
    lines = ["\t".join((*key, token)) for _, key, token, _, _ in cases]
    assert not any("\n" in line for line in lines)
    run = subprocess.run([adapter], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=300)
    answers = run.stdout.splitlines()
    if run.returncode or len(answers) != len(cases):
        print(f"the adapter ended with {run.returncode} after {len(answers)} of {len(cases)} cases\n{run.stderr}0 passed, 1 failed")
        return 1
    passed, failed = 0, 0
    for (name, _, _, valid, result), answer in zip(cases, answers):
        answer = answer.split()[0]
        as_said = (answer == "ok") == valid and (result is None or answer == result)
        if as_said == (name not in reasons):
            passed += 1
            continue
        failed += 1
        print(f"FAIL {name}: {answer}, " + ("listed as an exception" if as_said else f"should be {result or ('ok' if valid else 'refused')}"))
    for name in reasons.keys() - {case[0] for case in cases}:
        failed += 1
        print(f"FAIL {name}: listed, but there is no such case")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
