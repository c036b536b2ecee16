"""The server's main thread has the highest priority on the CPU: it needs little, and refuses and answers requests."""

NICENESS = 5
"""Added to the niceness of workers and of threads that decode images."""
