"""§13 build, §14 deploy, §15 develop."""

from __future__ import annotations

from tests.conformance.case import ABSENT, Case, Expected, no_web, refuse, service, stack, web


def _build(key: str, written: str, meant: Expected, mark: str = "", differs: str = "") -> Case:
    return stack(f"§13 {key}: {written}", f"services: {{web: {{build: {{context: ., {key}: {written}}}}}}}",
                 {f"services.web.build.{key}": meant}, mark=mark, differs=differs)  # fmt: skip


def _no_build(what: str, body: str, why: str) -> Case:
    return refuse(f"§13 {what}", f"services: {{web: {{build: {body}}}}}", why)


def _deploy(written: str, path: str, meant: Expected, mark: str = "") -> Case:
    return stack(
        f"§14 {written}",
        service(f"deploy: {{{written}}}"),
        {f"services.web.deploy.{path}": meant},
        mark=mark,
    )


_UPDATE = "parallelism: 2, delay: 10s, failure_action: continue, monitor: 1m, max_failure_ratio: 0.3, order: start-first"
_UPDATED: Expected = {"parallelism": 2, "delay": "10s", "failure_action": "continue", "monitor": "1m0s", "max_failure_ratio": 0.3,
                      "order": "start-first"}  # fmt: skip

CASES: tuple[Case, ...] = (
    stack("§13 a string is the context", "services: {web: {build: ./x}}",
          {"services.web.build": {"context": "/w/demo/x", "dockerfile": "Dockerfile"}}),
    stack("§13 the context is . by default", "services: {web: {build: {target: t}}}", {"services.web.build.context": "/w/demo"}),
    _build("dockerfile", "D", "D"),
    _build("dockerfile_inline", "'FROM x'", "FROM x"),
    _no_build("two Dockerfiles are refused", "{context: ., dockerfile: D, dockerfile_inline: FROM x}", "dockerfile"),
    stack("§13 args, bare ones from the environment", "services: {web: {build: {context: ., args: {A: , B: 1, C: true, D: }}}}",
          {"services.web.build.args": {"A": "x", "B": "1", "C": "true"}}, environment={"A": "x"}),
    _build("args", "[A=1, B]", {"A": "1"}),
    _build("target", "t", "t"),
    _build("additional_contexts", "[a=./x, b=docker-image://y]", {"a": "/w/demo/x", "b": "docker-image://y"}),
    stack("§13 a context of another service", "services: {web: {build: {context: ., additional_contexts: {b: 'service:base'}}}, base: {build: ./b}}",
          {"services.web.build.additional_contexts": {"b": "service:base"}}),
    refuse("§13 a context of an unknown service", "services: {web: {build: {context: ., additional_contexts: {b: 'service:nope'}}}}", "nope"),
    refuse("§13 a context of a service that is not built",
           "services: {web: {build: {context: ., additional_contexts: {b: 'service:db'}}}, db: {image: j}}", "db"),
    _build("cache_from", "[type=registry]", ["type=registry"]), _build("cache_to", "[x]", ["x"]),
    _build("no_cache", "true", True), _build("pull", "true", True),
    _build("no_cache_filter", "[a, b]", ["a", "b"], "no-cache-filter", "no-cache-filter"),
    _build("no_cache_filter", "a", ["a"], differs="no-cache-filter"),
    _build("network", "host", "host"), _build("extra_hosts", "[b=1.1.1.1, 'a:2.2.2.2']", ["a=2.2.2.2", "b=1.1.1.1"]),
    _build("labels", "{a: 1}", {"a": "1"}), _build("tags", "[a, b]", ["a", "b"]), _build("platforms", "[linux/amd64]", ["linux/amd64"]),
    _build("shm_size", "1m", "1048576"), _build("ulimits", "{nofile: 5}", {"nofile": 5}), _build("isolation", "x", "x"),
    _build("privileged", "true", True), _build("entitlements", "[network.host]", ["network.host"]),
    _build("ssh", "[default, a=./k]", ["default", "a=/w/demo/k"], differs="two-ssh-keys"), _build("ssh", "{default: }", ["default"]),
    _build("provenance", "true", "true"), _build("provenance", "mode=max", "mode=max"), _build("sbom", "true", "true"),
    stack("§13 secrets of a build", "services: {web: {build: {context: ., secrets: [s, {source: s, target: t}]}}}\nsecrets: {s: {file: ./s}}",
          {"services.web.build.secrets.0.source": "s"}),
    refuse("§13 an undefined secret of a build", "services: {web: {build: {context: ., secrets: [s]}}}", "s"),
    refuse("§13 a platform that is not built", "services: {web: {platform: linux/arm64, build: {context: ., platforms: [linux/amd64]}}}", "linux/arm64"),
    stack("§13 a platform that is built", "services: {web: {platform: linux/amd64, build: {context: ., platforms: [linux/amd64]}}}",
          {"services.web.platform": "linux/amd64"}),
    _no_build("an unknown key is refused", "{context: ., foo: 1}", "foo"),
    _no_build("ssh as a string is refused", "{context: ., ssh: default}", "ssh"),
    _no_build("a list is refused", "[a]", "build"),
    # §14
    web("§14 null is allowed", "deploy: ", image="i"),
    *(_deploy(f"mode: {word}", "mode", word) for word in ("replicated", "global", "replicated-job", "global-job")),
    _deploy("replicas: 0", "replicas", 0), _deploy("replicas: 3", "replicas", 3), _deploy("endpoint_mode: dnsrr", "endpoint_mode", "dnsrr"),
    _deploy("labels: [a=b]", "labels", {"a": "b"}),
    _deploy("placement: {constraints: [a], preferences: [{spread: b}], max_replicas_per_node: 2}", "placement",
            {"constraints": ["a"], "preferences": [{"spread": "b"}], "max_replicas_per_node": 2}),
    _deploy("resources: {limits: {cpus: '0.50', memory: 50m, pids: 5}}", "resources.limits", {"cpus": 0.5, "memory": "52428800", "pids": 5}),
    _deploy("resources: {reservations: {cpus: '0.25', memory: 20m}}", "resources.reservations", {"cpus": 0.25, "memory": "20971520"}),
    _deploy("resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: g, value: 2}}]}}",
            "resources.reservations.generic_resources", [{"discrete_resource_spec": {"kind": "g", "value": 2}}]),
    _deploy("resources: {reservations: {devices: [{capabilities: [gpu], driver: n, count: 2, options: {a: b}}]}}",
            "resources.reservations.devices", [{"capabilities": ["gpu"], "driver": "n", "count": 2, "options": {"a": "b"}}]),
    _deploy("resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}", "resources.reservations.devices.0.count", -1),
    _deploy("resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ['0']}]}}",
            "resources.reservations.devices", [{"capabilities": ["gpu"], "device_ids": ["0"]}]),
    stack("§14 restart_policy beside restart", service("restart: always, deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}}"),
          {"services.web.deploy.restart_policy": {"condition": "on-failure", "delay": "5s", "max_attempts": 3, "window": "2m0s"},
           "services.web.restart": "always"}, mark="restart-condition"),
    _deploy(f"update_config: {{{_UPDATE}}}", "update_config", _UPDATED, "update-config"),
    _deploy(f"rollback_config: {{{_UPDATE}}}", "rollback_config", _UPDATED, "update-config"),
    no_web("§14 another mode", "deploy: {mode: x}", "mode", differs="modes-of-deploy"),
    no_web("§14 no negative replicas", "deploy: {replicas: -1}", "replicas"),
    no_web("§14 a device needs capabilities", "deploy: {resources: {reservations: {devices: [{count: 1}]}}}", "capabilities"),
    no_web("§14 count and ids of a device", "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: 1, device_ids: ['0']}]}}}", "device"),
    no_web("§14 another order", "deploy: {update_config: {order: x}}", "order"),
    no_web("§14 rollback is no action of a rollback", "deploy: {rollback_config: {failure_action: rollback}}", "failure_action",
           differs="rollback-of-rollback"),
    no_web("§14 an unknown key", "deploy: {foo: 1}", "foo"),
    # §15
    web("§15 null is allowed", "develop: ", image="i"),
    web("§15 everything", "build: ., develop: {watch: [{path: ./s, action: sync, target: /t, ignore: [n/], include: '*.py', initial_sync: true}]}",
        **{"develop.watch.0.path": "/w/demo/s", "develop.watch.0.action": "sync", "develop.watch.0.target": "/t", "develop.watch.0.ignore": ["n/"],
           "develop.watch.0.include": ["*.py"]}),
    web("§15 rebuild needs no target", "build: ., develop: {watch: [{path: p, action: rebuild}]}", **{"develop.watch.0.action": "rebuild"}),
    web("§15 exec", "build: ., develop: {watch: [{path: p, action: sync+exec, target: /t, exec: {command: a b, user: u}}]}",
        **{"develop.watch.0.exec.command": ["a", "b"], "develop.watch.0.exec.user": "u"}),
    web("§15 a string to ignore", "build: ., develop: {watch: [{path: p, action: sync, target: /t, ignore: n}]}", **{"develop.watch.0.ignore": ["n"]}),
    no_web("§15 a path is needed", "develop: {watch: [{action: rebuild}]}", "path"),
    no_web("§15 an action is needed", "develop: {watch: [{path: x}]}", "action"),
    no_web("§15 another action", "develop: {watch: [{path: x, action: y}]}", "action"),
    no_web("§15 sync needs a target", "develop: {watch: [{path: x, action: sync}]}", "target"),
    no_web("§15 a path that is blank", "develop: {watch: [{path: '', action: rebuild}]}", "path"),
    web("§15 no rules", "develop: {watch: []}", **{"develop.foo": ABSENT}),
)  # fmt: skip
