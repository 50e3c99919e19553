import contextlib
import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from env.backend import Backend  # noqa: E402
from env.build import BINARY  # noqa: E402
from env.gateway import Gateway, base_config  # noqa: E402
from env.http1 import H1  # noqa: E402
from env.http2 import H2  # noqa: E402

CLIENTS = {"h1": H1, "h2": H2}


def pytest_configure(config):
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is not built; set TRANSOM_BUILD to the build directory", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def collections_between_tests():
    """protobuf's extension (7.36.2) crashes when the collector starts inside one of its calls, on a thread of a backend."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def collect_after_each_module(collections_between_tests):
    yield
    gc.collect()


@pytest.fixture(scope="session")
def session_backend():
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture
def backend(session_backend):
    """The recording gRPC backend, with nothing recorded yet."""
    session_backend.reset()
    yield session_backend
    session_backend.release_all()


class Gateways:
    """Gateways that tests share, by the top-level keys that they change. One that died is made anew."""

    def __init__(self, tmp_path_factory, backend):
        self.tmp, self.backend, self.running = tmp_path_factory, backend, {}

    def get(self, changes):
        key = repr(sorted(changes.items()))
        gateway = self.running.get(key)
        if gateway is None or not gateway.alive:
            gateway = Gateway(self.tmp.mktemp("gateway"), base_config([self.backend.endpoint], **changes))
            self.running[key] = gateway
        return gateway

    def check(self):
        dead = {k: g for k, g in self.running.items() if not g.alive}
        for key, gateway in dead.items():
            del self.running[key]
            gateway.wait()
            pytest.fail(f"the gateway died with {gateway.process.returncode}\n{gateway.stderr}")

    def stop(self):
        failures = []
        for gateway in self.running.values():
            with contextlib.suppress(Exception):
                left = gateway.metric("transom_requests_in_flight")
                if left:
                    failures.append(f"{left} requests are still in flight")
            try:
                gateway.stop()
            except AssertionError as e:
                failures.append(str(e))
        self.running = {}
        return failures


@pytest.fixture(scope="module")
def module_gateways(tmp_path_factory, session_backend):
    gateways = Gateways(tmp_path_factory, session_backend)
    yield gateways
    failures = gateways.stop()
    assert not failures, "\n".join(failures)


@pytest.fixture
def gateways(module_gateways, backend):
    """gateways(policies=..., limits=...): a gateway before the backend, shared by the tests of a module that change the same keys."""
    yield lambda **changes: module_gateways.get(changes)
    module_gateways.check()


@pytest.fixture
def gateway(gateways, request):
    """The gateway of the module: with the keys of its CONFIG, if it has one."""
    return gateways(**getattr(request.module, "CONFIG", {}))


@pytest.fixture
def start(tmp_path, backend):
    """start(config): a gateway of this test alone; stopped, and its exit checked, at the end."""
    started = []

    def begin(config, **options):
        gateway = Gateway(tmp_path / f"gateway{len(started)}", config, **options)
        started.append(gateway)
        return gateway

    yield begin
    failures = []
    for gateway in started:
        if gateway.process.returncode is None:
            try:
                gateway.stop()
            except AssertionError as e:
                failures.append(str(e))
    assert not failures, "\n".join(failures)


@pytest.fixture(params=["h1", "h2"])
def version(request):
    return request.param


@pytest.fixture
def connect(version):
    """connect(gateway, ...): a client connection of the protocol under test; closed at the end."""
    with contextlib.ExitStack() as stack:
        def make(gateway, listener=0, **options):
            return stack.enter_context(CLIENTS[version](gateway.port_of(listener), **options))
        yield make


@pytest.fixture
def http(connect, gateway):
    """A connection to the module's gateway, over HTTP/1.1 and over HTTP/2."""
    return connect(gateway)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    from env.certs import Certificates
    return Certificates(tmp_path_factory.mktemp("certificates"))
