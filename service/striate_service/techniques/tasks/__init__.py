"""Tasks for workers: one file per technique, with its task, its result, its cost and how it runs.

The server's process makes tasks and reads results, and must not load torch. So `run`, which a worker calls, imports
torch and the techniques itself.

In docstrings: N images, C channels, H x W = P positions, K neurons or groups, M targets.
"""
