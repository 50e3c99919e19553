#!/usr/bin/env python3
"""httplint on answers of every kind, over HTTP/1.1 and HTTP/2: no note of level BAD or WARN that the list below does not
explain.

Usage: TRANSOM=build/release/src/gateway/transom httplint_answers.py [-v]

Answers are taken byte for byte from the socket (HTTP/1.1 by a reader of its own, HTTP/2 by hyper-h2) and given to httplint with their
requests. The last line is "N passed, N failed, N skipped"; exits 1 when one failed.
"""
import json
import os
import socket
import sys
import time

import h2.config
import h2.connection
import h2.events
from httplint.message import HttpRequestLinter, HttpResponseLinter
from httplint.note import levels

from flood_world import POLICY, SERVICE, Backend, Gateway

# Notes that are not heeded, and why. One that is never seen fails.
EXPLAINED = {
    "FRESHNESS_HEURISTIC": "what may be cached is the backend's to say: its cache-control metadata is passed on, none is invented",
    "FRESHNESS_NO_CACHE_NO_VALIDATOR": "text/event-stream is sent with Cache-Control: no-cache; a stream has no validator",
    "STATUS_BAD_REQUEST": "says what 400 means, of the request",
    "STATUS_URI_TOO_LONG": "says what 414 means, of the request",
    "STATUS_VERSION_NOT_SUPPORTED": "says what 505 means, of the request",
    "STATUS_NONSTANDARD": "499 is CANCELLED in the mapping of google.rpc.Code that all gateways use",
    "REQUEST_HDR_IN_RESPONSE": "Accept-Encoding in a 415 is RFC 9110 section 12.5.3",
}

JSON = ("content-type", "application/json")
SHELF = b'{"theme":"t"}'
STREAM = "/v1/shelves/1/books:stream"
FEW = ("x-few", "3")
LONG = "/" + "a" * 9000

# name, status, method, target, headers, body; versions when not both
CASES = [
    ("get", 200, "GET", "/v1/shelves/1"),
    ("get, pretty", 200, "GET", "/v1/shelves/1?$prettyPrint=true"),
    ("get as protobuf", 200, "GET", "/v1/shelves/1", [("accept", "application/x-protobuf")]),
    ("list", 200, "GET", "/v1/shelves"),
    ("get of a large answer", 200, "GET", "/v1/shelves/1/notes/n"),
    ("head", 200, "HEAD", "/v1/shelves/1"),
    ("head of a stream", 200, "HEAD", STREAM, [FEW]),
    ("create, 200", 200, "POST", "/v1/books:echo", [JSON], b'{"title":"t"}'),
    ("create, 201", 201, "POST", "/v1/shelves", [JSON], SHELF),
    ("accepted, 202", 202, "POST", "/v1/shelves/1/books/1:move", [JSON], b"{}"),
    ("delete, 204", 204, "DELETE", "/v1/shelves/1/books/1"),
    ("update by mask", 200, "PATCH", "/v1/shelves/1/books/1", [JSON], b'{"title":"t"}'),
    ("HttpBody", 200, "GET", "/v1/shelves/1/books/1/cover"),
    ("HttpBody up", 200, "PUT", "/v1/shelves/1/books/1/cover", [("content-type", "image/png")], b"\x89PNG"),
    ("options", 204, "OPTIONS", "/v1/shelves/1"),
    ("options of the server", 204, "OPTIONS", "*"),
    ("client stream", 200, "POST", "/v1/shelves/1/books:import", [JSON], b'[{"book":{}},{"book":{}}]'),
    ("bidi", 200, "POST", "/v1/chat", [JSON], b'[{"text":"a"},{"text":"b"}]'),
    ("stream as an array", 200, "GET", STREAM, [FEW]),
    ("stream as NDJSON", 200, "GET", STREAM, [FEW, ("accept", "application/x-ndjson")]),
    ("stream as SSE", 200, "GET", STREAM, [FEW, ("accept", "text/event-stream")]),
    ("stream as json-seq", 200, "GET", STREAM, [FEW, ("accept", "application/json-seq")]),
    ("stream as protobuf", 200, "GET", STREAM, [FEW, ("accept", "application/x-protobuf")]),
    ("stream with trailers", 200, "GET", STREAM, [FEW, ("te", "trailers")]),
    ("empty stream", 200, "GET", STREAM, [("x-few", "0")]),
    ("bad JSON", 400, "POST", "/v1/shelves", [JSON], b"{"),
    ("unknown field", 400, "POST", "/v1/shelves", [JSON], b'{"x":1}'),
    ("bad query", 400, "GET", "/v1/shelves/1?x=1"),
    ("bad path", 400, "GET", "/v1/%zz"),
    ("error as protobuf", 400, "GET", "/v1/shelves/1?x=1", [("accept", "application/x-protobuf")]),
    ("bad timeout", 400, "GET", "/v1/shelves/1", [("grpc-timeout", "x")]),
    ("backend: cancelled", 499, "GET", "/v1/shelves/1", [("x-code", "1")]),
    ("backend: invalid argument", 400, "GET", "/v1/shelves/1", [("x-code", "3")]),
    ("backend: not found", 404, "GET", "/v1/shelves/1", [("x-code", "5")]),
    ("backend: already exists", 409, "POST", "/v1/shelves", [JSON, ("x-code", "6")], SHELF),
    ("backend: permission denied", 403, "GET", "/v1/shelves/1", [("x-code", "7")]),
    ("backend: resource exhausted", 429, "GET", "/v1/shelves/1", [("x-code", "8")]),
    ("backend: unimplemented", 501, "GET", "/v1/shelves/1", [("x-code", "12")]),
    ("backend: internal", 500, "GET", "/v1/shelves/1", [("x-code", "13")]),
    ("backend: unavailable", 503, "GET", "/v1/shelves/1", [("x-code", "14")]),
    ("backend: unauthenticated", 401, "GET", "/v1/shelves/1", [("x-code", "16")]),
    ("head of an error", 404, "HEAD", "/v1/shelves/1", [("x-code", "5")]),
    ("no such route", 404, "GET", "/v1/none"),
    ("method not allowed", 405, "DELETE", "/v1/shelves"),
    ("body too large", 413, "POST", "/v1/shelves", [JSON], b'{"theme":"' + b"t" * 70000 + b'"}'),
    ("content type", 415, "POST", "/v1/shelves", [("content-type", "text/plain")], b"x"),
    ("content coding", 415, "POST", "/v1/shelves", [JSON, ("content-encoding", "compress")], SHELF),
    ("expectation", 417, "POST", "/v1/shelves", [JSON, ("expect", "the-unexpected")], SHELF),
    ("target too long", 414, "GET", LONG),
    ("too many headers", 431, "GET", "/v1/shelves/1", [("x-%d" % i, "1") for i in range(120)]),
    ("headers too large", 431, "GET", "/v1/shelves/1", [("x-large", "v" * 70000)]),
    ("deadline", 504, "GET", "/v1/shelves/1", [("x-sleep", "2"), ("grpc-timeout", "200m")]),
    ("method not known", 405, "BREW", "/v1/shelves/1"),
    ("trace", 405, "TRACE", "/v1/shelves/1"),
    ("duplicate host", 400, "GET", "/v1/shelves/1", [("host", "other")], b"", "1.1"),
    ("malformed request", 400, "GET", "/v1/ shelves", [], b"", "1.1"),
    ("malformed version", 505, "GET", "/v1/shelves", [], b"", "3.7"),
    ("body timeout", 408, "POST", "/v1/shelves", [JSON, ("content-length", "5")], b"{", "1.1"),
    ("connect", 501, "CONNECT", "a:1", [], b"", "1.1"),
    ("native gRPC over HTTP/1.1", 505, "POST", f"/{SERVICE}/GetShelf", [("content-type", "application/grpc")], b"x", "1.1"),
    ("HTTP/1.0", 200, "GET", "/v1/shelves/1", [], b"", "1.0"),
    ("stream over HTTP/1.0", 200, "GET", STREAM, [FEW], b"", "1.0"),
    ("health", 404, "GET", "/healthz"),
]


class Answer:
    def __init__(self):
        self.version, self.status, self.phrase = b"", 0, None
        self.headers, self.trailers, self.body, self.complete = [], [], b"", False


# ---- HTTP/1.1 ------------------------------------------------------------------------------------------------------


def read_h1(sock, method):
    """The answer, strictly: a bad line is an exception."""
    f = sock.makefile("rb")

    def lines():
        out = []
        while True:
            line = f.readline()
            assert line.endswith(b"\r\n") and b"\r" not in line[:-2], line
            if line == b"\r\n":
                return out
            out.append(line[:-2])

    def fields(raw):
        return [tuple(p.strip(b" \t") for p in line.split(b":", 1)) for line in raw]

    a = Answer()
    while True:
        start, *rest = lines()
        version, status, a.phrase = start.split(b" ", 2)
        a.version, a.status, a.headers = version.removeprefix(b"HTTP/"), int(status), fields(rest)
        if a.status >= 200:
            break
    low = {n.lower(): v for n, v in a.headers}
    if method == "HEAD" or a.status in (204, 304):
        a.complete = True
    elif low.get(b"transfer-encoding") == b"chunked":
        while True:
            size = int(f.readline().split(b";")[0], 16)
            if size == 0:
                break
            a.body += f.read(size)
            assert f.read(2) == b"\r\n"
        a.trailers, a.complete = fields(lines()), True
    elif b"content-length" in low:
        a.body = f.read(int(low[b"content-length"]))
        a.complete = len(a.body) == int(low[b"content-length"])
    else:
        a.body, a.complete = f.read(), True
    return a


def ask_h1(gw, method, target, headers, body, version="1.1"):
    names = [n for n, _ in headers]
    text = f"{method} {target} HTTP/{version}\r\nhost: localhost\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
    if body and "content-length" not in names:
        text += f"content-length: {len(body)}\r\n"
    if "te" in names:
        text += "connection: te\r\n"
    with socket.create_connection(("127.0.0.1", gw.port), 10) as sock:
        sock.sendall(text.encode() + b"\r\n" + body)
        return read_h1(sock, method)


# ---- HTTP/2 --------------------------------------------------------------------------------------------------------


def ask_h2(gw, method, target, headers, body):
    conn = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False,
                                                                header_encoding=None))
    conn.initiate_connection()
    conn.increment_flow_control_window(1 << 24)
    conn.update_settings({4: 1 << 24})
    a = Answer()
    a.version = b"2"
    with socket.create_connection(("127.0.0.1", gw.port), 10) as sock:
        conn.send_headers(1, [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", target), *headers],
                          end_stream=not body)
        at = 0
        while True:
            while at < len(body) and conn.streams[1].open:
                n = min(len(body) - at, conn.local_flow_control_window(1), conn.max_outbound_frame_size)
                if n == 0:
                    break
                conn.send_data(1, body[at:at + n], end_stream=at + n == len(body))
                at += n
            sock.sendall(conn.data_to_send())
            data = sock.recv(1 << 16)
            if not data:
                return a
            for e in conn.receive_data(data):
                if isinstance(e, h2.events.ResponseReceived):
                    a.status = int(dict(e.headers)[b":status"])
                    a.headers = [(n, v) for n, v in e.headers if n[:1] != b":"]
                elif isinstance(e, h2.events.DataReceived):
                    a.body += e.data
                elif isinstance(e, h2.events.TrailersReceived):
                    a.trailers = list(e.headers)
                elif isinstance(e, h2.events.StreamEnded):
                    a.complete = True
                    return a
                elif isinstance(e, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return a


# ---- the judgement -------------------------------------------------------------------------------------------------


def lint(method, target, headers, version, answer):
    asked = HttpRequestLinter(start_time=time.time())
    asked.process_request_topline(method.encode(), (target if method == "CONNECT" else "http://localhost" + target).encode(), version.encode())
    asked.process_headers([(n.encode(), v.encode()) for n, v in headers])
    asked.finish_content(True)
    got = HttpResponseLinter(start_time=time.time(), _related=asked)
    got.is_head_response = method == "HEAD"
    got.process_response_topline(answer.version, str(answer.status).encode(), answer.phrase)
    got.process_headers(answer.headers)
    got.feed_content(answer.body)
    got.finish_content(answer.complete, answer.trailers)

    def flat(notes):
        for n in notes:
            yield n
            yield from flat(n.subnotes)
    return list(flat(got.notes))


def other_checks(answer, version):
    """What a careful reader expects besides."""
    names = [n.lower() for n, _ in answer.headers]
    if b"date" not in names:
        yield "no Date"
    if not answer.complete:
        yield "the answer is not complete"
    if version == "2" and any(n != n.lower() for n, _ in answer.headers):
        yield "a name is not lower case"
    if answer.status in (204, 304) and (b"content-length" in names or b"transfer-encoding" in names or b"content-type" in names or answer.body):
        yield f"{answer.status} describes a body"
    for single in (b"content-type", b"content-length", b"date", b"etag"):
        if names.count(single) > 1:
            yield f"{single.decode()} is given twice"
    low = dict(zip(names, [v for _, v in answer.headers]))
    if answer.status == 405 and b"allow" not in names:
        yield "405 without Allow"
    if answer.status == 401 and b"www-authenticate" not in names:
        yield "401 without WWW-Authenticate"
    if answer.status >= 400 and answer.body and low.get(b"content-type") == b"application/json" and "code" not in json.loads(answer.body):
        yield "an error without its code"


def main():
    transom = os.environ.get("TRANSOM")
    if not transom:
        sys.exit(__doc__)
    build = os.environ.get("TRANSOM_BUILD") or os.path.join(os.path.dirname(os.path.abspath(transom)), "..", "..")
    verbose, passed, failed, used = "-v" in sys.argv, 0, 0, set()
    policies = {"*": {**POLICY, "max_request_bytes": "64KiB"}, SERVICE + ".CreateShelf": {"success_status": 201},
                SERVICE + ".MoveBook": {"success_status": 202}, SERVICE + ".DeleteBook": {"success_status": 204}}
    with Backend() as backend:
        gw = Gateway(transom, build, backend.port, policies=policies)
        for name, status, method, target, *rest in CASES:
            headers, body, only = (*rest, *([], b"", "")[len(rest):])
            for version in [only] if only else ["1.1", "2"]:
                wrong, answer = [], Answer()
                try:
                    answer = ask_h2(gw, method, target, headers, body) if version == "2" else ask_h1(gw, method, target, headers, body, version)
                    if answer.status != status:
                        wrong.append(f"status {answer.status}, not {status}: {answer.body[:300]!r}")
                    wrong += other_checks(answer, version)
                    notes = lint(method, target, headers, version[:3], answer)
                except (OSError, AssertionError, ValueError, h2.exceptions.ProtocolError) as e:
                    wrong.append(repr(e))
                    notes = []
                for n in notes:
                    kind = type(n).__name__
                    if n.level in (levels.BAD, levels.WARN) and kind in EXPLAINED:
                        used.add(kind)
                    elif n.level in (levels.BAD, levels.WARN):
                        wrong.append(f"{n.level.value}: {kind} of {n.subject}: {n.summary}")
                print(f"{'FAIL' if wrong else 'ok  '} {name}, HTTP/{version}", flush=True)
                for w in wrong:
                    print(f"     {w}")
                if wrong or verbose:
                    for n, v in answer.headers:
                        print(f"       {n.decode()}: {v.decode('latin-1')[:100]}")
                passed, failed = passed + (not wrong), failed + bool(wrong)
        unused = set(EXPLAINED) - used
        end = gw.stop()
        for what, bad in (("every explained warning was seen", sorted(unused)), ("the gateway ends in order", end)):
            print(f"{'FAIL' if bad else 'ok  '} {what} {bad or ''}")
            passed, failed = passed + (not bad), failed + bool(bad)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
