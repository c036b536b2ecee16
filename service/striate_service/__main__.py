"""The `striate` command, also `python -m striate_service`: the command line, which may be a container's first process.

The kernel keeps from process 1 a signal that it has no handler for, so SIGTERM would be lost while modules are
imported, which takes seconds. So a handler comes before them, and nothing is imported here that takes time; once it
starts, the server has its own.
"""

import os
import signal

signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))  # nothing has begun that had to be ended

from striate.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
