"""The places where the format reference says "the reference tool does it so": each has a case.

In our own words, with the section; the list is complete for the revision in `REVISION`.
"""

from __future__ import annotations

from typing import NamedTuple

REVISION = "2026-08"


class Mark(NamedTuple):
    section: str
    says: str


MARKS: dict[str, Mark] = {
    "remote-files": Mark("2.1", "-f takes git and oci references through loaders; optional"),
    "bare-key": Mark("2.3", "a bare variable that is set nowhere shows as null"),
    "alias-bomb": Mark("3", "visits of nodes are bounded for each document"),
    "include-conflict": Mark("8", "what is there already goes over what an include defines"),
    "long-units": Mark("10", "durations know days and weeks"),
    "latest": Mark("12.1", "the tag latest is not pulled anew under `missing`"),
    "read-only-secrets": Mark("12.1", "a read-only root and secrets that are not files"),
    "no-cache-filter": Mark("13", "build.no_cache_filter names stages"),
    "restart-condition": Mark("14", "deploy.restart_policy goes over restart"),
    "update-config": Mark("14", "update_config and rollback_config are taken and kept"),
    "external": Mark("16", "attributes beside external are refused for volumes alone"),
    "file-configs": Mark("18", "uid, gid and mode of a config from a file are taken"),
    "pre-stop": Mark("22", "pre_stop hooks are taken; their failure ends the stop"),
    "per-replica": Mark("22", "pre_start with per_replica: true is known"),
    "pre-start": Mark("22", "pre_start is taken though the schema does not have it yet"),
    "json-models": Mark("26", "models are in both forms of the output"),
}
