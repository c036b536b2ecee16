"""The calls that a client makes: one file each, with the call's options as a frozen dataclass that documents them.

A call builds its request and reads its reply, and talks to nobody: the clients in `_async` and `_sync` do that. Only an
image that is given as a path is read here, when it goes into the request and when the part that the network saw is cut
out of it. Calls that take a name and nothing else (GetModel, UnloadModel, DeleteBasis) need no file: the clients build
their messages.
"""
