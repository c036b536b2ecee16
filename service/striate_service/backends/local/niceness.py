"""Who goes first on a machine's cores: the server's own thread, which takes little, and refuses and answers."""

NICENESS = 5
"""Added to that of workers, and of threads that decode images."""
