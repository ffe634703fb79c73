"""§3 YAML."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import ABSENT, Case, no_web, refuse, service, stack, web


def _scalar(written: str, meant: str) -> Case:
    return stack(f"§3 {written!r} in environment is {meant!r}", service(f"environment: {{A: {written}}}"),
                 {"services.web.environment.A": meant})  # fmt: skip


_BOMB = "x-a0: &a0 [z]\n" + "".join(
    f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)

CASES: tuple[Case, ...] = (
    *(_scalar(word, word) for word in ("yes", "no", "on", "off", "y", "n", "Yes", "NO")),
    _scalar("true", "true"),
    _scalar("True", "true"),
    _scalar("FALSE", "false"),
    _scalar("1", "1"),
    _scalar("-5", "-5"),
    _scalar("0o17", "15"),
    _scalar("017", "15"),
    _scalar("0x1F", "31"),
    _scalar("1.0", "1"),
    _scalar("1.50", "1.5"),
    _scalar("1e3", "1000"),
    _scalar("22:22", "22:22"),
    _scalar("1:30:45", "1:30:45"),
    replace(_scalar("2024-01-02", "2024-01-02"), differs="timestamps"),
    replace(_scalar("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"), differs="timestamps"),
    _scalar("'1'", "1"),
    _scalar("0.1.2", "0.1.2"),
    web("§3 restart: no is a string", "restart: no", restart="no"),
    web("§3 ports need no quotes", "ports: [22:22]", **{"ports.0.published": "22", "ports.0.target": 22}),
    *(stack(f"§3 mode {mode} is octal", service(f"configs: [{{source: c, mode: {mode}}}]") + "\nconfigs: {c: {content: x}}",
            {"services.web.configs.0.mode": "0440"}) for mode in ("0o440", "0440", "'0440'", "288")),
    web("§3 null, ~ and nothing are null", "command: null, entrypoint: ~", command=None, entrypoint=None),
    web("§3 a boolean where a string came by interpolation", "privileged: yes", privileged=True),
    refuse("§3 a key twice is refused", "services:\n  web:\n    image: a\n    image: b", "image"),
    refuse("§3 a service twice is refused", "services:\n  web: {image: a}\n  web: {image: b}", "web"),
    stack("§3 a merge key", "x-a: &a {image: i, user: u}\nservices: {web: {<<: *a, user: v}}",
          {"services.web.image": "i", "services.web.user": "v"}),
    stack("§3 a merge key with a list, the earlier wins",
          "x-a: &a {image: i, user: u}\nx-b: &b {user: v, working_dir: /w}\nservices: {web: {<<: [*a, *b]}}",
          {"services.web.user": "u", "services.web.working_dir": "/w"}),
    stack("§3 a merge key through an alias to a list",
          "x-a: &a [{image: i}, {user: u}]\nservices: {web: {<<: *a}}",
          {"services.web.user": "u", "services.web.image": "i"}),
    stack("§3 merge keys nest", "x-a: &a {image: i, environment: &e {A: 1}}\nservices: {web: {<<: *a, environment: {<<: *e, B: 2}}}",
          {"services.web.environment": {"A": "1", "B": "2"}}),
    stack("§3 an alias is a copy", "services: {a: &a {image: i}, b: *a}", {"services.a.image": "i", "services.b.image": "i"}),
    refuse("§3 an unknown alias is refused", "services: {a: *nope}", "nope"),
    refuse("§3 anchors end with their file", "", "a",
           files={"a.yaml": "x-a: &a {image: i}\nservices: {}", "b.yaml": "services: {web: *a}"},
           flags=("-f", "a.yaml", "-f", "b.yaml")),
    refuse("§3 a cycle of aliases is refused", "x-a: &a {b: *a}\nservices: {web: {image: i}}", "a"),
    refuse("§3 the visits of a document are bounded", _BOMB + "services: {web: {image: i}}", "alias", mark="alias-bomb"),
    refuse("§3 a merge key needs a mapping", "services: {web: {<<: 1, image: i}}", "<<"),
    stack("§3 anchors come before variables", "x-u: &u ${U}\n" + service("user: *u"), {"services.web.user": "v"}, environment={"U": "v"}),
    stack("§3 extensions stay", "x-top: {a: [1, b, null]}\n" + service("x-own: {c: d}, build: {context: ., x-b: 1}"),
          {"x-top": {"a": [1, "b", None]}}),
    stack("§3 x- is a name below services", "services: {x-web: {image: i}}", {"services.x-web.image": "i"}),
    stack("§3 x- is a name below networks and volumes",
          service("networks: [x-n], volumes: ['x-v:/v']") + "\nnetworks: {x-n: }\nvolumes: {x-v: }",
          {"networks.x-n.name": "demo_x-n", "volumes.x-v.name": "demo_x-v"}, differs="names-with-x"),
    stack("§3 x- is a name below depends_on", "services: {web: {image: i, depends_on: [x-db]}, x-db: {image: j}}",
          {"services.web.depends_on.x-db.condition": "service_started"}),
    refuse("§3 another unknown key is refused", "foo: 1\nservices: {web: {image: i}}", "unknown key"),
    no_web("§3 an unknown key of a service is refused", "prots: []", 'did you mean "ports"?'),
    no_web("§3 an unknown key deep down is refused", "healthcheck: {tset: a}", 'did you mean "test"?'),
    refuse("§3 a tab is no indentation", "services:\n\tweb: {image: i}", ""  "tab"),
    refuse("§3 an open bracket is refused", "services: [", "compose.yaml:"),
    stack("§3 block scalars", "services:\n  web:\n    image: i\n    environment:\n      A: |\n        x\n        y\n      B: >-\n        x\n        y\n",
          {"services.web.environment": {"A": "x\ny\n", "B": "x y"}}),
    stack("§3 a comment and a document marker", "# c\n---\nservices: {web: {image: i}} # d\n...\n", {"services.web.image": "i"}),
    stack("§3 a byte order mark is skipped", "\ufeffservices: {web: {image: i}}", {"services.web.image": "i", "x": ABSENT}),
    stack("§3 escapes of double quotes", service('environment: {A: "x\\ty\\u00e9"}'), {"services.web.environment.A": "x\ty\u00e9"}),
)  # fmt: skip
