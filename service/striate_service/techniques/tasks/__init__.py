"""What a worker can be asked: a file a technique, each with its task, its result, its cost and how it runs.

The server's own process makes these values and reads their results, and must not load torch; so a task's `run` imports
what it computes with when it is called, inside a worker.

In docstrings: N images, C channels, H x W = P positions, K neurons or groups, M classes.
"""
