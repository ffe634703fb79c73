"""Which of the host's apt sources belong to a suite, in both formats, and what is taken over of them."""

from __future__ import annotations

from pathlib import Path

from runtime.image.aptsources import read_sources, sources_for

LINES = """\
# deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm main contrib  # the usual
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg trusted=yes] https://mirror/x bookworm-updates main
deb-src http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-backports main
deb https://download.docker.com/linux/debian bookworm stable
deb https://deb.nodesource.com/node_20.x bookworm main
"""  # noqa: E501  a line is an entry

STANZAS = """\
Types: deb deb-src
# a comment
URIs: http://deb.debian.org/debian
  http://second.org/debian
Suites: bookworm trixie bookworm-updates
Components: main
Allow-Insecure: yes
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF

Enabled: no
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm-security
Components: main

types: deb
uris: http://deb.debian.org/debian-security
suites: bookworm-security
components: main
signed-by: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_one_line_entries(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(LINES)
    found = sources_for(read_sources(tmp_path), distribution="debian", suite="bookworm")
    assert "\n".join(source.text() for source in found) == (
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main contrib\n\n"
        "Types: deb\nURIs: https://mirror/x\nSuites: bookworm-updates\nComponents: main\n"
        "Architectures: amd64 arm64\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_stanzas(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(STANZAS)
    (tmp_path / "sources.list.d/off.sources.disabled").write_text(STANZAS)
    found = sources_for(read_sources(tmp_path), distribution="debian", suite="bookworm")
    assert "\n".join(source.text() for source in found) == (
        "Types: deb\nURIs: http://deb.debian.org/debian http://second.org/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\n"
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n\n"
        "Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_updates_without_their_suite_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://deb.debian.org/debian sid-updates main\n")
    assert sources_for(read_sources(tmp_path), distribution="debian", suite="sid") == ()


def test_no_sources_at_all(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == ()
