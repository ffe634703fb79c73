"""The unified hierarchy: one file a controller, `core` for what every v2 group can (also hybrid's)."""
