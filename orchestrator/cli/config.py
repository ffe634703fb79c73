"""`trice config`: the stack file as trice understands it. Needs no manager and no root (compose-cli §7)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from orchestrator.cli.loading import load_shown
from orchestrator.cli.settings import Settings
from orchestrator.errors import NotFoundError, OrchestratorError

if TYPE_CHECKING:
    from orchestrator.load.request import Stack

Shown: TypeAlias = "Callable[[Stack, Asked], str]"

NEEDS_REGISTRY = (
    "cannot look up image digests: trice has no registry client yet; "
    "write `image: NAME@sha256:…` to pin one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of the stack file is wanted, beside which phases."""

    form: str | None
    """`yaml` or `json`."""
    hashes: str
    """Services for `--hash`."""
    is_raw: bool


def _whole(stack: Stack, asked: Asked) -> str:
    from orchestrator.load.render import to_json, to_yaml  # [lazy] only for the whole document

    render = to_json if asked.form == "json" else to_yaml
    return render(stack.document, escape=not asked.is_raw)


def _services(stack: Stack, _asked: Asked) -> str:
    return _lines(_section(stack, "services"))


def _volumes(stack: Stack, _asked: Asked) -> str:
    return _lines(_section(stack, "volumes"))


def _networks(stack: Stack, _asked: Asked) -> str:
    return _lines(_section(stack, "networks"))


def _models(stack: Stack, _asked: Asked) -> str:
    return _lines(_section(stack, "models"))


def _profiles(stack: Stack, _asked: Asked) -> str:
    tables = _section(stack, "services").values()
    lists = [table.get("profiles") for table in tables if isinstance(table, Mapping)]
    return _lines(str(name) for names in lists if isinstance(names, list) for name in names)


def _images(stack: Stack, _asked: Asked) -> str:
    return _lines(
        str(table.get("image") or f"{stack.name}-{name}")
        for name, table in _section(stack, "services").items()
        if isinstance(table, Mapping) and ("image" in table or "build" in table)
    )


def _hashes(stack: Stack, asked: Asked) -> str:
    from orchestrator.load.digest import config_digest  # [lazy] only for --hash

    services = _section(stack, "services")
    names = sorted(services) if asked.hashes == "*" else asked.hashes.split(",")
    lines = []
    for name in names:
        service = services.get(name)
        if not isinstance(service, Mapping):
            raise NotFoundError(f"no such service: {name}")
        lines.append(f"{name} {config_digest(service)}\n")
    return "".join(lines)


def _environment(stack: Stack, asked: Asked) -> str:
    if asked.form == "json":
        return _json(dict(stack.environment))
    return "".join(f"{name}={value}\n" for name, value in stack.environment.items())


def _variables(stack: Stack, asked: Asked) -> str:
    from orchestrator.load.variables import wanted  # [lazy] only for --variables
    from orchestrator.ui.tables import table  # [lazy] the same

    variables = wanted(stack.tree)
    if asked.form == "json":
        return _json(
            {
                one.name: {
                    "Name": one.name,
                    "DefaultValue": one.default,
                    "PresenceValue": one.alternate,
                    "Required": one.is_required,
                }
                for one in variables
            }
        )
    rows = [
        (one.name, str(one.is_required).lower(), one.default, one.alternate) for one in variables
    ]
    return table(("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"), rows)


_VIEWS: dict[str, Shown] = {
    "services": _services,
    "volumes": _volumes,
    "networks": _networks,
    "models": _models,
    "profiles": _profiles,
    "images": _images,
    "environment": _environment,
    "variables": _variables,
}


def _view(name: str, help_text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return the option that asks for one view of the stack; of several the last counts."""
    return click.option(f"--{name}", "view", flag_value=name, help=help_text)


def _without(phase: str, help_text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    return click.option(
        f"--no-{phase}", f"has_no_{phase.replace('-', '_')}", is_flag=True, help=help_text
    )


@click.command("config")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), help="Default: yaml.")
@click.option("-q", "--quiet", is_flag=True, help="Only check; print nothing.")
@_view("services", "Names of services alone.")
@_view("volumes", "Names of volumes alone.")
@_view("networks", "Names of networks alone.")
@_view("models", "Names of models alone.")
@_view("profiles", "Names of profiles alone.")
@_view("images", "Names of images alone.")
@_view("environment", "The variables that `$NAME` may mean.")
@_view("variables", "The variables that the file asks for, and their defaults.")
@click.option(
    "--hash", "hashes", metavar="SERVICE,...|*", help="Print the services' config hashes."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Instead of stdout."
)
@_without("interpolate", "Leave variables as they are written.")
@_without("normalize", "Add nothing that the file leaves to be understood.")
@_without("consistency", "Do not check that what services refer to is there.")
@_without("path-resolution", "Leave relative paths as they are.")
@_without("env-resolution", "Do not read the services' env files.")
@click.option("--resolve-image-digests", is_flag=True, help="Not supported yet: needs a registry.")
@click.option("--lock-image-digests", is_flag=True, help="Not supported yet: needs a registry.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.pass_obj
def command(
    settings: Settings,
    /,
    *,
    form: str | None,
    quiet: bool,
    view: str | None,
    hashes: str | None,
    output: Path | None,
    resolve_image_digests: bool,
    lock_image_digests: bool,
    services: tuple[str, ...],
    **without: bool,
) -> None:
    """Check the stack file and print its canonical form.

    What is printed loads again, as in `trice config | trice -f - config`, and gives the same.
    """
    if resolve_image_digests or lock_image_digests:
        raise OrchestratorError(NEEDS_REGISTRY)
    from orchestrator.load.request import Phases  # [lazy] `--help` loads nothing

    is_raw = without["has_no_interpolate"] or view == "variables"
    is_bare = view in ("environment", "profiles")
    phases = Phases(
        interpolation=not is_raw,
        normalisation=not (without["has_no_normalize"] or view == "variables"),
        consistency=not (without["has_no_consistency"] or is_bare),
        path_resolution=not without["has_no_path_resolution"],
        env_resolution=not (without["has_no_env_resolution"] or is_bare),
        keeps_unused=settings.all_resources or view == "variables",
    )
    request = settings.load_request(services, only_services=bool(services), phases=phases)
    if view == "profiles":  # those of services that are not enabled, too
        request = replace(request, profiles=("*",))
    stack = load_shown(request)
    asked = Asked(form=form, hashes=hashes or "", is_raw=is_raw)
    shown = _hashes if hashes is not None else _VIEWS[view] if view else _whole
    text = shown(stack, asked)
    if quiet:
        return
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, "utf-8")


def _section(stack: Stack, name: str) -> Mapping[str, object]:
    section = stack.document.get(name)
    return section if isinstance(section, Mapping) else {}


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in sorted(set(names)))


def _json(document: object) -> str:
    import json  # [lazy] only for --format json

    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
