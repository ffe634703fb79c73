"""`trice-runtime`: OCI bundles run with no keeper and no manager, by the same launch programs and groups as theirs."""
