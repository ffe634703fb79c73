"""The supervisor of every container: small, single-threaded, almost import-free. Callers use `client` and `boot`."""
