"""`python -I -m orchestrator.daemon`: the manager's process, started by the keeper."""

from __future__ import annotations

import sys

from orchestrator.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
