"""Which servers a target stands for, and which calls are sent again."""

from __future__ import annotations

import json

import pytest
import striate
from striate import service_config
from striate.addresses import for_grpc, is_several, joined
from striate.v1 import bases_pb2, examples_pb2, interpretability_pb2, labels_pb2, models_pb2, monitoring_pb2

FILES = (interpretability_pb2, models_pb2, labels_pb2, bases_pb2, examples_pb2, monitoring_pb2)


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (["10.0.0.1:1", " 10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("127.0.0.1:1,localhost:2,127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2"),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("dns:///striate:50051", "dns:///striate:50051"),
        ("localhost:50051", "localhost:50051"),
        (["localhost:50051"], "localhost:50051"),
    ],
)
def test_lists_become_schemes_of_grpc(target: str | list[str], taken: str) -> None:
    assert for_grpc(joined(target)) == taken
    assert is_several(joined(target)) is (":///" in taken or taken.startswith("ipv"))


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ([], "name a server's address"),
        ("a,b", "'a' is no address; write it as HOST:PORT"),
        ("127.0.0.1:1,[::1]:2", "mixes IPv4 and IPv6"),
        ("127.0.0.1:99999,127.0.0.1:1", "is no address"),
        ("no-such-machine.invalid:1,127.0.0.1:1", "there is no machine no-such-machine.invalid"),
    ],
)
def test_what_is_no_list_is_told_in_a_sentence(target: str | list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        striate.Client(target)


def test_every_call_is_either_repeated_or_not() -> None:
    services = {name: service for file in FILES for name, service in file.DESCRIPTOR.services_by_name.items()}
    for name, service in services.items():
        short = name.removesuffix("Service")
        decided = (*service_config.REPEATED[short], *service_config.NOT_REPEATED[short])
        assert sorted(decided) == sorted(method.name for method in service.methods)
        repeated = {method.name: method for method in service.methods if method.name in service_config.REPEATED[short]}
        assert not any(method.client_streaming for method in repeated.values())
    config = json.loads(service_config.service_config(balanced=False))
    assert {"service": "striate.v1.LabelService", "method": "SetLabel"} not in config["methodConfig"][0]["name"]
    assert "loadBalancingConfig" not in config
