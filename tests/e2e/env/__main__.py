"""The backend alone, for trying things by hand: python -m env PORT"""
import sys
import threading

from .backend import Backend

backend = Backend(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
print(backend.endpoint, flush=True)
threading.Event().wait()
