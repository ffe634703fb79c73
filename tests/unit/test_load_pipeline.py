"""Loading as a whole: what is found, in which order things win, what is said when it cannot be."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from orchestrator.errors import LoadErrors, NotFoundError
from orchestrator.load.decode import decode_document, encode_project
from orchestrator.load.pipeline import load
from orchestrator.load.request import Loaded, LoadRequest
from orchestrator.load.tree import Plain
from tests.support.memory_source import MemorySource

HELLO = "services: {web: {image: i}}"


def run(
    files: Mapping[str, str | bytes],
    *given: str,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    directory: str = "/w/demo",
    name: str | None = None,
    project_directory: str | None = None,
    env_files: tuple[str, ...] = (),
    profiles: tuple[str, ...] = (),
    services: tuple[str, ...] = (),
    only_services: bool = False,
) -> Loaded:
    source = MemorySource(files, environment=environment, stdin=stdin, directory=directory)
    request = LoadRequest(
        files=given,
        project_name=name,
        project_directory=project_directory,
        env_files=env_files,
        profiles=profiles,
        services=services,
        only_services=only_services,
    )
    return load(request, source)


def refusal(files: Mapping[str, str | bytes], *given: str, **options: object) -> str:
    with pytest.raises(LoadErrors) as caught:
        run(files, *given, **options)  # type: ignore[arg-type]
    return str(caught.value)


def images(loaded: Loaded) -> dict[str, str]:
    return {str(name): service.image for name, service in loaded.project.services.items()}


def document(loaded: Loaded, *path: str) -> Plain:
    value: object = loaded.project.document
    for key in path:
        assert isinstance(value, Mapping)
        value = value[key]
    return value  # type: ignore[return-value]


# Discovery


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["compose.yaml"], "compose.yaml"),
        (["docker-compose.yaml"], "docker-compose.yaml"),
        (["docker-compose.yml", "compose.yml"], "compose.yml"),
        (["compose.yml", "compose.yaml"], "compose.yaml"),
    ],
)
def test_default_names(names: list[str], found: str) -> None:
    loaded = run(dict.fromkeys(names, HELLO))
    assert loaded.project.config_files == (f"/w/demo/{found}",)
    assert len(loaded.warnings) == (len(names) > 1)


def test_several_files_are_warned_of() -> None:
    loaded = run({"compose.yaml": HELLO, "docker-compose.yml": HELLO})
    assert [str(warning) for warning in loaded.warnings] == [
        "/w/demo: several stack files (compose.yaml, docker-compose.yml): using compose.yaml"
    ]


def test_the_search_goes_upwards_and_sets_the_directory() -> None:
    loaded = run({"/w/compose.yaml": HELLO}, directory="/w/demo/sub/dir")
    assert loaded.project.working_dir == "/w"
    assert loaded.project.name == "w"


def test_nothing_found() -> None:
    assert refusal({}) == (
        "/w/demo: no stack file here or in any directory above; "
        "write a compose.yaml, or name one with -f"
    )


def test_the_override_file_goes_with_a_found_file_only() -> None:
    files = {"compose.yaml": HELLO, "compose.override.yml": "services: {web: {image: over}}"}
    found = run(files)
    assert images(found) == {"web": "over"}
    assert found.project.config_files == ("/w/demo/compose.yaml", "/w/demo/compose.override.yml")
    assert images(run(files, "compose.yaml")) == {"web": "i"}
    by_variable = run(files, environment={"COMPOSE_FILE": "compose.yaml"})
    assert images(by_variable) == {"web": "i"}


def test_files_are_merged_left_to_right() -> None:
    files = {"a.yaml": HELLO, "b.yaml": "services: {web: {user: u}, db: {image: j}}"}
    loaded = run(files, "a.yaml", "b.yaml")
    assert images(loaded) == {"db": "j", "web": "i"}
    assert loaded.project.services["web"].user == "u"  # type: ignore[index]


def test_documents_of_a_file_are_merged_like_files() -> None:
    assert images(run({"compose.yaml": f"{HELLO}\n---\nservices: {{web: {{image: k}}}}"})) == {
        "web": "k"
    }


def test_stdin() -> None:
    loaded = run({}, "-", stdin=HELLO)
    assert images(loaded) == {"web": "i"}
    assert loaded.project.config_files == ("-",)
    assert loaded.project.working_dir == "/w/demo"
    assert refusal({}, "-", stdin="a: [").startswith("<stdin>:")


def test_the_first_file_sets_the_directory() -> None:
    loaded = run({"x/a.yaml": HELLO, "y/b.yaml": HELLO}, "x/a.yaml", "y/b.yaml")
    assert loaded.project.working_dir == "/w/demo/x"
    loaded = run({"x/a.yaml": HELLO}, "x/a.yaml", project_directory="../other")
    assert loaded.project.working_dir == "/w/other"
    assert loaded.project.name == "other"


def test_compose_file_may_come_from_dotenv_and_have_a_separator() -> None:
    files = {
        ".env": "COMPOSE_FILE=a.yaml,b.yaml\nCOMPOSE_PATH_SEPARATOR=,",
        "a.yaml": HELLO,
        "b.yaml": "services: {web: {image: k}}",
    }
    assert images(run(files)) == {"web": "k"}
    assert refusal(files, environment={"COMPOSE_FILE": "no.yaml"}) == (
        "/w/demo/no.yaml: no such file; COMPOSE_FILE names it"
    )


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        (
            {},
            ("no.yaml",),
            "/w/demo/no.yaml: cannot read the stack file: no such file or directory",
        ),
        ({"d/x": ""}, ("d",), "/w/demo/d: cannot read the stack file: is a directory"),
        (
            {"a.yaml": ""},
            ("a.yaml",),
            "a.yaml: empty stack file; write `services:` and below it what is to run",
        ),
        (
            {"a.yaml": "# only a comment"},
            ("a.yaml",),
            "a.yaml: empty stack file; write `services:` and below it what is to run",
        ),
        (
            {"a.yaml": "- a"},
            ("a.yaml",),
            "a.yaml:1:1: the top level must be a mapping, not a list; "
            "a stack file begins with a key such as `services:`",
        ),
        (
            {"a.yaml": b"a: \xff"},
            ("a.yaml",),
            "a.yaml:1:4: not UTF-8 text: byte 0xff; save the file as UTF-8",
        ),
    ],
)
def test_files_that_cannot_be_loaded(
    files: dict[str, str | bytes], given: tuple[str, ...], message: str
) -> None:
    assert refusal(files, *given) == message


# Name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "demo"),
        ("name: Foo.Bar-1_x", "foobar-1_x"),
        ("name: __a", "a"),
        ("name: ${N:-from-default}", "from-default"),
        ("name: a\n---\nname: b", "b"),
        ("name: ''", "demo"),
    ],
)
def test_names_from_the_file_are_made_fit(text: str, expected: str) -> None:
    documents = text.split("\n---\n")
    documents[0] += f"\n{HELLO}"
    assert run({"compose.yaml": "\n---\n".join(documents)}).project.name == expected


def test_names_given_win_and_must_be_fit() -> None:
    files = {"compose.yaml": f"name: file\n{HELLO}"}
    assert (
        run(files, name="flag", environment={"COMPOSE_PROJECT_NAME": "env"}).project.name == "flag"
    )
    assert run(files, environment={"COMPOSE_PROJECT_NAME": "env"}).project.name == "env"
    assert run(files, environment={"COMPOSE_PROJECT_NAME": ""}).project.name == "file"
    assert refusal(files, name="Not Fit") == (
        'invalid project name "Not Fit"; '
        "use lower-case letters, digits, - and _, and begin with a letter or digit"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: '---'",
            'compose.yaml:1:7: "---" leaves no project name; '
            "give one with -p, or `name:` in the stack file",
        ),
        (
            "name: ${",
            'compose.yaml:1:7: name: invalid interpolation format in "${": the brace is never closed',
        ),
        (
            "name: [a]",
            "compose.yaml:1:7: name: expected a string, not a list; write it alone, in no list: name: a",
        ),
    ],
)
def test_bad_names(text: str, message: str) -> None:
    assert refusal({"compose.yaml": f"{text}\n{HELLO}"}) == message


def test_a_directory_without_a_name() -> None:
    assert refusal({"/compose.yaml": HELLO}, directory="/").startswith(
        '/: "" leaves no project name'
    )


def test_the_name_is_a_variable_and_canonical() -> None:
    loaded = run(
        {"compose.yaml": "name: n\nservices: {web: {image: '$COMPOSE_PROJECT_NAME'}}"},
        environment={"OTHER": "x"},
    )
    assert images(loaded) == {"web": "n"}
    assert document(loaded, "name") == "n"


# Environment


def test_precedence_of_variables() -> None:
    files = {
        "compose.yaml": "services: {web: {image: '$A-$B-${C:-c}'}}",
        ".env": "A=dotenv\nB=dotenv",
        "one.env": "A=one\nB=one",
        "two.env": "B=two",
    }
    assert images(run(files)) == {"web": "dotenv-dotenv-c"}
    assert images(run(files, environment={"A": "shell"})) == {"web": "shell-dotenv-c"}
    assert images(run(files, env_files=("one.env", "two.env"))) == {"web": "one-two-c"}
    by_variable = run(files, environment={"COMPOSE_ENV_FILES": "one.env, two.env"})
    assert images(by_variable) == {"web": "one-two-c"}
    assert by_variable.project.environment_files == ("/w/demo/one.env", "/w/demo/two.env")


def test_the_default_env_file_may_be_disabled_missing_or_a_directory() -> None:
    files = {"compose.yaml": "services: {web: {image: '${A:-none}'}}", ".env": "A=dotenv"}
    assert images(run(files, environment={"COMPOSE_DISABLE_ENV_FILE": "1"})) == {"web": "none"}
    assert images(run({"compose.yaml": HELLO, ".env/x": ""})) == {"web": "i"}


def test_the_env_file_of_the_directory_that_was_found_is_read_too() -> None:
    files = {
        "/w/compose.yaml": "services: {web: {image: '$A$B'}}",
        "/w/.env": "A=up\nB=up",
        "/w/demo/.env": "A=here",
    }
    assert images(run(files)) == {"web": "hereup"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "/w/demo/no.env: cannot read the env file: not found"),
        ({"no.env/x": ""}, "/w/demo/no.env: cannot read the env file: a directory"),
        ({"no.env": "A B=1"}, '/w/demo/no.env:1:1: key cannot contain a space: "A B"; write KEY=value'),
        ({"no.env": b"A=\xff"}, "/w/demo/no.env:1:1: not UTF-8 text: byte 0xff; save the file as UTF-8"),
    ],
)  # fmt: skip
def test_bad_env_files(files: dict[str, str | bytes], message: str) -> None:
    assert refusal({"compose.yaml": HELLO, **files}, env_files=("no.env",)) == message


def test_what_was_consulted_is_enough_to_load_again() -> None:
    files = {"compose.yaml": "services: {web: {image: '$A', environment: [B, NO]}}", ".env": "A=f"}
    loaded = run(files, environment={"A": "shell", "B": "b", "SECRET": "not asked for"})
    assert loaded.consulted["A"] == "shell"
    assert loaded.consulted["B"] == "b"
    assert loaded.consulted["NO"] is None
    assert "SECRET" not in loaded.consulted
    again = {name: value for name, value in loaded.consulted.items() if value is not None}
    assert run(files, environment=again).project == loaded.project
    assert loaded.environment["A"] == "shell"


# Container environment


def test_environment_of_a_service() -> None:
    files = {
        "compose.yaml": (
            "services: {web: {image: i, env_file: [one.env, {path: two.env, format: raw},"
            " {path: no.env, required: false}], environment: [A=own, BARE, GONE, EMPTY=]}}"
        ),
        "one.env": "A=file\nB=one\nC=$X-$B\nGONE=file",
        "two.env": "B='two'",
    }
    loaded = run(files, environment={"X": "x", "BARE": "bare"})
    service = loaded.project.services["web"]  # type: ignore[index]
    assert dict(service.environment) == {
        "A": "own",
        "B": "'two'",
        "BARE": "bare",
        "C": "x-one",
        "EMPTY": "",
        "GONE": None,
    }
    assert "env_file" not in document(loaded, "services", "web")  # type: ignore[operator]


def test_missing_env_files_of_services() -> None:
    text = "services: {web: {image: i, env_file: [a.env, d]}, off: {image: i, profiles: [p], env_file: x}}"
    assert refusal({"compose.yaml": text, "d/x": ""}).splitlines() == [
        "compose.yaml:1:39: services.web.env_file[0]: env file /w/demo/a.env not found; "
        "with `required: false` it may be missing",
        "compose.yaml:1:46: services.web.env_file[1]: env file /w/demo/d is a directory",
    ]


def test_bad_env_files_of_services() -> None:
    text = "services: {web: {image: i, env_file: [a.env, b.env]}}"
    assert refusal({"compose.yaml": text, "a.env": b"\xff", "b.env": "A B"}).splitlines() == [
        "/w/demo/a.env:1:1: not UTF-8 text: byte 0xff; save the file as UTF-8",
        '/w/demo/b.env:1:1: key cannot contain a space: "A B"; write KEY=value',
    ]


def test_paths_start_at_the_project_directory() -> None:
    files = {
        "x/compose.yaml": "services: {web: {image: i, env_file: ../e}}",
        "e": "A=1",
        "h/e": "A=2",
    }
    assert dict(run(files, "x/compose.yaml").project.services["web"].environment) == {"A": "1"}  # type: ignore[index]
    files["x/compose.yaml"] = "services: {web: {image: i, env_file: ~/e}}"
    loaded = run(files, "x/compose.yaml", environment={"HOME": "/w/demo/h"})
    assert dict(loaded.project.services["web"].environment) == {"A": "2"}  # type: ignore[index]


# Profiles and selection

PROFILES = """
services:
  a: {image: i}
  b: {image: i, profiles: [p]}
  c: {image: i, profiles: [q], depends_on: [b]}
  d: {image: i, depends_on: {b: {condition: service_started, required: false}}}
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "ad"),
        ({"profiles": ("p",)}, "abd"),
        ({"profiles": ("p", "q")}, "abcd"),
        ({"profiles": ("*",)}, "abcd"),
        ({"environment": {"COMPOSE_PROFILES": "p, q"}}, "abcd"),
        ({"profiles": ("p",), "environment": {"COMPOSE_PROFILES": "q"}}, "abd"),
        ({"services": ("b",)}, "abd"),
        ({"services": ("b",), "only_services": True}, "b"),
        ({"services": ("d",), "only_services": True}, "d"),
        ({"services": ("c",), "only_services": True, "profiles": ("p",)}, "bc"),
    ],
)
def test_profiles(options: dict[str, object], expected: str) -> None:
    loaded = run({"compose.yaml": PROFILES}, **options)  # type: ignore[arg-type]
    assert "".join(map(str, loaded.project.services)) == expected


def test_an_optional_dependency_that_is_not_there_is_dropped() -> None:
    loaded = run({"compose.yaml": PROFILES})
    assert loaded.project.services["d"].depends_on == ()  # type: ignore[index]


def test_services_that_are_left_out_are_still_known_by_name() -> None:
    """They are no orphans (compose-cli §3, `up` 6); the next reader of the document knows it, too."""
    project = run({"compose.yaml": PROFILES}, profiles=("p",)).project
    assert project.left_out == {"c"}
    assert decode_document(encode_project(project)).left_out == {"c"}
    assert run({"compose.yaml": PROFILES}, profiles=("*",)).project.left_out == frozenset()


def test_a_dependency_that_no_profile_enables() -> None:
    assert refusal({"compose.yaml": PROFILES}, profiles=("q",)) == (
        'compose.yaml:5:45: services.c.depends_on.b: depends on service "b", which no active profile '
        "enables; activate its profile, or write `required: false`"
    )


def test_an_unknown_service() -> None:
    with pytest.raises(NotFoundError, match="no such service: nope"):
        run({"compose.yaml": PROFILES}, services=("nope",))


# Consistency


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a: {}", "services.a: the service has neither an image nor a build; add `image: NAME`"),
        (
            "a: {image: i, depends_on: [qqq]}\n  b: {image: i}",
            'services.a.depends_on.qqq: depends on undefined service "qqq"',
        ),
        (
            "web: {image: i}\n  b: {image: i, depends_on: [wbe]}",
            'services.b.depends_on.wbe: depends on undefined service "wbe"; did you mean "web"?',
        ),
        (
            "a: {image: i, depends_on: [a]}",
            "services.a.depends_on.a: dependency cycle detected: a -> a; "
            "take one of these dependencies away",
        ),
        (
            "a: {image: i, depends_on: [b]}\n  b: {image: i, depends_on: [c]}\n"
            "  c: {image: i, depends_on: [b]}",
            "services.b.depends_on.c: dependency cycle detected: b -> c -> b; "
            "take one of these dependencies away",
        ),
        (
            "a: {image: i, scale: 2, deploy: {replicas: 3}}",
            "services.a.scale: differs from deploy.replicas, which is 3; set one of the two",
        ),
        (
            "a: {image: i, cpus: 1, deploy: {resources: {limits: {pids: 5}}}}",
            "services.a.cpus: differs from deploy.resources.limits.cpus, which is left out; "
            "set one of the two",
        ),
        (
            "a: {image: i, mem_limit: 1m, deploy: {resources: {limits: {memory: 2m}}}}",
            "services.a.mem_limit: differs from deploy.resources.limits.memory, "
            "which is 2097152; set one of the two",
        ),
        (
            "a: {image: i, container_name: xx, scale: 2}",
            "services.a.container_name: a fixed container name and more than one container "
            "exclude each other; take container_name away, or scale to 1",
        ),
        (
            "a: {image: i, container_name: xx}\n  b: {image: i, container_name: xx}",
            'services.b.container_name: service "a" has the container name "xx" already',
        ),
    ],
)
def test_inconsistent(body: str, message: str) -> None:
    text = refusal({"compose.yaml": f"services:\n  {body}\n"})
    assert text.split(": ", 1)[1] == message
    assert text.startswith("compose.yaml:")


@pytest.mark.parametrize(
    "body",
    [
        "a: {image: i, scale: 2, deploy: {replicas: 2}}",
        "a: {image: i, scale: 2, deploy: {}}",
        "a: {image: i, cpus: 0.5, deploy: {resources: {limits: {cpus: '0.50'}}}}",
        "a: {image: i, mem_limit: 1m, deploy: {resources: {limits: {memory: 1024k}}}}",
        "a: {image: i, container_name: xx, scale: 1}",
        "a: {image: i, depends_on: [b, c]}\n  b: {image: i, depends_on: [c]}\n  c: {image: i}",
    ],
)
def test_consistent(body: str) -> None:
    run({"compose.yaml": f"services:\n  {body}\n"})


# What is said along the way


def test_unset_variables_are_warned_of_once_with_their_place() -> None:
    loaded = run({"compose.yaml": "version: '3'\nservices: {web: {image: 'i$TAG'}}"})
    assert [str(warning) for warning in loaded.warnings] == [
        'compose.yaml:2:25: services.web.image: the variable "TAG" is not set and becomes an empty '
        "string; give a default, as in ${TAG:-value}, or write $$ for a literal $",
        "compose.yaml:1:1: version: obsolete and ignored; take the line away",
    ]


def test_a_required_variable() -> None:
    assert refusal({"compose.yaml": "services: {web: {image: '${TAG:?which one}'}}"}) == (
        "compose.yaml:1:25: services.web.image: required variable TAG is missing a value: which one; "
        "set it in the environment or in .env"
    )


def test_problems_of_later_files_are_found_in_them() -> None:
    files = {"a.yaml": HELLO, "b.yaml": "services: {web: {prots: []}}"}
    assert refusal(files, "a.yaml", "b.yaml") == (
        'b.yaml:1:18: services.web.prots: unknown key; did you mean "ports"?'
    )


def test_no_services_is_a_project_too() -> None:
    loaded = run({"compose.yaml": "x-a: 1"})
    assert images(loaded) == {}
    assert dict(loaded.project.document) == {"x-a": 1, "name": "demo", "services": {}}


# Hostile files


@pytest.mark.parametrize(
    ("text", "last"),
    [
        (
            "\n".join(f"unknown{i}: 1" for i in range(50_000)),
            "compose.yaml:100:1: more than 99 problems: the rest is not shown",
        ),
        (
            "services:\n"
            + "\n".join(f"  s{i}: {{image: i, depends_on: [t{i}]}}" for i in range(9000)),
            "more than 99 problems: the rest is not shown",
        ),
        (
            "services: {w: {image: i, environment: {"
            + ", ".join(f"A{i}: '${{'" for i in range(90_000))
            + "}}}",
            "more than 99 problems: the rest is not shown",
        ),
    ],
    ids=["unknown keys", "undefined services", "bad templates"],
)
def test_many_problems_are_cut_short_in_bounded_time(text: str, last: str) -> None:
    started = time.process_time()
    message = refusal({"compose.yaml": text}).splitlines()
    assert len(message) == 100
    assert message[-1].endswith(last)
    assert time.process_time() - started < 20  # bounded; the real figure is far below


def test_many_warnings_are_cut_short() -> None:
    variables = ", ".join(f"A{i}: $X" for i in range(5000))
    loaded = run({"compose.yaml": f"services: {{w: {{image: i, environment: {{{variables}}}}}}}"})
    assert len(loaded.warnings) == 101
    assert loaded.warnings[-1].why == "further warnings are not shown"


def test_a_large_honest_file_is_loaded() -> None:
    services = "\n".join(f"  s{i}: {{image: i, environment: [A=1, B=2]}}" for i in range(9000))
    assert len(images(run({"compose.yaml": f"services:\n{services}"}))) == 9000


def test_a_long_chain_of_dependencies_is_no_recursion() -> None:
    services = "\n".join(f"  s{i}: {{image: i, depends_on: [s{i + 1}]}}" for i in range(9000))
    text = f"services:\n{services}\n  s9000: {{image: i}}"
    assert len(images(run({"compose.yaml": text}))) == 9001


def test_many_refusals_do_not_end_a_load() -> None:
    services = "\n".join(f"  s{i}: {{image: i, gpus: all, ports: ['80']}}" for i in range(200))
    assert len(run({"compose.yaml": f"services:\n{services}"}).refused) == 400
