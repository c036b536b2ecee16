"""Striate's server: explains what a vision network sees, in pictures and names, over gRPC."""
