"""The supervisor of every container: small, single-threaded, almost import-free. Its callers use `client` and `boot`."""
