"""How the manager's process is started: the one fact that the CLI and the manager itself must share."""

from __future__ import annotations

import sys

MANAGER_ARGV = (sys.executable, "-I", "-m", "orchestrator.daemon")
"""What the keeper executes. `-I`: neither the working directory nor PYTHON* variables say what is imported."""
