"""A thin client of the manager's API: blocking, small to import, and it starts the keeper when nothing answers."""
