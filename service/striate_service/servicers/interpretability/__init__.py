"""InterpretabilityService: `service.py` has its methods, and a file each what their messages say as plain values."""
