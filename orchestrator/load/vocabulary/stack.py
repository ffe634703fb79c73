"""The top level: services, networks, volumes, configs, secrets, models, include (§8, §11, §16-20)."""

from __future__ import annotations

from orchestrator.load.shapes import Items, Key, Record, Shape, Table, Whole, one_of
from orchestrator.load.vocabulary.service import SERVICE
from orchestrator.load.vocabulary.values import (
    EXTERNAL,
    FLAG,
    NAME_EXPECTED,
    NAME_PATTERN,
    NULL,
    OPTIONS,
    PAIRS,
    STRING,
    STRING_OR_LIST,
    STRINGS,
)

_NAME = Key(STRING, "The name outside of the project, used as it is.")
_EXTERNAL = Key(EXTERNAL, "It exists already and is not ours to make or remove.")
_LABELS = Key(PAIRS, "Labels.")
_DRIVER_OPTS = Key(OPTIONS, "Options of the driver.")

_POOL = Record(
    {
        "subnet": Key(STRING, "The subnet, as in 10.5.0.0/16."),
        "ip_range": Key(STRING, "The part of it that addresses are taken from."),
        "gateway": Key(STRING, "The address of the gateway."),
        "aux_addresses": Key(Table(STRING), "Addresses that are taken, by name."),
    }
)
NETWORK = Record(
    {
        "name": _NAME,
        "driver": Key(STRING, "The kind of network: bridge, host, none, macvlan, ipvlan."),
        "driver_opts": _DRIVER_OPTS,
        "ipam": Key(
            Record(
                {
                    "driver": Key(STRING, "Who hands out addresses."),
                    "config": Key(Items(_POOL), "The subnets."),
                    "options": Key(Table(STRING), "Options of that driver."),
                }
            ),
            "Addresses.",
        ),
        "internal": Key(FLAG, "No way out of the network."),
        "attachable": Key(FLAG, "Others may attach to it."),
        "enable_ipv4": Key(FLAG, "Hand out IPv4 addresses."),
        "enable_ipv6": Key(FLAG, "Hand out IPv6 addresses."),
        "external": _EXTERNAL,
        "labels": _LABELS,
    }
)
VOLUME = Record(
    {
        "name": _NAME,
        "driver": Key(STRING, "The driver; local is the built-in one."),
        "driver_opts": _DRIVER_OPTS,
        "external": _EXTERNAL,
        "labels": _LABELS,
    }
)
CONFIG = Record(
    {
        "name": _NAME,
        "file": Key(STRING, "The file with the content."),
        "environment": Key(STRING, "The variable with the content."),
        "content": Key(STRING, "The content itself."),
        "external": _EXTERNAL,
        "labels": _LABELS,
        "template_driver": Key(STRING, "Who expands the content."),
    }
)
SECRET = Record(
    {
        "name": _NAME,
        "file": Key(STRING, "The file with the secret."),
        "environment": Key(STRING, "The variable with the secret."),
        "external": _EXTERNAL,
        "labels": _LABELS,
        "driver": Key(STRING, "The store that has the secret."),
        "driver_opts": _DRIVER_OPTS,
        "template_driver": Key(STRING, "Who expands the secret."),
    }
)
MODEL = Record(
    {
        "name": Key(STRING, "The name of the model."),
        "model": Key(STRING, "The model to run."),
        "context_size": Key(Whole(low=0), "Tokens of context."),
        "runtime_flags": Key(STRINGS, "Flags for the program that runs it."),
    },
    required=("model",),
)
INCLUDE = one_of(
    STRING,
    Record(
        {
            "path": Key(STRING_OR_LIST, "The stack file, or several that are merged."),
            "project_directory": Key(STRING, "Where relative paths in it start."),
            "env_file": Key(STRING_OR_LIST, "Its env files, instead of its .env."),
        },
        required=("path",),
    ),
)


def _named(shape: Shape) -> Table:
    return Table(shape, key_pattern=NAME_PATTERN, key_expected=NAME_EXPECTED)


STACK = Record(
    {
        "version": Key(STRING, "Obsolete and ignored.", is_obsolete=True),
        "name": Key(STRING, "The name of the project."),
        "include": Key(Items(INCLUDE), "Other stack files to take in."),
        "services": Key(_named(SERVICE), "What runs."),
        "networks": Key(_named(one_of(NULL, NETWORK)), "What connects it."),
        "volumes": Key(_named(one_of(NULL, VOLUME)), "What outlives its containers."),
        "configs": Key(_named(CONFIG), "Files that containers are given."),
        "secrets": Key(_named(SECRET), "Files that nobody else may see."),
        "models": Key(_named(MODEL), "Language models that services use."),
    }
)
