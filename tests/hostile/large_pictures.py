"""Large pictures in small files."""

from __future__ import annotations

import base64

WEBP = base64.b64decode("UklGRh4AAABXRUJQVlA4TBEAAAAvq+aqCQdQvGqVp/+BiOh/AAA=")
"""9900 x 9900 pixels of one color. It takes some seconds to decode, in a process of its own."""
