# Generated from client/striate/_async/__init__.py by `make client`. Do not edit.
"""The methods of both clients, one file a gRPC service. `_async` is the source; `make client` generates `_sync`."""
