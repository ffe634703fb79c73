"""The global flags, as every verb gets them, and what they mean for the terminal. Imports almost nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from orchestrator.client.api import Client
    from orchestrator.load.request import LoadRequest, Phases
    from orchestrator.ui.progress import ProgressView
    from runtime.paths import Paths


class Settings(NamedTuple):
    """What was given before the verb (compose-cli §1)."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    all_resources: bool = False
    progress: str = "auto"
    ansi: str = "auto"
    is_by_container: bool = False
    """Arguments are ids or names of containers, host-wide: `trice container VERB`."""

    def paths(self) -> Paths:
        """Return where this instance keeps its things."""
        from runtime.paths import paths_from  # [lazy] `--help` needs no paths

        return paths_from(os.environ)

    def client(self) -> Client:
        """Return the manager's client; nothing is connected yet. Raises NeedsRoot."""
        if os.geteuid() != 0:
            raise NeedsRoot
        from orchestrator.client.api import Client  # [lazy] h11

        return Client(self.paths())

    def load_request(
        self,
        services: tuple[str, ...] = (),
        *,
        only_services: bool = False,
        phases: Phases | None = None,
    ) -> LoadRequest:
        """Return what the loader is asked for; `phases` are all, where nothing else is said."""
        # [lazy] read-only verbs load nothing
        from orchestrator.load.request import LoadRequest, Phases

        return LoadRequest(
            files=self.files,
            project_name=self.project_name,
            project_directory=self.project_directory,
            env_files=self.env_files,
            profiles=self.profiles,
            services=services,
            only_services=only_services,
            phases=phases or Phases(keeps_unused=self.all_resources),
        )

    def progress_view(self, verb: str) -> ProgressView:
        """Return the view of a command's work, on stderr unless COMPOSE_STATUS_STDOUT says otherwise."""
        from orchestrator.ui.progress import progress_view  # [lazy] only for verbs that work

        is_moved = os.environ.get("COMPOSE_STATUS_STDOUT", "") in {"1", "true"}
        stream = sys.stdout if is_moved else sys.stderr
        return progress_view(
            self.progress, verb, stream=stream, is_plain_terminal=self.ansi == "never"
        )

    def line_view(self, verb: str) -> ProgressView:
        """Return the view of work that goes on between other lines: nothing of it is ever moved or rewritten."""
        mode = self.progress if self.progress in {"json", "quiet"} else "plain"
        return self._replace(progress=mode).progress_view(verb)

    def is_coloured(self, stream: TextIO) -> bool:
        """Tell whether colours may go to this stream."""
        if self.ansi != "auto":
            return self.ansi == "always"
        return stream.isatty() and not os.environ.get("NO_COLOR")


class NeedsRoot(Exception):
    """The verb needs the manager, and the manager is root's."""

    def __str__(self) -> str:
        return "needs root for now: run it with sudo (config, explain, version and --help work without)"
