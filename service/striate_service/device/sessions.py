"""Sessions of ONNX Runtime over one graph: each computes a set of the graph's outputs, on a number of threads.

A session takes as long to make as one to twelve forwards. Nobody waits for one where another computes all that is
asked: that one answers at once, and the own session is made beside it when that pays. A session computes all of its
outputs, whoever asks for fewer, and fuses other operators: an answer may differ from the own session's in its last
bits, as answers do that share a batch with those for other layers: residual sums and batch normalizations are fused
into convolutions whose output nobody asked for. Networks without them give the same bits.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

Key = tuple[frozenset[str], int]
"""Outputs and threads."""

_SESSIONS = 8  # that are kept, by when they were last used; each has a copy of its weights
_SETS = 64  # whose images are counted, by when they were last asked for
_PAYS = 16
"""Images, after which an own session has paid, mostly: what a session with twice its work takes longer for them. By CPU
time of making one and of a forward: squeezenet1_0 1, googlenet_bvlc 1, swin_t 1, resnet18 2, parts_vit 5,
mobilenet_v3_small 12."""
_LEAST_BYTES = 1024  # of weights that are held once, beside the graph


class Sessions:
    """Makes and keeps sessions. Methods may be called from one thread."""

    def __init__(self, graph: bytes, image: str) -> None:
        """Read a graph.

        Args:
            graph: an ONNX file.
            image: the name of its input.
        """
        import onnx
        from onnx.utils import Extractor

        model = onnx.load_from_string(graph)
        self.outputs = frozenset(output.name for output in model.graph.output)
        self.seconds_of_waiting = 0.0
        """How long callers have waited for sessions, which later ones do not."""
        self._image = image
        self._weights = _taken_out(model)
        self._extractor = Extractor(model)
        self._made: OrderedDict[Key, Any] = OrderedDict()
        self._images: OrderedDict[Key, int] = OrderedDict()
        self._lock = threading.Lock()
        self._beside: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._made)

    def run(self, names: Sequence[str], images: Sequence[Any], threads: int) -> list[list[Any]]:
        """Return outputs for each of the images, float32 [1, C, H, W]."""
        session = self._find((frozenset(names), threads), len(images))
        return [session.run(list(names), {self._image: image}) for image in images]

    def clear(self) -> None:
        """Forget all sessions."""
        self.wait()
        self._made.clear()

    def wait(self) -> None:
        """Wait until no session is being made."""
        if self._beside:
            self._beside.join()

    def _find(self, key: Key, images: int) -> Any:
        with self._lock:
            if (chosen := self._choose(key)) is not None:
                self._made.move_to_end(chosen)
                session = self._made[chosen]
        if chosen is None:
            started = time.perf_counter()
            session = self._make(key)
            self.seconds_of_waiting += time.perf_counter() - started
        elif chosen != key:
            self._count(key, images)
        return session

    def _choose(self, key: Key) -> Key | None:
        """Return the key of the session that computes what is asked with the least besides; None: there is none."""
        asked, threads = key
        enough = (each for each in self._made if each[0] >= asked)
        return min(enough, key=lambda each: (len(each[0]), abs(each[1] - threads)), default=None)

    def _count(self, key: Key, images: int) -> None:
        """Note that another session answered, and make the own one, on a thread, when it has done so often enough."""
        self._images[key] = self._images.pop(key, 0) + images
        if len(self._images) > _SETS:
            self._images.popitem(last=False)
        if self._images[key] >= _PAYS and not (self._beside and self._beside.is_alive()):
            del self._images[key]
            self._beside = threading.Thread(target=self._make, args=[key], daemon=True)
            self._beside.start()

    def _make(self, key: Key) -> Any:
        import onnxruntime

        outputs, threads = key
        part = self._extractor.extract_model([self._image], sorted(outputs))
        held = [each.name for each in part.graph.initializer if each.name in self._weights]
        options = onnxruntime.SessionOptions()
        options.add_external_initializers(held, [self._weights[name] for name in held])
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads use no CPU
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
        with self._lock:
            self._made[key] = session
            if len(self._made) > _SESSIONS:
                self._made.popitem(last=False)
        return session


def _taken_out(model: Any) -> dict[str, Any]:
    """Take the weights out of a graph, and return them by name, as ONNX Runtime holds them.

    What is extracted of the graph is then small: a session takes a third to a half of the time where weights are large,
    and most of that without Python's lock. Measured, ms of CPU time: squeezenet1_0 42 and 18, googlenet_bvlc 141 and
    42, resnet18 229 and 73, swin_t 613 and 187; of parts_vit's 3 MB 42 and 38.
    """
    import onnx
    from onnx import numpy_helper
    from onnxruntime import OrtValue

    weights = {}
    for each in model.graph.initializer:
        if len(each.raw_data) >= _LEAST_BYTES:
            weights[each.name] = OrtValue.ortvalue_from_numpy(numpy_helper.to_array(each).copy())
            each.ClearField("raw_data")
            each.data_location = onnx.TensorProto.EXTERNAL
            each.external_data.add(key="location", value="beside")  # the session is given them by name
    return weights
