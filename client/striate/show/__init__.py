"""Results as pictures, pages and tables.

The results that can be shown, such as `Factorization`, are defined here and extend their data in `striate.results`, and
calls return them: so results know nothing of drawing, and yet `result.to_html()` is a plain method.
"""

from __future__ import annotations

from striate.show.dictionaries import SemanticDictionary
from striate.show.drift import Drift
from striate.show.groups import Factorization, FactorizedLayers
from striate.show.html import page
from striate.show.notebook import notebook_html

__all__ = ["Drift", "Factorization", "FactorizedLayers", "SemanticDictionary", "notebook_html", "page"]
