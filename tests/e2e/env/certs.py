"""A certificate authority for a test, by the openssl command."""
import ssl
import subprocess
from pathlib import Path


class Certificates:
    def __init__(self, directory, name="test CA"):
        self.dir = Path(directory)
        self.made = {}
        self.ca = self.dir / "ca.crt"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", f"/CN={name}",
                      "-keyout", "ca.key", "-out", "ca.crt", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")

    def _openssl(self, *args, input=None):
        subprocess.run(["openssl", *args], cwd=self.dir, check=True, capture_output=True, input=input)

    def make(self, name):
        """(certificate, key) for a DNS name, or for an address when it looks like one; also good as a client's."""
        if name not in self.made:
            base = name.replace("*", "star")
            kind = "IP" if name.replace(".", "").isdigit() else "DNS"
            self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                          "-keyout", f"{base}.key", "-out", f"{base}.csr")
            (self.dir / f"{base}.ext").write_text(f"subjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
            self._openssl("x509", "-req", "-in", f"{base}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
                          "-extfile", f"{base}.ext", "-out", f"{base}.crt")
            self.made[name] = (self.dir / f"{base}.crt", self.dir / f"{base}.key")
        return self.made[name]

    def server(self, name, **more):
        """The tls object of a listener."""
        crt, key = self.make(name)
        return {"certificate": str(crt), "private_key": str(key), **more}

    def client_context(self, alpn, client=None):
        context = ssl.create_default_context(cafile=str(self.ca))
        if alpn:
            context.set_alpn_protocols(alpn)
        if client:
            context.load_cert_chain(*map(str, self.make(client)))
        return context
