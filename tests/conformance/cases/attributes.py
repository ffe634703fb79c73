"""§10 kinds of values, §11 the top level, §12.1-12.4, §12.6, §12.7 attributes of services."""

from __future__ import annotations

from dataclasses import replace

from tests.conformance.case import ABSENT, Case, no_web, refuse, service, stack, web

_PORT = {"mode": "ingress", "protocol": "tcp"}


def _bytes(written: str, meant: str) -> Case:
    return web(f"§10 {written} of memory", f"mem_limit: {written}", mem_limit=meant)


def _duration(written: str, meant: str) -> Case:
    return web(f"§10 {written} of time", f"stop_grace_period: {written}", stop_grace_period=meant)


def _kept(section: str, key: str, written: str, meant: object) -> Case:
    return stack(
        f"§{section} {key}: {written}", service(f"{key}: {written}"), {f"services.web.{key}": meant}
    )  # type: ignore[dict-item]


def _ports(written: str, *meant: dict[str, object]) -> Case:
    return stack(f"§12.4 the port {written}", service(f"ports: [{written}]"),
                 {"services.web.ports": [_PORT | port for port in meant]})  # type: ignore[dict-item]  # fmt: skip


CASES: tuple[Case, ...] = (
    # §10
    _bytes("1024", "1024"), _bytes("'64m'", "67108864"), _bytes("64M", "67108864"), _bytes("1k", "1024"), _bytes("1kb", "1024"),
    _bytes("1.5g", "1610612736"), _bytes("1KiB", "1024"), _bytes("2gb", "2147483648"), _bytes("1t", "1099511627776"), _bytes("10b", "10"),
    _bytes("'50 m'", "52428800"),
    no_web("§10 not a size", "mem_limit: 5x", "mem_limit"), no_web("§10 no negative size", "mem_limit: -5m", "mem_limit"),
    _duration("90s", "1m30s"), _duration("1h", "1h0m0s"), _duration("400ms", "400ms"), _duration("1.5m", "1m30s"), _duration("1m30s", "1m30s"),
    _duration("100us", "100\u00b5s"), _duration("'0'", "0s"), _duration("1h1m1s1ms", "1h1m1.001s"), _duration("10ns", "10ns"),
    stack("§10 a day", service("stop_grace_period: 1d"), {"services.web.stop_grace_period": "24h0m0s"}, mark="long-units"),
    stack("§10 a week", service("stop_grace_period: 1w"), {"services.web.stop_grace_period": "168h0m0s"}, mark="long-units"),
    no_web("§10 a number is no duration", "stop_grace_period: 10", "stop_grace_period"),
    no_web("§10 a number in quotes is no duration", "stop_grace_period: '10'", "stop_grace_period"),
    no_web("§10 not a duration", "stop_grace_period: soon", "soon"),
    web("§10 numbers and booleans become text", "labels: {a: 1, b: true, c: 1.5, d: '', e: }",
        labels={"a": "1", "b": "true", "c": "1.5", "d": "", "e": ""}),
    web("§10 a list of pairs", "labels: [a=1, b, c=d=e]", labels={"a": "1", "b": "", "c": "d=e"}),
    web("§10 one string is a list", "dns: 1.1.1.1", dns=["1.1.1.1"]),
    web("§10 a command is split", "command: echo 'a b' \"c d\" e\\ f", command=["echo", "a b", "c d", "e f"]),
    web("§10 a command has no shell", "command: echo $$A *", command=["echo", "$$A", "*"]),
    web("§10 an empty command clears", "command: ''", command=[]),
    web("§10 an empty list clears", "command: [], entrypoint: []", command=[], entrypoint=[]),
    web("§10 a list stays", "command: [a, 'b c', '']", command=["a", "b c", ""]),
    no_web("§10 an open quote in a command", "command: \"echo 'a\"", "command"),
    web("§10 hosts as a mapping", "extra_hosts: {b: 1.1.1.1, a: [2.2.2.2, 3.3.3.3]}", extra_hosts=["a=2.2.2.2", "a=3.3.3.3", "b=1.1.1.1"]),
    web("§10 hosts with equals and colon", "extra_hosts: ['b=1.1.1.1', 'a:2.2.2.2']", extra_hosts=["a=2.2.2.2", "b=1.1.1.1"]),
    web("§10 hosts with IPv6", "extra_hosts: ['a=[::1]', 'b=::1', 'c:::1']", extra_hosts=["a=::1", "b=::1", "c=::1"]),
    web("§10 hosts with several addresses", "extra_hosts: ['a=1.1.1.1,2.2.2.2']", extra_hosts=["a=1.1.1.1", "a=2.2.2.2"]),
    web("§10 host-gateway", "extra_hosts: [a=host-gateway]", extra_hosts=["a=host-gateway"]),
    no_web("§10 a host without address", "extra_hosts: [a]", "extra_hosts"),
    web("§10 cpus as text", "cpus: '1.50'", cpus=1.5),
    web("§10 a whole number of cpus", "cpus: 2", cpus=2),
    *(no_web(f"§10 doubles in {key}", f"{key}: [{item}, {item}]", key, "networks: {a: }\nmodels: {a: {model: x}}")
      for key, item in (("external_links", "a"), ("group_add", "a"), ("security_opt", "a"), ("networks", "a"), ("models", "a"),
                        ("device_cgroup_rules", "c 1:3 mr"))),
    *(stack(f"§10 doubles in {key} are dropped", service(f"{key}: [{item}, {item}]"), {f"services.web.{key}": [item]})
      for key, item in (("cap_add", "A"), ("cap_drop", "A"), ("dns_opt", "a"))),
    web("§10 doubles in environment are dropped", "environment: [A=1, A=1]", environment={"A": "1"}),
    # §11
    stack("§11 services may be empty", "services: {}", {"services": {}}),
    stack("§11 the top level without services", "name: x\nnetworks: {a: }", {"name": "x", "services": {}}),
    *(refuse(f"§11 {name!r} is no name of a service", f"services: {{'{name}': {{image: i}}}}", "name") for name in ("a b", "a/b", "é", "a$")),
    *(stack(f"§11 {name} is a name of a service", f"services: {{'{name}': {{image: i}}}}", {}) for name in ("a.b", "A-b_c", "9", "-x")),
    refuse("§11 services is a mapping", "services: [a]", "services"),
    refuse("§11 a service is a mapping", "services: {web: nginx}", "services.web"),
    refuse("§11 a service may not be null", "services: {web: }", "services.web"),
    stack("§11 extensions at the top", "x-a: 1\nservices: {web: {image: i}}", {"x-a": 1}),
    # §12.1
    no_web("§12.1 an image is a string", "image2: 5", "image2"),
    refuse("§12.1 an image, a build or a provider is needed", "services: {web: {user: u}}", "neither an image"),
    stack("§12.1 a build alone is enough", "services: {web: {build: .}}", {"services.web.image": ABSENT}),
    *(_kept("12.1", "pull_policy", word, word) for word in ("always", "never", "missing", "build", "daily", "weekly", "every_2d3h")),
    stack("§12.1 latest with missing stays as it is", "services: {web: {image: 'i:latest', pull_policy: missing}}",
          {"services.web.image": "i:latest", "services.web.pull_policy": "missing"}, mark="latest"),
    web("§12.1 if_not_present is missing", "pull_policy: if_not_present", pull_policy="missing"),
    no_web("§12.1 another pull policy", "pull_policy: sometimes", "pull_policy"),
    _kept("12.1", "platform", "linux/arm64/v8", "linux/arm64/v8"),
    _kept("12.1", "working_dir", "/x/../y", "/x/../y"),
    _kept("12.1", "user", "'1000:1000'", "1000:1000"),
    no_web("§12.1 a user is a string", "user: 1000", "user"),
    _kept("12.1", "group_add", "[0, '1', mail]", ["0", "1", "mail"]),
    _kept("12.1", "init", "true", True), _kept("12.1", "init", "false", False),
    _kept("12.1", "tty", "true", True), _kept("12.1", "tty", "false", ABSENT), _kept("12.1", "stdin_open", "true", True),
    no_web("§12.1 a blank at the end of a variable's name", "environment: ['A =x']", "ends with a space"),
    no_web("§12.1 a list as a variable's value", "environment: {A: [1]}", "environment"),
    _kept("12.1", "hostname", "a.b", "a.b"), _kept("12.1", "domainname", "x.y", "x.y"),
    _kept("12.1", "stop_signal", "SIGUSR1", "SIGUSR1"),
    _kept("12.1", "container_name", "my-name_1.x", "my-name_1.x"),
    no_web("§12.1 a bad container name", "container_name: '-a'", "container_name"),
    refuse("§12.1 a container name twice", "services: {a: {image: i, container_name: xx}, b: {image: j, container_name: xx}}", "xx"),
    no_web("§12.1 a container name and a scale", "container_name: ab, scale: 2", "container_name"),
    _kept("12.1", "scale", "0", 0), _kept("12.1", "scale", "3", 3),
    no_web("§12.1 no negative scale", "scale: -1", "scale"),
    _kept("12.1", "attach", "false", False), _kept("12.1", "runtime", "runc", "runc"), _kept("12.1", "isolation", "default", "default"),
    _kept("12.1", "read_only", "true", True), _kept("12.1", "privileged", "true", True), _kept("12.1", "use_api_socket", "true", True),
    stack("§12.1 a read-only root and a secret from a file", service("read_only: true, secrets: [s]") + "\nsecrets: {s: {file: ./s}}",
          {"services.web.read_only": True}, mark="read-only-secrets"),
    _kept("12.1", "credential_spec", "{file: x.json}", {"file": "x.json"}),
    # §12.2
    stack("§12.2 depends_on in short form", "services: {web: {image: i, depends_on: [db]}, db: {image: j}}",
          {"services.web.depends_on": {"db": {"condition": "service_started", "required": True}}}),
    stack("§12.2 depends_on in long form", "services: {web: {image: i, depends_on: {db: {condition: service_healthy, restart: true}}}, db: {image: j, healthcheck: {test: x}}}",
          {"services.web.depends_on": {"db": {"condition": "service_healthy", "required": True, "restart": True}}}),
    refuse("§12.2 depends_on needs a condition", "services: {web: {image: i, depends_on: {db: {restart: true}}}, db: {image: j}}", "condition"),
    refuse("§12.2 another condition", "services: {web: {image: i, depends_on: {db: {condition: ready}}}, db: {image: j}}", "condition"),
    refuse("§12.2 depends_on twice", "services: {web: {image: i, depends_on: [db, db]}, db: {image: j}}", "depends_on"),
    stack("§12.2 links imply a dependency", "services: {web: {image: i, links: ['db:x']}, db: {image: j}}",
          {"services.web.depends_on": {"db": {"condition": "service_started", "required": True, "restart": True}}, "services.web.links": ["db:x"]}),
    *(_kept("12.2", "restart", word, word) for word in ("always", "on-failure", "'on-failure:3'", "unless-stopped") if "'" not in word),
    web("§12.2 restart on-failure:3", "restart: 'on-failure:3'", restart="on-failure:3"),
    _kept("12.2", "external_links", "['a:b', c]", ["a:b", "c"]),
    stack("§12.2 a provider needs no image", "services: {web: {provider: {type: t, options: {a: 1, b: [x, y]}}}}",
          {"services.web.provider": {"type": "t", "options": {"a": ["1"], "b": ["x", "y"]}}}),
    # §12.3
    *(_kept("12.3", key, written, meant) for key, written, meant in (
        ("cpu_count", "2", 2), ("cpu_percent", "50", 50), ("cpu_shares", "512", 512), ("cpu_period", "100000", 100000),
        ("cpu_quota", "50000", 50000), ("cpuset", "'0-3,5'", "0-3,5"), ("mem_reservation", "1m", "1048576"),
        ("memswap_limit", "2m", "2097152"), ("memswap_limit", "-1", "-1"), ("oom_kill_disable", "true", True),
        ("oom_score_adj", "-500", -500), ("pids_limit", "-1", -1), ("pids_limit", "50", 50), ("shm_size", "64m", "67108864"),
        ("ulimits", "{nofile: 5, nproc: {soft: 1, hard: 2}}", {"nofile": 5, "nproc": {"soft": 1, "hard": 2}}),
        ("cgroup", "host", "host"), ("cgroup_parent", "x", "x"), ("storage_opt", "{size: 1G}", {"size": "1G"}),
        ("device_cgroup_rules", "['c 1:3 mr']", ["c 1:3 mr"]),
    )),
    replace(web("§12.3 cpu_rt_runtime as time", "cpu_rt_runtime: 400ms, cpu_rt_period: '1s'", cpu_rt_runtime="400ms"), differs="real-time-durations"),
    web("§12.3 cpu_rt_runtime as microseconds", "cpu_rt_runtime: 95000", cpu_rt_runtime=95000),
    no_web("§12.3 oom_score_adj has bounds", "oom_score_adj: 1001", "oom_score_adj"),
    no_web("§12.3 cpu_percent has bounds", "cpu_percent: 101", "cpu_percent"),
    no_web("§12.3 a ulimit needs both", "ulimits: {nofile: {soft: 1}}", "hard"),
    no_web("§12.3 names of ulimits are lower case", "ulimits: {NOFILE: 1}", "NOFILE", differs="names-of-ulimits"),
    no_web("§12.3 another cgroup mode", "cgroup: shared", "cgroup"),
    web("§12.3 disks", "blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /dev/sda, rate: 1mb}]}",
        **{"blkio_config.weight": 300, "blkio_config.weight_device": [{"path": "/dev/sda", "weight": 400}]}),
    no_web("§12.3 a disk rate needs a path", "blkio_config: {device_read_bps: [{rate: 1}]}", "path", differs="disk-without-path"),
    web("§12.3 gpus: all", "gpus: all", gpus=[{"count": -1}]),
    web("§12.3 gpus as a list", "gpus: [{driver: nvidia, count: 2}]", **{"gpus.0.count": 2, "gpus.0.driver": "nvidia"}),
    no_web("§12.3 gpus: count and ids", "gpus: [{count: 1, device_ids: ['0']}]", "gpus"),
    web("§12.3 a device alone", "devices: [/dev/fuse]", devices=[{"source": "/dev/fuse", "target": "/dev/fuse", "permissions": "rwm"}]),
    web("§12.3 a device in three parts", "devices: ['/dev/a:/dev/b:r']", devices=[{"source": "/dev/a", "target": "/dev/b", "permissions": "r"}]),
    web("§12.3 a device in long form", "devices: [{source: /dev/a, target: /dev/b, permissions: rw}]",
        devices=[{"source": "/dev/a", "target": "/dev/b", "permissions": "rw"}]),
    web("§12.3 a CDI device", "devices: ['vendor.com/class=name']", **{"devices.0.source": "vendor.com/class=name"}),
    no_web("§12.3 a device in four parts", "devices: ['a:b:c:d']", "devices"),
    # §12.4
    stack("§12.4 networks as a list", service("networks: [a, b]") + "\nnetworks: {a: , b: }", {"services.web.networks": {"a": None, "b": None}}),
    stack("§12.4 networks with everything", service("networks: {a: {aliases: [x], ipv4_address: 10.0.0.2, ipv6_address: 'fd00::2', link_local_ips: [169.254.1.1], mac_address: '02:42:ac:11:65:43', driver_opts: {o: 1}, priority: 100, gw_priority: 1, interface_name: eth9}}") + "\nnetworks: {a: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}",
          {"services.web.networks.a.priority": 100, "services.web.networks.a.gw_priority": 1, "services.web.networks.a.interface_name": "eth9"}),
    web("§12.4 no networks is the default one", "networks: []", networks={"default": None}),
    web("§12.4 network_mode", "network_mode: none", network_mode="none", networks=ABSENT),
    stack("§12.4 network_mode of a service implies a dependency", "services: {web: {image: i, network_mode: 'service:db'}, db: {image: j}}",
          {"services.web.depends_on": {"db": {"condition": "service_started", "required": True, "restart": True}}}),
    no_web("§12.4 network_mode and networks", "network_mode: host, networks: [a]", "network_mode", "networks: {a: }"),
    no_web("§12.4 an undefined network", "networks: [nope]", "nope"),
    no_web("§12.4 network_mode of an undefined service", "network_mode: 'service:nope'", "nope"),
    _ports("3000", {"target": 3000}), _ports("'3000'", {"target": 3000}),
    _ports("3000-3002", {"target": 3000}, {"target": 3001}, {"target": 3002}),
    _ports("8000:80", {"target": 80, "published": "8000"}),
    _ports("'9090-9091:8080-8081'", {"target": 8080, "published": "9090"}, {"target": 8081, "published": "9091"}),
    _ports("'8000-9000:80'", {"target": 80, "published": "8000-9000"}),
    _ports("'127.0.0.1:8001:8001'", {"target": 8001, "published": "8001", "host_ip": "127.0.0.1"}),
    _ports("'127.0.0.1::80'", {"target": 80, "host_ip": "127.0.0.1"}),
    _ports("'::1:6000:6000'", {"target": 6000, "published": "6000", "host_ip": "::1"}),
    _ports("'[::1]:6001:6001'", {"target": 6001, "published": "6001", "host_ip": "::1"}),
    _ports("6060:6060/udp", {"target": 6060, "published": "6060", "protocol": "udp"}),
    _ports("80/SCTP", {"target": 80, "protocol": "sctp"}),
    _ports("{target: 80, published: 8080, protocol: udp, mode: host, name: n, app_protocol: http}",
           {"target": 80, "published": "8080", "protocol": "udp", "mode": "host", "name": "n", "app_protocol": "http"}),
    _ports("{target: 80, published: '8080-8090'}", {"target": 80, "published": "8080-8090"}),
    *(no_web(f"§12.4 the port {text} is refused", f"ports: [{text}]", "ports")
      for text in ("'1-2:1-3'", "'65536'", "'99999:80'", "'x'", "'300.0.0.1:80:80'", "80/icmp", "{published: 80}", "{target: 80, host_ip: x}", "'9-5'", "{target: 80, foo: 1}", "''")),
    web("§12.4 expose", "expose: [80, '81', 90-92, 53/udp]", expose=["80", "81", "90-92", "53/udp"]),
    _kept("12.4", "dns_search", "[a, b]", ["a", "b"]), _kept("12.4", "dns_opt", "[use-vc]", ["use-vc"]),
    _kept("12.4", "mac_address", "'02:42:ac:11:65:43'", "02:42:ac:11:65:43"),
    # §12.6
    web("§12.6 a string is for the shell", "healthcheck: {test: curl x}", healthcheck={"test": ["CMD-SHELL", "curl x"]}),
    web("§12.6 everything", "healthcheck: {test: [CMD, a], interval: 90s, timeout: 3s, retries: 5, start_period: 1m, start_interval: 500ms}",
        healthcheck={"test": ["CMD", "a"], "interval": "1m30s", "timeout": "3s", "retries": 5, "start_period": "1m0s", "start_interval": "500ms"}),
    web("§12.6 NONE", "healthcheck: {test: [NONE]}", healthcheck={"test": ["NONE"]}),
    web("§12.6 disable", "healthcheck: {disable: true}", healthcheck={"disable": True}),
    no_web("§12.6 a list needs a head", "healthcheck: {test: [curl, x]}", "CMD"),
    no_web("§12.6 an interval is a duration", "healthcheck: {test: x, interval: 5}", "interval"),
    # §12.7
    *(_kept("12.7", key, written, meant) for key, written, meant in (
        ("cap_add", "[NET_ADMIN, CAP_SYS_TIME]", ["NET_ADMIN", "CAP_SYS_TIME"]), ("cap_drop", "[ALL]", ["ALL"]),
        ("security_opt", "['no-new-privileges:true', seccomp=unconfined]", ["no-new-privileges:true", "seccomp=unconfined"]),
        ("sysctls", "{net.core.somaxconn: 1024}", {"net.core.somaxconn": "1024"}), ("userns_mode", "host", "host"),
        ("ipc", "shareable", "shareable"), ("pid", "host", "host"), ("uts", "host", "host"),
        ("annotations", "{a: b}", {"a": "b"}),
        ("logging", "{driver: json-file, options: {max-size: 10m, max-file: '3'}}", {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}),
    )),
    web("§12.7 sysctls as a list", "sysctls: [net.core.somaxconn=1024]", sysctls={"net.core.somaxconn": "1024"}),
    stack("§12.7 ipc of a service implies a dependency", "services: {web: {image: i, ipc: 'service:db'}, db: {image: j, ipc: shareable}}",
          {"services.web.depends_on.db.restart": True}),
    stack("§12.7 pid of a service implies a dependency", "services: {web: {image: i, pid: 'service:db'}, db: {image: j}}",
          {"services.web.depends_on.db.restart": True}),
    no_web("§12.7 ipc of an undefined service", "ipc: 'service:nope'", "nope"),
    *(no_web(f"§12.7 the old key {key} is refused", f"{key}: x", "unknown key")
      for key in ("net", "log_driver", "volume_driver", "cpuset_mems", "dockerfile")),
    stack("§12.7 extensions of a service", service("x-a: {b: 1}"), {"services.web.x-a": {"b": 1}}),
)  # fmt: skip
