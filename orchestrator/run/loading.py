"""How documents become projects, and what the manager reads from the store at its start."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from orchestrator.errors import OrchestratorError
from orchestrator.model.project import ProjectName, RestartKind, ServiceName
from orchestrator.plan import labels
from orchestrator.plan.desired import Desired
from orchestrator.plan.restart import Memory, Tally, rebase
from orchestrator.run import records
from orchestrator.run.held import HeldProject, Machine
from orchestrator.run.records import Loader
from orchestrator.store.backend import Write
from runtime.api import ExitKind, Snapshot

log = logging.getLogger(__name__)


def default_loader(machine: str) -> Loader:
    """Return the loader that the CLI's documents are made for, on a machine of this architecture."""
    from orchestrator.load.decode import decode_document, encode_project  # [lazy] large
    from orchestrator.load.digest import digests

    decode = partial(decode_document, machine=machine)
    return Loader(decode=decode, encode=encode_project, digests=digests)


def restore_projects(machine: Machine) -> tuple[HeldProject, ...]:
    """Return all projects that the store knows, as they were left.

    After a reboot everything that was running counts as asked for anew, so that stacks come back in
    their order. A record that cannot be used is reported in the log and left alone, with its
    containers."""
    is_booted = _is_new_boot(machine)
    snapshot = machine.runtime.snapshot() if is_booted else Snapshot()
    found = []
    for name in _names(machine):
        try:
            found.append(_restore(machine, name, snapshot))
        except OrchestratorError:
            log.exception("cannot take up project %s: its containers are left as they are", name)
    if is_booted:
        key = records.boot_key(machine.node)
        boot_id = machine.runtime.host.boot_id
        machine.store.commit([Write(key=key, value=boot_id.encode())])
    return tuple(found)


def _names(machine: Machine) -> list[ProjectName]:
    prefix = records.projects_prefix(machine.node)
    keys = [entry.key.removeprefix(prefix) for entry in machine.store.list(prefix)]
    return [ProjectName(key.partition("/")[0]) for key in keys if key.endswith("/desired")]


def _is_new_boot(machine: Machine) -> bool:
    entry = machine.store.get(records.boot_key(machine.node))
    return entry is None or entry.value.decode() != machine.runtime.host.boot_id


def _restore(machine: Machine, name: ProjectName, snapshot: Snapshot) -> HeldProject:
    held = HeldProject(name, machine)
    entry = machine.store.get(records.desired_key(machine.node, name))
    if entry is None:
        return held
    desired = records.decode_desired(entry.value, loader=machine.loader)
    kept = machine.store.get(records.memory_key(machine.node, name))
    memory = records.decode_memory(kept.value) if kept is not None else {}
    met = machine.store.get(records.met_key(machine.node, name))
    is_met = met is not None and met.value == str(desired.revision.number).encode()
    held.restore(replace(desired, is_met=is_met), _after_boot(memory, desired, snapshot))
    return held


def _after_boot(memory: Memory, desired: Desired, snapshot: Snapshot) -> Memory:
    """Return memory after a reboot: what ran then, and what shall always run, is asked for anew."""
    services = desired.project.services if desired.project is not None else {}
    changed = dict(memory)
    for state in snapshot.containers:
        service = services.get(ServiceName(state.labels.get(labels.SERVICE, "")))
        if state.labels.get(labels.PROJECT) != desired.name or service is None:
            continue
        tally = memory.get(state.id, Tally())
        is_lost = state.exit is not None and state.exit.kind is ExitKind.LOST
        if service.restart.kind is RestartKind.ALWAYS or (is_lost and not tally.is_held):
            changed[state.id] = rebase(tally, state)
    return MappingProxyType(changed)
