"""Stack files in, a machine held to them: loading, deciding, executing. Sees only `runtime.api`."""
