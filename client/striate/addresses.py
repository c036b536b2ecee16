"""Addresses of servers: one, a name that stands for several, or a list of them.

gRPC has a scheme for several addresses, `ipv4:1.2.3.4:1,1.2.3.5:2`, which takes numbers only: names in a list are
looked up here, once. `dns:///striate:50051` is looked up by gRPC itself, and again whenever a server goes away.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

_SEVERAL = re.compile(r"(dns|ipv4|ipv6):")
"""gRPC's schemes whose addresses may be several."""
_LOOPBACK = re.compile(r"(dns:///)?(localhost|127\.|\[::1\])")
_ADDRESS = re.compile(r"(\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:/\[\],]+)):(?P<port>\d{1,5})")


def joined(target: str | Sequence[str]) -> str:
    """Return a list of addresses as one text, "a:1,b:2"; an address as it is.

    Raises:
        ValueError: there is none.
    """
    text = target if isinstance(target, str) else ",".join(target)
    if not text.strip(" ,"):
        raise ValueError("target: name a server's address, such as localhost:50051")
    return text


def is_list(target: str) -> bool:
    """Whether a target is a list of addresses, and no scheme of gRPC's."""
    return "," in target and not _SEVERAL.match(target)


def is_several(target: str) -> bool:
    """Whether a target can stand for several servers, among which calls are to be spread."""
    return is_list(target) or bool(_SEVERAL.match(target))


def is_on_this_machine(target: str) -> bool:
    """Whether no proxy leads to a target, whatever the environment says."""
    return bool(_LOOPBACK.match(target))


def first_of(target: str) -> str:
    """Return the first address of a list."""
    return target.split(",")[0].strip()


def for_grpc(target: str) -> str:
    """Return a target as gRPC takes it: the names in a list are looked up.

    Raises:
        ValueError: an address of a list is none, its name is unknown, or IPv4 and IPv6 are mixed.
    """
    if not is_list(target):
        return target
    found = list(dict.fromkeys(_numeric(address.strip()) for address in target.split(",") if address.strip()))
    schemes = {"ipv6" if address.startswith("[") else "ipv4" for address in found}
    if len(schemes) > 1:
        raise ValueError(f"target: {target} mixes IPv4 and IPv6; name addresses of one kind")
    return f"{schemes.pop()}:{','.join(found)}"


def _numeric(address: str) -> str:
    parts = _ADDRESS.fullmatch(address)
    if not parts or int(parts["port"]) > 65535:
        raise ValueError(f"target: {address!r} is no address; write it as HOST:PORT, such as 10.0.0.7:50051")
    if parts["six"]:
        return address
    try:
        ipaddress.IPv4Address(parts["host"])
        return address
    except ValueError:
        pass
    try:
        places = socket.getaddrinfo(parts["host"], int(parts["port"]), type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"target: there is no machine {parts['host']}") from error
    family, *_, place = min(places, key=lambda found: found[0] != socket.AF_INET)  # IPv4 where there are both
    return f"{place[0]}:{parts['port']}" if family == socket.AF_INET else f"[{place[0]}]:{parts['port']}"
