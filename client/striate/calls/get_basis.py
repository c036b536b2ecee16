"""GetBasis: a basis with its groups."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.options import IconOptions
from striate.calls.replies import read_basis_facts, read_group
from striate.results.bases import Basis
from striate.results.icons import IconSource
from striate.tensors import array_from_tensor
from striate.v1 import bases_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class GetBasisCall(IconOptions):
    """What are the groups of this basis?"""

    name: str

    def request(self) -> messages.GetBasisRequest:
        return messages.GetBasisRequest(name=self.name, wait_for_icons=self.wait_for_icons, omit_icons=not self.icons)

    def result(self, response: messages.GetBasisResponse, client: IconSource | None = None) -> Basis:
        return Basis(
            **read_basis_facts(response.basis),
            groups=[read_group(group, ()) for group in response.groups],
            directions=array_from_tensor(response.directions),
            client=client,
        )
