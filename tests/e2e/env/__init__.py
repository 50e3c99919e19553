"""What the end-to-end tests stand on: the gateway's process, a real gRPC backend, scripted backends, exact clients."""
