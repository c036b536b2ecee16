"""Generated from protos/striate/v1 by `make protos`. Do not edit."""
