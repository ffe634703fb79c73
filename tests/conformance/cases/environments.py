"""§5 env files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.conformance.case import Case, Expected, refuse, service, stack


def _file(what: str, content: str, gives: Mapping[str, Expected], **environment: str) -> Case:
    """Return the case that env_file with `content` makes exactly these variables."""
    return stack(f"§5 {what}", service("env_file: a.env"), {"services.web.environment": dict(gives)},  # type: ignore[dict-item]
                 files={"a.env": content}, environment=environment)  # fmt: skip


def _bad(what: str, content: str, why: str) -> Case:
    return refuse(
        f"§5 {what} is refused", service("env_file: a.env"), why, files={"a.env": content}
    )


CASES: tuple[Case, ...] = (
    _file("a plain line", "A=1", {"A": "1"}),
    _file("a byte order mark is skipped", "\ufeffA=1", {"A": "1"}),
    _file("lines may end in CRLF", "A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    _file("comments and blank lines", "# c\n\n  # d\nA=1\n", {"A": "1"}),
    _file("a leading export", "export A=1", {"A": "1"}),
    _file("a colon divides too", "A: 1\nB:2", {"A": "1", "B": "2"}),
    _file("blanks around the sign", "A = 1", {"A": "1"}),
    _file("keys with dots, dashes and brackets", "a.b-c=1\nd[0]=2", {"a.b-c": "1", "d[0]": "2"}),
    replace(_file("a key alone is inherited", "A\nB", {"A": "x"}, A="x"), differs="bare-last-line"),
    _file("an empty value", "A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
    _file("a comment after a value", "A=1 # c", {"A": "1"}),
    _file("no comment without a blank", "A=1#c", {"A": "1#c"}),
    _file("blanks at the end", "A=1   ", {"A": "1"}),
    _file("blanks inside", "A=1 2  3", {"A": "1 2  3"}),
    _file("escapes are nothing without quotes", "A=a\\nb", {"A": "a\\nb"}),
    _file("double quotes", 'A="a b"', {"A": "a b"}),
    _file("double quotes keep hashes", 'A="a # b" # c', {"A": "a # b"}),
    _file("double quotes over lines", 'A="a\nb"\nB=2', {"A": "a\nb", "B": "2"}),
    _file("escapes in double quotes", r'A="a\nb\tc\\d\"e"', {"A": 'a\nb\tc\\d"e'}),
    _file("an escaped dollar in double quotes", r'A="\$B"', {"A": "$$B"}, B="x"),
    _file("interpolation in double quotes", 'A="x${B}"', {"A": "xy"}, B="y"),
    _file("single quotes are literal", "A='a $B \\n'", {"A": "a $$B \\n"}, B="x"),
    _file("single quotes over lines", "A='a\nb'", {"A": "a\nb"}),
    _file("a quote inside a word", "A=it's", {"A": "it's"}),
    _file("interpolation without quotes", "A=$B-${C:-d}", {"A": "x-d"}, B="x"),
    _file("earlier lines are known", "A=1\nB=${A}2", {"A": "1", "B": "12"}),
    _file("the process goes over earlier lines", "A=1\nB=${A}2", {"A": "1", "B": "x2"}, A="x"),
    _file("an equals sign in the value", "A=b=c", {"A": "b=c"}),
    _file("a later line wins", "A=1\nA=2", {"A": "2"}),
    _file("letters beyond ASCII in the value", "A=é\u2603", {"A": "é\u2603"}),
    _bad("a blank in a key", "A B=1", "a.env"),
    _bad("an open double quote", 'A="b', "unterminated"),
    _bad("an open single quote", "A='b", "unterminated"),
    _bad("another character in a key", "A!=1", "a.env"),
    _bad("a bad template", "A=${", "a.env"),
    stack("§5 several files, the later wins", service("env_file: [a.env, b.env]"),
          {"services.web.environment": {"A": "2", "B": "1"}}, files={"a.env": "A=1\nB=1", "b.env": "A=2"}),
    stack("§5 variables of an earlier file are known in a later", service("env_file: [a.env, b.env]"),
          {"services.web.environment": {"A": "1", "B": "1"}}, files={"a.env": "A=1", "b.env": "B=$A"}),
    stack("§5 a file that is not required may be missing", service("env_file: [{path: no.env, required: false}]"),
          {"services.web.image": "i"}),
    refuse("§5 a required file must be there", service("env_file: no.env"), "no.env"),
    stack("§5 raw lines are taken as they are", service("env_file: [{path: a.env, format: raw}]"),
          {"services.web.environment": {"A": "'$$B' # c"}}, files={"a.env": "A='$B' # c\n"}),
    refuse("§5 another format is refused", service("env_file: [{path: a.env, format: json}]"), "json", files={"a.env": "A=1"}),
    stack("§5 files of a disabled service are not read",
          "services: {web: {image: i}, db: {image: j, profiles: [p], env_file: no.env}}", {"services.web.image": "i"}),
    stack("§5 files of a service that is not selected are not read",
          "services: {web: {image: i}, db: {image: j, env_file: no.env}}", {"services.web.image": "i"}, services=("web",),
          differs="files-of-others"),
    stack("§5 label files have the same syntax, labels win", service("label_file: [a, b], labels: {Z: s}"),
          {"services.web.labels": {"X": "2", "Y": "1", "Z": "s"}}, files={"a": "X=1\nY=1\nZ=1", "b": "X=2"}),
    stack("§5 .env has the same syntax", service("user: $A"), {"services.web.user": "a b"}, files={".env": 'export A="a b" # c'}),
    refuse("§5 a bad .env is refused", service("user: $A"), ".env", files={".env": 'A="b'}),
)  # fmt: skip
