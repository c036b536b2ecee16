"""A picture decoded in a process of its own, which is killed once nobody wants the picture.

This is for large pictures that their decoder makes in one go, so that a thread could not be stopped. The process takes
0.2 to 0.5 s to start.
"""

from __future__ import annotations

import pickle
import subprocess
import sys

from striate_service.children import end_with_server, environment
from striate_service.errors import InvalidArgument, Unavailable
from striate_service.explain.images import DecodedImage, GivenImage, Target, decode, open_image
from striate_service.explain.stoppable import Stop


def decode_apart(given: GivenImage, max_pixels: int, target: Target, stop: Stop) -> DecodedImage:
    """Open and decode an image.

    Raises:
        InvalidArgument: as `open_image` and `decode` raise it, or the decoder has crashed.
        Stopped: nobody wants it any more.
        Unavailable: the machine has no room for another process.
    """
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(OPENBLAS_NUM_THREADS="1"),
            start_new_session=True,  # Ctrl-C is for the server, which ends its requests first
        )
    except OSError as error:
        raise Unavailable("the server cannot start a decoder at present; try again.") from error
    with stop.calling(process.kill):
        reply, _ = process.communicate(pickle.dumps((given, max_pixels, target)))
    stop.check()
    if process.returncode:
        raise InvalidArgument(given.field, "cannot be decoded: its decoder crashed. Save it anew, or smaller.")
    result: DecodedImage | InvalidArgument = pickle.loads(reply)
    if isinstance(result, InvalidArgument):
        raise result
    return result


def _main() -> None:
    end_with_server()
    given, max_pixels, target = pickle.load(sys.stdin.buffer)
    try:
        result: DecodedImage | InvalidArgument = decode(open_image(given, max_pixels, target), given.field, target)
    except InvalidArgument as error:
        result = error
    pickle.dump(result, sys.stdout.buffer)


if __name__ == "__main__":
    _main()
