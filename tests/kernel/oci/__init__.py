"""The OCI runtime-spec's demands as cases: each runs `trice-runtime` on a real bundle and asks the kernel.

case.py            what a case is, and the config that all begin with
cases/             the tables, a module a part of the specification
differences.py     where trice-runtime does otherwise on purpose, and why
page.py            docs/oci-conformance.md, made of the two
"""
