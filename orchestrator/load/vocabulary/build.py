"""`services.*.build` and `services.*.develop` (compose-format §13, §15)."""

from __future__ import annotations

from orchestrator.load.shapes import Items, Key, Record, one_of
from orchestrator.load.vocabulary.values import (
    EXTRA_HOSTS,
    FLAG,
    HOOK,
    MOUNTED_FILES,
    NULL,
    PAIRS,
    SIZE,
    STRING,
    STRING_OR_LIST,
    STRINGS,
    ULIMITS,
    choice,
)

BOOTSTRAP = Record(
    {
        "distribution": Key(STRING, "The distribution, such as debian."),
        "suite": Key(STRING, "The release, such as bookworm."),
        "variant": Key(STRING, "Which packages every image has: essential, apt, minbase, …"),
        "packages": Key(STRINGS, "The packages to install beside the variant's."),
    },
    required=("distribution", "suite"),
)

BUILD = one_of(
    STRING,
    Record(
        {
            "context": Key(STRING, "The directory or URL that the build sees, `.` by default."),
            "dockerfile": Key(STRING, "The Dockerfile, relative to the context."),
            "dockerfile_inline": Key(STRING, "The Dockerfile itself."),
            "args": Key(PAIRS, "Build arguments."),
            "target": Key(STRING, "The stage to build."),
            "additional_contexts": Key(PAIRS, "Further named contexts."),
            "cache_from": Key(STRINGS, "Where to import a build cache from."),
            "cache_to": Key(STRINGS, "Where to export the build cache to."),
            "no_cache": Key(FLAG, "Build every layer again."),
            "no_cache_filter": Key(STRING_OR_LIST, "Stages to build again."),
            "pull": Key(FLAG, "Refresh the base images."),
            "network": Key(STRING, "The network of RUN."),
            "extra_hosts": Key(EXTRA_HOSTS, "Host names known to RUN."),
            "labels": Key(PAIRS, "Labels of the image."),
            "tags": Key(STRINGS, "Further names of the image."),
            "platforms": Key(STRINGS, "The platforms to build for."),
            "shm_size": Key(SIZE, "The size of /dev/shm for RUN."),
            "ulimits": Key(ULIMITS, "Resource limits of RUN."),
            "isolation": Key(STRING, "The isolation technology of RUN."),
            "privileged": Key(FLAG, "Give RUN every privilege."),
            "entitlements": Key(STRINGS, "Extra privileges of the build."),
            "secrets": Key(MOUNTED_FILES, "Secrets that RUN may mount."),
            "ssh": Key(PAIRS, "SSH agents that RUN may use."),
            "provenance": Key(one_of(STRING, FLAG), "Add a provenance attestation."),
            "sbom": Key(one_of(STRING, FLAG), "Add a bill of materials."),
            "x-bootstrap": Key(BOOTSTRAP, "Make the image from a distribution's packages."),
        }
    ),
)

_WATCH = Record(
    {
        "path": Key(STRING, "The file or directory to watch."),
        "action": Key(
            choice("rebuild", "sync", "restart", "sync+restart", "sync+exec"),
            "What to do when it changes.",
        ),
        "target": Key(STRING, "Where it is in the container."),
        "ignore": Key(STRING_OR_LIST, "Patterns of files that do not count."),
        "include": Key(STRING_OR_LIST, "Patterns of the only files that count."),
        "exec": Key(HOOK, "What to run in the container after a sync."),
        "initial_sync": Key(FLAG, "Bring the target up to date when watching starts."),
    },
    required=("path", "action"),
)
DEVELOP = one_of(NULL, Record({"watch": Key(Items(_WATCH), "What to watch while developing.")}))
