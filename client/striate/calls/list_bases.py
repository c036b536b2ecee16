"""ListBases: the groups that are kept under names."""

from __future__ import annotations

from dataclasses import dataclass

from striate.calls.replies import read_basis_facts
from striate.results.bases import Basis
from striate.v1 import bases_pb2 as messages


@dataclass(frozen=True, kw_only=True)
class ListBasesCall:
    """Which bases are there?"""

    model: str = ""
    """Only the bases of this model's present version; empty: all bases."""

    def request(self, page_token: str = "") -> messages.ListBasesRequest:
        return messages.ListBasesRequest(model=self.model, page_token=page_token)

    def result(self, response: messages.ListBasesResponse) -> list[Basis]:
        return [Basis(**read_basis_facts(basis)) for basis in response.bases]
