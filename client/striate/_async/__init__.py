"""The methods of both clients, one file a gRPC service. `_async` is the source; `make client` generates `_sync`."""
