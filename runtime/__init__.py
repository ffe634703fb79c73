"""trice's own namespace/cgroup runtime. It never imports the orchestrator and is usable alone."""
