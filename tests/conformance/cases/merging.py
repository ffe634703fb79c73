"""§6 merging."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.case import ABSENT, Case, Expected, refuse, stack


def _two(what: str, left: str, right: str, gives: Mapping[str, Expected], top: str = "") -> Case:
    """Return the case that a service's two bodies come to `gives`."""
    paths = {f"services.web.{key}": value for key, value in gives.items()}
    return stack(f"§6 {what}", f"services: {{web: {{image: i, {left}}}}}\n{top}", paths,
                 files={"compose.override.yaml": f"services: {{web: {{{right}}}}}"})  # fmt: skip


def _tag(what: str, left: str, right: str, gives: Mapping[str, Expected]) -> Case:
    paths = {f"services.web.{key}": value for key, value in gives.items()}
    return stack(f"§6.1 {what}", f"services: {{web: {{image: i, {left}}}}}", paths,
                 files={"compose.override.yaml": f"services: {{web: {{{right}}}}}"})  # fmt: skip


def _bad(what: str, left: str, right: str, why: str) -> Case:
    return refuse(f"§6 {what} is refused", f"services: {{web: {{image: i, {left}}}}}", why,
                  files={"compose.override.yaml": f"services: {{web: {{{right}}}}}"})  # fmt: skip


_AB = {"A": "1", "B": "2"}

CASES: tuple[Case, ...] = (
    _two("a scalar is replaced", "user: a", "user: b", {"user": "b"}),
    _two("a null on the right keeps the left", "user: a", "user: ", {"user": "a"}),
    _two("command is replaced whole", "command: [a, b]", "command: [c]", {"command": ["c"]}),
    _two("command is cleared by an empty list", "command: [a]", "command: []", {"command": []}),
    _two("command is replaced by null", "command: [a]", "command: null", {"command": None}),
    _two("entrypoint is replaced whole", "entrypoint: a b", "entrypoint: [c]", {"entrypoint": ["c"]}),
    _two("a health test is replaced whole", "healthcheck: {test: [CMD, a], retries: 2}", "healthcheck: {test: b}",
         {"healthcheck.test": ["CMD-SHELL", "b"], "healthcheck.retries": 2}),
    *(_two(f"{key}: mapping and list go together", f"{key}: {{A: 1, B: 1}}", f"{key}: [B=2, C=3]", {key: {**_AB, "C": "3"}})
      for key in ("environment", "labels", "annotations", "sysctls")),
    *(_two(f"build.{key}: mapping and list go together", f"build: {{context: ., {key}: {{A: '1', B: '1'}}}}",
           f"build: {{{key}: [B=2, C=3]}}", {f"build.{key}": {**_AB, "C": "3"}}) for key in ("args", "labels")),
    _two("deploy.labels: mapping and list go together", "deploy: {labels: {A: '1', B: '1'}}", "deploy: {labels: [B=2]}", {"deploy.labels": _AB}),
    _two("a bare variable over a value", "environment: {A: 1}", "environment: [A]", {"environment": {"A": None}}),
    _two("dns is concatenated and single", "dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]", {"dns": ["1.1.1.1", "2.2.2.2"]}),
    _two("dns_search is concatenated", "dns_search: a", "dns_search: b", {"dns_search": ["a", "b"]}),
    _two("dns_opt is concatenated and single", "dns_opt: [a, b]", "dns_opt: [b, c]", {"dns_opt": ["a", "b", "c"]}),
    _two("tmpfs is concatenated", "tmpfs: /a", "tmpfs: [/b, '/c:size=1m']", {"tmpfs": ["/a", "/b", "/c:size=1m"]}),
    _two("extra_hosts: the same host with another address adds", "extra_hosts: [h=1.1.1.1]", "extra_hosts: {h: 2.2.2.2, g: 3.3.3.3}",
         {"extra_hosts": ["g=3.3.3.3", "h=1.1.1.1", "h=2.2.2.2"]}),
    _two("extra_hosts: identical entries are one", "extra_hosts: [h=1.1.1.1]", "extra_hosts: [h=1.1.1.1]", {"extra_hosts": ["h=1.1.1.1"]}),
    _two("build: a string goes with a mapping", "build: ./x", "build: {target: t}", {"build.context": "/w/demo/x", "build.target": "t"}),
    _two("build: a mapping goes with a string", "build: {context: ., target: t}", "build: ./y", {"build.context": "/w/demo/y", "build.target": "t"}),
    stack("§6 depends_on: a list goes with a mapping", "services: {web: {image: i, depends_on: [a]}, a: {image: j}, b: {image: k}}",
          {"services.web.depends_on.a.condition": "service_healthy", "services.web.depends_on.b.condition": "service_started"},
          files={"compose.override.yaml": "services: {web: {depends_on: {a: {condition: service_healthy}, b: {condition: service_started}}}}"}),
    stack("§6 networks: a list goes with a mapping", "services: {web: {image: i, networks: [a]}}\nnetworks: {a: , b: }",
          {"services.web.networks": {"a": {"aliases": ["x"]}, "b": None}},
          files={"compose.override.yaml": "services: {web: {networks: {a: {aliases: [x]}, b: }}}"}),
    _two("logging of another driver is replaced", "logging: {driver: a, options: {x: '1'}}", "logging: {driver: b, options: {y: '2'}}",
         {"logging": {"driver": "b", "options": {"y": "2"}}}),
    _two("logging of the same driver is merged", "logging: {driver: a, options: {x: '1'}}", "logging: {driver: a, options: {y: '2'}}",
         {"logging": {"driver": "a", "options": {"x": "1", "y": "2"}}}),
    _two("logging without a driver is merged", "logging: {driver: a, options: {x: '1'}}", "logging: {options: {y: '2'}}",
         {"logging": {"driver": "a", "options": {"x": "1", "y": "2"}}}),
    _two("a ulimit is replaced", "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}", "ulimits: {nofile: 5}",
         {"ulimits": {"nofile": 5, "nproc": 3}}),
    _two("ports are single by address, published, target and protocol", "ports: ['80:80', '81:80', '80:80/udp']",
         "ports: [{target: 80, published: '80'}, '82:80', '127.0.0.1:80:80']",
         {"ports.3.published": "82", "ports.4.host_ip": "127.0.0.1", "ports.5": ABSENT}),
    _two("volumes are single by target, in place", "volumes: ['./a:/x', './b:/y']", "volumes: ['./c:/x:ro', './d:/z']",
         {"volumes.0.source": "/w/demo/c", "volumes.0.read_only": True, "volumes.1.source": "/w/demo/b", "volumes.2.target": "/z"}),
    _two("devices are single by path in the container", "devices: ['/dev/a:/dev/x']", "devices: ['/dev/b:/dev/x', '/dev/c']",
         {"devices.0.source": "/dev/b", "devices.1.source": "/dev/c"}),
    _two("configs are single by target", "configs: [c, {source: c, target: /y}]", "configs: [{source: d, target: /c}]",
         {"configs.0.source": "d", "configs.1.target": "/y"}, "configs: {c: {content: x}, d: {content: y}}"),
    _two("secrets are single by target", "secrets: [s]", "secrets: [{source: t, target: /run/secrets/s}]",
         {"secrets": [{"source": "t", "target": "/run/secrets/s"}]}, "secrets: {s: {file: ./s}, t: {file: ./t}}"),
    *(_two(f"{key} is concatenated, doubles dropped", f"{key}: [A, B]", f"{key}: [B, C]", {key: ["A", "B", "C"]})
      for key in ("cap_add", "cap_drop")),
    _two("expose is concatenated, doubles dropped", "expose: [80]", "expose: ['80', 81]", {"expose": ["80", "81"]}),
    _two("build.tags are concatenated, doubles dropped", "build: {context: ., tags: [a, b]}", "build: {tags: [b, c]}",
         {"build.tags": ["a", "b", "c"]}),
    _two("security_opt is concatenated", "security_opt: [a]", "security_opt: [b]", {"security_opt": ["a", "b"]}),
    _two("group_add is concatenated", "group_add: [a]", "group_add: [7]", {"group_add": ["a", "7"]}),
    _two("device_cgroup_rules are concatenated", "device_cgroup_rules: ['c 1:3 mr']", "device_cgroup_rules: ['c 7:* rmw']",
         {"device_cgroup_rules": ["c 1:3 mr", "c 7:* rmw"]}),
    _two("external_links are concatenated", "external_links: [a]", "external_links: [b]", {"external_links": ["a", "b"]}),
    _two("cap_add does not take cap_drop back", "cap_drop: [A]", "cap_add: [A]", {"cap_drop": ["A"], "cap_add": ["A"]}),
    stack("§6 env_file is concatenated, single by path", "services: {web: {image: i, env_file: a.env}}",
          {"services.web.environment": {"A": "0"}},
          files={"compose.override.yaml": "services: {web: {env_file: [b.env, a.env]}}", "a.env": "A=1", "b.env": "A=0"}),
    stack("§6 env_file is single however the path is spelled", "services: {web: {image: i, env_file: a.env}}",
          {"services.web.environment": {"A": "0"}}, differs="spelling-of-paths",
          files={"compose.override.yaml": "services: {web: {env_file: [b.env, ./a.env]}}", "a.env": "A=1", "b.env": "A=0"}),
    _two("hooks are concatenated", "post_start: [{command: [a]}]", "post_start: [{command: [b]}]",
         {"post_start.0.command": ["a"], "post_start.1.command": ["b"]}),
    _two("develop.watch is concatenated", "build: ., develop: {watch: [{path: a, action: rebuild}]}",
         "develop: {watch: [{path: b, action: rebuild}]}", {"develop.watch.1.path": "/w/demo/b"}),
    _two("placement is concatenated", "deploy: {placement: {constraints: [a]}}", "deploy: {placement: {constraints: [b]}}",
         {"deploy.placement.constraints": ["a", "b"]}),
    stack("§6 ipam configs are merged by subnet",
          "services: {web: {image: i}}\nnetworks: {default: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}",
          {"networks.default.ipam.config": [{"subnet": "10.0.0.0/8", "gateway": "10.0.0.1"}, {"subnet": "11.0.0.0/8"}]},
          files={"compose.override.yaml":
                 "networks: {default: {ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}, {subnet: 11.0.0.0/8}]}}}"}),
    stack("§6 labels of volumes go together", "services: {web: {image: i, volumes: ['vol:/v']}}\nvolumes: {vol: {labels: {A: '1', B: '1'}}}",
          {"volumes.vol.labels": _AB}, files={"compose.override.yaml": "volumes: {vol: {labels: [B=2]}}"}),
    stack("§6 a service may be added", "services: {web: {image: i}}", {"services.db.image": "j"},
          files={"compose.override.yaml": "services: {db: {image: j}}"}),
    stack("§6 extensions are merged", "x-a: {b: 1, c: [1]}\nservices: {web: {image: i}}", {"x-a": {"b": 1, "c": [1, 2], "d": 3}},
          files={"compose.override.yaml": "x-a: {c: [2], d: 3}"}),
    stack("§6 a mapping replaces a scalar", "services: {web: {image: i, x-a: b}}", {"services.web.x-a": {"c": 1}},
          files={"compose.override.yaml": "services: {web: {x-a: {c: 1}}}"}),
    _bad("a scalar over a mapping", "x-a: {b: c}", "x-a: d", "x-a"),
    _bad("a list over a mapping", "healthcheck: {test: x}", "healthcheck: [a]", "healthcheck"),
    _bad("a mapping over a list", "cap_add: [a]", "cap_add: {b: c}", "cap_add"),
    _bad("a double where the format wants none", "security_opt: [a]", "security_opt: [a]", "security_opt"),
    # §6.1
    _tag("!reset takes a list away", "ports: ['80:80']", "ports: !reset []", {"ports": ABSENT}),
    _tag("!reset takes a scalar away", "user: u", "user: !reset null", {"user": ABSENT}),
    _tag("the value of !reset is ignored", "user: u", "user: !reset whatever", {"user": ABSENT}),
    _tag("!reset takes one variable away", "environment: {A: 1, B: 2}", "environment: {A: !reset null}", {"environment": {"B": "2"}}),
    _tag("!reset of a mapping takes it whole", "labels: {a: b}", "labels: !reset {c: d}", {"labels": ABSENT}),
    _tag("!override replaces a list", "ports: ['80:80']", "ports: !override ['81:81']", {"ports.0.published": "81", "ports.1": ABSENT}),
    _tag("!override replaces a mapping", "labels: {a: b}", "labels: !override {c: d}", {"labels": {"c": "d"}}),
    stack("§6.1 !reset takes a service away", "services: {web: {image: i}, db: {image: j}}", {"services.db": ABSENT},
          files={"compose.override.yaml": "services: {db: !reset null}"}),
    stack("§6.1 !reset takes a network away", "services: {web: {image: i}}\nnetworks: {default: {driver: x}}", {"networks.default": {"name": "demo_default"}},
          files={"compose.override.yaml": "networks: {default: !reset null}"}),
    stack("§6.1 !reset in a lone file takes the key away", "services: {web: {image: i, user: !reset u}}", {"services.web.user": ABSENT}),
    stack("§6.1 !reset behind an alias", "services: {web: {image: i, user: u, working_dir: /w}}", {"services.web.user": ABSENT},
          files={"compose.override.yaml": "x-a: &a {user: !reset null}\nservices: {web: *a}"}, differs="reset-by-alias"),
    stack("§6.1 !override behind a merge key", "services: {web: {image: i, cap_add: [A]}}", {"services.web.cap_add": ["B"]},
          files={"compose.override.yaml": "x-a: &a {cap_add: !override [B]}\nservices: {web: {<<: *a}}"}),
    refuse("§6.1 !reset may take away what is needed", "services: {web: {image: i}}", "neither an image",
           files={"compose.override.yaml": "services: {web: {image: !reset null}}"}),
)  # fmt: skip
