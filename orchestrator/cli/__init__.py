"""The `trice` command: `main` and a file a verb. Starting fast is a feature, so verbs and libraries load when used."""
