"""§4 interpolation."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import Case, no_web, refuse, service, stack, with_environment


def _template(section: str, template: str, meant: str, **environment: str) -> Case:
    quoted = "'" + template.replace("'", "''") + "'"
    shown = ",".join(f"{key}={value}" for key, value in environment.items())
    return stack(f"§{section} {template!r} with {shown or 'nothing'} is {meant!r}", service(f"user: {quoted}") if meant else
                 service(f"environment: {{A: {quoted}}}"),
                 {"services.web.user": meant.replace("$", "$$")} if meant else {"services.web.environment.A": ""},
                 environment=environment)  # fmt: skip


def _bad(template: str, why: str) -> Case:
    return no_web(f"§4.2 {template!r} is refused", f"user: '{template}'", why)


def _cast(path: str, body: str, value: object) -> Case:
    return stack(f"§4.4 {body} is cast", service(body), {f"services.web.{path}": value},  # type: ignore[dict-item]
                 environment={"N": "3", "F": "0.5", "T": "true"})  # fmt: skip


CASES: tuple[Case, ...] = (
    _template("4.1", "$A", "x", A="x"),
    _template("4.1", "${A}", "x", A="x"),
    _template("4.1", "a$A-b", "ax-b", A="x"),
    _template("4.1", "$A$B", "xy", A="x", B="y"),
    _template("4.1", "$_A1", "x", _A1="x"),
    _template("4.1", "${A:-w}", "w"),
    _template("4.1", "${A:-w}", "w", A=""),
    _template("4.1", "${A:-w}", "x", A="x"),
    _template("4.1", "${A-w}", "w"),
    _template("4.1", "${A-w}", "", A=""),
    _template("4.1", "${A-w}", "x", A="x"),
    _template("4.1", "${A:+w}", "w", A="x"),
    _template("4.1", "${A:+w}", "", A=""),
    _template("4.1", "${A:+w}", ""),
    _template("4.1", "${A+w}", "w", A=""),
    _template("4.1", "${A+w}", ""),
    _template("4.1", "${A:?no}", "x", A="x"),
    _template("4.1", "${A?no}", "", A=""),
    _template("4.1", "${A:-${B:-c}}", "c"),
    _template("4.1", "${A:-${B:-c}}", "y", B="y"),
    _template("4.1", "${A:-$B}", "y", B="y"),
    _template("4.1", "${A:+x${B}y}", "xzy", A="1", B="z"),
    _template("4.1", "${A:-b:?c}", "b:?c"),
    _template("4.1", "${A:-http://h:80/x-y}", "http://h:80/x-y"),
    _template("4.1", "${A:-a b}", "a b"),
    _template("4.1", "${A:-${B:-${C:-d}}}", "d"),
    _template("4.1", "${A:-{x}}", "{x}"),
    _template("4.1", "${A-b-c}", "b-c"),
    _template("4.1", "${A:-b?c}", "b?c"),
    _template("4.1", "${A?b:-c}", "v", A="v"),
    _template("4.1", "${A:-$$x}", "$x"),
    replace(_template("4.1", "${B:-${A:?no}}", "y", B="y"), differs="lazy-words"),
    _template("4.1", "$A", "$B", A="$B", B="y"),
    _template("4.1", "${A:-\"q\"}", '"q"'),
    no_web("§4.1 :? with nothing set is refused", "user: '${A:?why so}'", "why so"),
    no_web("§4.1 ? with nothing set is refused", "user: '${A?why so}'", "why so"),
    no_web("§4.1 :? with an empty value is refused", "user: '${A:?why so}'", "why so", environment={"A": ""}),
    no_web("§4.1 :? without a word is refused", "user: '${A:?}'", "A"),
    no_web("§4.1 the word of :? is interpolated", "user: '${A:?need $B}'", "need it", environment={"B": "it"}),
    _template("4.2", "$$A", "$A", A="x"),
    _template("4.2", "$${A}", "${A}", A="x"),
    _template("4.2", "$$$A", "$x", A="x"),
    _template("4.2", "$$$$A", "$$A", A="x"),
    _template("4.2", "a $ b", "a $ b"),
    _template("4.2", "^R$", "^R$"),
    _template("4.2", "$}", "$}"),
    _template("4.2", "$5", "$5"),
    _template("4.2", "a$", "a$"),
    _template("4.2", "$-x", "$-x"),
    *(_bad(text, "interpolation") for text in ("${", "${}", "${ }", "${ A}", "${A }", "${A!}", "${1A}", "${A", "${A:x}", "${A/x/y}", "${#A}")),
    _template("4.2", "$(cmd)", "$(cmd)"),
    with_environment("§4.2 an unset variable is empty, with a warning", "environment: {A: 'x${NOPE}'}", {}, "NOPE",
                     **{"environment.A": "x"}),
    stack("§4.3 keys are not interpolated", service("environment: {$K: v}"), {"services.web.environment": {"$K": "v"}},
          environment={"K": "k"}, differs="dollars-in-keys"),
    stack("§4.3 a list entry is a value, with its key", service("environment: ['$K=v']"), {"services.web.environment": {"k": "v"}},
          environment={"K": "k"}),
    stack("§4.3 extensions are interpolated", "x-a: {b: [$K]}\n" + service("user: u"), {"x-a": {"b": ["k"]}}, environment={"K": "k"}),
    stack("§4.3 content of a config is interpolated", service("configs: [c]") + "\nconfigs: {c: {content: 'a $K'}}",
          {"configs.c.content": "a k"}, environment={"K": "k"}),
    stack("§4.3 before merging, for each file", "", {"services.web.user": "k"},
          files={"a.yaml": service("user: $K"), "b.yaml": "services: {web: {working_dir: /$K}}"},
          flags=("-f", "a.yaml", "-f", "b.yaml"), environment={"K": "k"}),
    refuse("§4.3 a bad template in an extension is refused too", "x-a: '${'\n" + service("user: u"), "interpolation"),
    _cast("cpu_count", "cpu_count: $N", 3),
    _cast("cpu_shares", "cpu_shares: $N", 3),
    _cast("cpu_quota", "cpu_quota: $N", 3),
    _cast("oom_score_adj", "oom_score_adj: $N", 3),
    _cast("pids_limit", "pids_limit: $N", 3),
    _cast("scale", "scale: $N", 3),
    _cast("ports.0.target", "ports: [{target: $N}]", 3),
    _cast("ulimits.nofile", "ulimits: {nofile: $N}", 3),
    _cast("ulimits.nofile.soft", "ulimits: {nofile: {soft: $N, hard: 5}}", 3),
    _cast("healthcheck.retries", "healthcheck: {test: x, retries: $N}", 3),
    _cast("deploy.replicas", "deploy: {replicas: $N}", 3),
    _cast("deploy.update_config.parallelism", "deploy: {update_config: {parallelism: $N}}", 3),
    _cast("deploy.restart_policy.max_attempts", "deploy: {restart_policy: {max_attempts: $N}}", 3),
    _cast("cpus", "cpus: $F", 0.5),
    replace(_cast("cpu_percent", "cpu_percent: $F", 0.5), differs="cpu-percent"),
    _cast("deploy.update_config.max_failure_ratio", "deploy: {update_config: {max_failure_ratio: $F}}", 0.5),
    _cast("init", "init: $T", True),
    _cast("privileged", "privileged: $T", True),
    _cast("read_only", "read_only: $T", True),
    _cast("stdin_open", "stdin_open: $T", True),
    _cast("tty", "tty: $T", True),
    _cast("oom_kill_disable", "oom_kill_disable: $T", True),
    _cast("healthcheck.disable", "healthcheck: {disable: $T}", True),
    _cast("volumes.0.read_only", "volumes: [{type: tmpfs, target: /t, read_only: $T}]", True),
    stack("§4.4 flags of a network are cast", service("networks: [n]") + "\nnetworks: {n: {internal: $T, attachable: 'true', enable_ipv6: $T}}",
          {"networks.n.internal": True, "networks.n.attachable": True, "networks.n.enable_ipv6": True}, environment={"T": "true"}),
    stack("§4.4 external is cast", service("networks: [n]") + "\nnetworks: {n: {external: $T}}", {"networks.n.external": True},
          environment={"T": "true"}),
    *(with_environment(f"§4.4 {word} is {meant}, with a warning", "tty: $B, user: u", {"B": word}, "is read as",
                       **({"tty": True} if meant else {}))
      for word, meant in (("y", True), ("Yes", True), ("on", True), ("n", False), ("NO", False), ("off", False))),
    stack("§4.4 a plain string is cast too", service('privileged: "true"'), {"services.web.privileged": True}),
    no_web("§4.4 not a boolean", "privileged: maybe", "true or false"),
    no_web("§4.4 not a number", "scale: many", "many"),
    no_web("§4.4 not a float", "cpus: many", "many"),
)  # fmt: skip
