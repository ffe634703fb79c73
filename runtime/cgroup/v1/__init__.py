"""v1 and hybrid hierarchies: one file a controller."""
