"""After warm-up a request costs no heap allocation of the gateway's own code (libraries are counted apart, by nobody here)."""
import json

import pytest

from env.build import SANITIZED

# The sanitizer build makes one heap block of each arena allocation on purpose, so that overruns are seen.
pytestmark = pytest.mark.skipif(SANITIZED, reason="arenas are emulated by the heap in this build")
CONFIG = {"workers": 1}
JSON = [("content-type", "application/json")]
BODY = json.dumps({"code": 0}).encode()


def allocations(gateway):
    return gateway.metric("transom_heap_allocations_total")


def test_a_unary_request_allocates_nothing(http, gateway):
    def requests(n):
        for _ in range(n):
            assert http.request("POST", "/test/v1/fail", JSON, BODY).status == 200
            assert http.request("GET", "/test/v1/fail/0?message=x").status == 200

    requests(100)
    before = allocations(gateway)
    requests(200)
    assert allocations(gateway) == before

