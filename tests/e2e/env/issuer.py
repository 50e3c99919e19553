"""A token issuer with a scripted key server: up, down, slow, endless, wrong; and the tokens of its keys.

What the key server does is its `mode`: "ok"; a status as an integer; "hang" (no answer until the mode changes); "endless" (a body that
never ends); "redirect" (to a path that would serve the keys). down() closes its port, up() opens the same one again."""
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

KEYS = "/keys"
DOCUMENT = "/.well-known/openid-configuration"


class Issuer:
    def __init__(self, tls=None, kid="first"):
        """tls: (certificate, key); then the issuer's name is its https URL, and it has a discovery document."""
        self.tls = tls
        self.mode, self.changed = "ok", threading.Condition()
        self.max_age = None
        self.requests = []       # paths, in order
        self.sent = 0            # bytes of endless answers
        self.document = {}       # changes of the discovery document
        self.private = {}
        self.published = {}
        self.rotate(kid)
        self.port = 0
        self.up()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.issuer = self.url if tls else "https://issuer.test"

    # -- keys and tokens -------------------------------------------------------------------------------------------

    def rotate(self, kid):
        """One new key, published alone."""
        self.private[kid] = ec.generate_private_key(ec.SECP256R1())
        self.kid = kid
        self.published = {kid: jwt.algorithms.ECAlgorithm.to_jwk(self.private[kid].public_key(), as_dict=True)}

    def token(self, kid=None, key=None, **claims):
        """Signed by the key of this name, or by another one under it; claims replace the usual ones, None takes one away."""
        kid = kid or self.kid
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "books", "sub": "alice", "iat": now, "exp": now + 600}
        payload = {k: v for k, v in {**usual, **claims}.items() if v is not None}
        return jwt.encode(payload, self.private[key or kid], algorithm="ES256", headers={"kid": kid})

    def bearer(self, *args, **kw):
        return [("authorization", "Bearer " + self.token(*args, **kw))]

    def fetches(self):
        return sum(path == KEYS for path in self.requests)

    # -- the server ------------------------------------------------------------------------------------------------

    def set(self, mode):
        with self.changed:
            self.mode = mode
            self.changed.notify_all()

    def body(self, path):
        if path == DOCUMENT:
            return {"issuer": self.issuer, "jwks_uri": self.url + KEYS, **self.document}
        return {"keys": [{**jwk, "kid": kid, "use": "sig", "alg": "ES256"} for kid, jwk in self.published.items()]}

    def up(self):
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                if issuer.tls:
                    self.request.do_handshake()
                super().setup()

            def do_GET(self):
                issuer.requests.append(self.path)
                with issuer.changed:
                    issuer.changed.wait_for(lambda: issuer.mode != "hang", 60)
                    mode = issuer.mode
                if mode == "endless":
                    return self.endless()
                status = 302 if mode == "redirect" else mode if isinstance(mode, int) else 200
                body = json.dumps(issuer.body(self.path)).encode()
                self.send_response(status)
                if mode == "redirect":
                    self.send_header("Location", "/elsewhere")
                if issuer.max_age is not None:
                    self.send_header("Cache-Control", f"public, max-age={issuer.max_age}")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def endless(self):
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 30))
                if len(issuer.requests) % 2:  # by length and by the end of the connection in turn
                    self._headers_buffer.pop()
                self.end_headers()
                self.close_connection = True
                try:
                    while issuer.mode == "endless":
                        self.wfile.write(b" " * 65536)
                        issuer.sent += 65536
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def get_request(self):
                sock, where = super().get_request()
                sock.settimeout(60)
                if issuer.tls:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(*map(str, issuer.tls))
                    sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                return sock, where

            def handle_error(self, *_):  # a client that left, or that refused the certificate
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def down(self):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()

    def stop(self):
        self.set("ok")
        self.down()


def authentication(provider, name="accounts", **more):
    """Top-level keys and the policy for one provider."""
    return {"authentication": {"providers": {name: provider}, **more}, "policies": {"*": {"authentication": {"any_of": [name]}}}}
