"""`trice`: global flags, the table of verbs, and the one place where errors become a line and an exit code.

Only click is imported here; a verb's module is imported when it is called. Exit codes are those of compose-cli §1:
0, 1 for every error (usage included), 130 when interrupted; the program's own for those that stay with one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import click

from orchestrator.cli.flags import with_switches_written_out
from orchestrator.cli.settings import Settings
from orchestrator.version import VERSION

VERBS = {
    "attach": "join a container's own process",
    "config": "check the stack file and print its canonical form",
    "container": "containers by id or name, host-wide",
    "convert": "the same as `config`",
    "cp": "copy files out of a container or into it",
    "create": "make what `up` would make; start nothing",
    "down": "stop and remove the project's containers",
    "events": "print what happens to the project's containers",
    "exec": "run a command in a running container",
    "explain": "say where the values of the stack file come from",
    "image": "load, list and remove images",
    "images": "list the images that the project's containers have",
    "kill": "send a signal to running containers",
    "logs": "print the logs of the project's services",
    "ls": "list the projects of this machine",
    "pause": "stop processes where they are",
    "port": "print the public address of a port",
    "ps": "list the project's containers",
    "restart": "restart containers as they are",
    "rm": "remove stopped containers",
    "run": "run a one-off container of a service",
    "start": "start containers that are there",
    "stats": "show what containers use",
    "stop": "stop containers; they are kept",
    "system": "status and end of trice on this machine",
    "top": "list the processes of running containers",
    "unpause": "let paused processes run on",
    "up": "create and start what the stack file says, and keep it up",
    "version": "print the version",
    "volume": "make, list and remove volumes, host-wide",
    "volumes": "list the project's volumes",
    "wait": "block until containers have ended",
}
"""A verb is the command `command` of the module `orchestrator.cli.<verb>`."""

LATER = frozenset({"build", "commit", "export", "publish", "pull", "push", "scale", "watch"})
"""Verbs of the reference tool that this version does not have."""
_CLAUSE = 120
"""So many characters of a command's help stand in a table of verbs."""


class VerbGroup(click.Group):
    """A group that knows verbs by name and imports one when it is used; it may have commands of its own beside them."""

    verbs: Mapping[str, str] = MappingProxyType({})
    later: frozenset[str] = frozenset()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted({*self.verbs, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in self.verbs:
            return self.commands.get(cmd_name)
        command: click.Command = import_module(f"orchestrator.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in self.later:
            raise click.UsageError(f'"{args[0]}" is not supported yet', ctx)
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, rest if command is None else with_switches_written_out(command, rest)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the verbs without importing them."""
        own = {name: _clause(each) for name, each in self.commands.items()}
        with formatter.section("Verbs"):
            formatter.write_dl(sorted({**self.verbs, **own}.items()))


class Trice(VerbGroup):
    """All verbs."""

    verbs = VERBS
    later = LATER


def _clause(command: click.Command) -> str:
    """Return a command's first sentence as a table of verbs has it: `list volumes`."""
    text = command.get_short_help_str(limit=_CLAUSE).rstrip(".")
    return text[:1].lower() + text[1:]


@click.group(
    cls=Trice,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A stack file is a Compose file. `trice VERB --help` says more about each verb.",
)
@click.option(
    "-f", "--file", "files", multiple=True, metavar="FILE", help="Stack file; repeat to merge."
)
@click.option("-p", "--project-name", metavar="NAME", help="Project name.")
@click.option(
    "--project-directory",
    "--workdir",
    metavar="DIR",
    help="Base of the stack file's relative paths.",
)
@click.option(
    "--env-file", "env_files", multiple=True, metavar="FILE", help="Instead of .env; repeat."
)
@click.option(
    "--profile", "profiles", multiple=True, metavar="NAME", help="Activate a profile; repeat."
)
@click.option(
    "--all-resources", is_flag=True, help="Keep networks, volumes, … that no service uses."
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
    envvar="COMPOSE_PROGRESS",
    default="auto",
    help="How work is shown.",
)
@click.option(
    "--ansi",
    type=click.Choice(["auto", "never", "always"]),
    envvar="COMPOSE_ANSI",
    default="auto",
    help="Colours and cursor movements.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.version_option(
    VERSION, "-v", "--version", prog_name="trice", message="%(prog)s version %(version)s"
)
@click.pass_context
def trice(ctx: click.Context, /, **flags: object) -> None:
    """Bring Compose stacks up, and keep them up, with their own namespaces and cgroups."""
    ctx.obj = Settings(**flags)  # type: ignore[arg-type]  # click has checked each flag's type


def run() -> int:
    """Run the command line; return the exit code."""
    arguments = sys.argv[1:]
    try:
        result = trice.main(args=arguments, prog_name="trice", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 0
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # Whoever read us has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last handler of the process: an error becomes a line
        return _report(error, is_debug=_is_debug(arguments))
    return result if isinstance(result, int) else 0


def _is_debug(arguments: list[str]) -> bool:
    verb = next((index for index, word in enumerate(arguments) if word in VERBS), len(arguments))
    return "--debug" in arguments[:verb] or bool(os.environ.get("TRICE_DEBUG"))


def _report(error: Exception, *, is_debug: bool) -> int:
    if is_debug:
        import traceback  # [lazy] only for --debug

        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "trice"
        print(f"trice: {_usage(error)}; see '{path} --help'", file=sys.stderr)
        return 1
    from orchestrator.cli.failure import explain  # [lazy] only when something failed

    for line in explain(error, is_terminal=sys.stderr.isatty()):
        print(line, file=sys.stderr)
    return 1


def _usage(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]
