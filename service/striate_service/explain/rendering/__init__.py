"""Icons on demand: from the store, or rendered in short slices while no caller needs the workers, each only once.

Once among the servers that share a store too: who renders an icon holds a lease on it (claims.py). And once though a
server is killed: what has begun is saved after a slice (batch.py). What is rendered next, and what is dropped since
nobody wants it any more, the queue decides (queue.py). What callers leave to be rendered is theirs too (detached.py).
"""

from striate_service.explain.rendering.batch import Rendering
from striate_service.explain.rendering.claims import Claims
from striate_service.explain.rendering.detached import DetachedIcons
from striate_service.explain.rendering.owners import Owner, Urgency
from striate_service.explain.rendering.queue import IconQueue
from striate_service.explain.rendering.renderer import IconRenderer
from striate_service.explain.rendering.subject import IconSubject

__all__ = ["Claims", "DetachedIcons", "IconQueue", "IconRenderer", "IconSubject", "Owner", "Rendering", "Urgency"]
