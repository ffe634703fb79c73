"""Ratios against other runtimes on the same machine in the same run: `make bench`. Never a test, never a limit."""
