"""`services.*.deploy` (compose-format §14)."""

from __future__ import annotations

from orchestrator.load.shapes import Items, Key, Real, Record, Whole, one_of
from orchestrator.load.vocabulary.values import (
    COUNT,
    DURATION,
    GPU_KEYS,
    NULL,
    NUMBER,
    NUMBER_OR_TEXT,
    PAIRS,
    SIZE,
    STRING,
    STRINGS,
    choice,
)


def _update(*failure_actions: str) -> Record:
    return Record(
        {
            "parallelism": Key(COUNT, "How many containers at once; 0 is all."),
            "delay": Key(DURATION, "The pause between two batches."),
            "failure_action": Key(choice(*failure_actions), "What a failure leads to."),
            "monitor": Key(DURATION, "How long a new container is watched for failure."),
            "max_failure_ratio": Key(Real(low=0, high=1), "The share of failures to put up with."),
            "order": Key(choice("stop-first", "start-first"), "Old first or new first."),
        }
    )


_DEVICE = Record(GPU_KEYS, required=("capabilities",))
_GENERIC = Record(
    {
        "discrete_resource_spec": Key(
            Record({"kind": Key(STRING, "Its name."), "value": Key(NUMBER, "How many.")}),
            "A resource that is counted.",
        )
    }
)
_RESOURCES = Record(
    {
        "limits": Key(
            Record(
                {
                    "cpus": Key(NUMBER_OR_TEXT, "Processors, as in 0.5."),
                    "memory": Key(SIZE, "Memory, as in 64m."),
                    "pids": Key(Whole(low=-1), "Processes; -1 is no limit."),
                }
            ),
            "What the container may not go beyond.",
        ),
        "reservations": Key(
            Record(
                {
                    "cpus": Key(NUMBER_OR_TEXT, "Processors that must be free."),
                    "memory": Key(SIZE, "Memory that is kept for the container."),
                    "generic_resources": Key(Items(_GENERIC), "Resources that users define."),
                    "devices": Key(Items(_DEVICE), "Devices that must be there."),
                }
            ),
            "What the container is promised.",
        ),
    }
)
_PLACEMENT = Record(
    {
        "constraints": Key(STRINGS, "What a node must be, as in node.labels.disk==ssd."),
        "preferences": Key(
            Items(Record({"spread": Key(STRING, "The node label to spread over.")})),
            "How to choose among nodes.",
        ),
        "max_replicas_per_node": Key(COUNT, "Replicas that one node takes at most."),
    }
)
_RESTART = Record(
    {
        "condition": Key(choice("none", "on-failure", "any"), "When to restart."),
        "delay": Key(DURATION, "The pause before a restart."),
        "max_attempts": Key(COUNT, "When to give up."),
        "window": Key(DURATION, "How long a container must live to count as restarted."),
    }
)
DEPLOY = one_of(
    NULL,
    Record(
        {
            "mode": Key(
                choice("replicated", "global", "replicated-job", "global-job"),
                "A number of replicas, or one on each node.",
            ),
            "replicas": Key(Whole(low=0), "How many containers."),
            "endpoint_mode": Key(choice("vip", "dnsrr"), "How the service is reached."),
            "labels": Key(PAIRS, "Labels of the service, not of its containers."),
            "placement": Key(_PLACEMENT, "Which nodes may run it."),
            "resources": Key(_RESOURCES, "Limits and reservations."),
            "restart_policy": Key(_RESTART, "Restarting; wins over `restart`."),
            "update_config": Key(
                _update("continue", "pause", "rollback"), "How a change is rolled out."
            ),
            "rollback_config": Key(_update("continue", "pause"), "How a change is taken back."),
        }
    ),
)
