"""§16 networks, §17 volumes, §18 configs, §19 secrets, §20 models, §21 providers."""

from __future__ import annotations

from tests.conformance.case import ABSENT, Case, Expected, refuse, service, stack


def _network(written: str, meant: dict[str, Expected], mark: str = "", differs: str = "") -> Case:
    return stack(f"§16 {written or 'null'}", service("networks: [n]") + f"\nnetworks: {{n: {written}}}",
                 {f"networks.n.{key}": value for key, value in meant.items()}, mark=mark, differs=differs)  # fmt: skip


def _no(section: str, what: str, body: str, top: str, why: str, differs: str = "") -> Case:
    return refuse(f"§{section} {what}", service(body) + "\n" + top, why, differs=differs)


def _volume(written: str, meant: dict[str, Expected]) -> Case:
    return stack(f"§17 {written or 'null'}", service("volumes: ['vol:/v']") + f"\nvolumes: {{vol: {written}}}",
                 {f"volumes.vol.{key}": value for key, value in meant.items()})  # fmt: skip


def _config(written: str, meant: dict[str, Expected], use: str = "c") -> Case:
    return stack(
        f"§18 {written} as {use}",
        service(f"configs: [{use}]") + f"\nconfigs: {{c: {written}}}",
        meant,
    )


def _secret(written: str, meant: dict[str, Expected], use: str = "s") -> Case:
    return stack(f"§19 {written} as {use}", service(f"secrets: [{use}]") + f"\nsecrets: {{s: {written}}}", meant,
                 environment={"TOKEN": "hush"})  # fmt: skip


CASES: tuple[Case, ...] = (
    # §16
    _network("", {"name": "demo_n"}), _network("{}", {"name": "demo_n"}), _network("{name: real}", {"name": "real"}),
    _network("{driver: macvlan, driver_opts: {parent: eth0, n: 5}}", {"driver": "macvlan", "driver_opts": {"parent": "eth0", "n": "5"}}),
    _network("{ipam: {driver: default, config: [{subnet: 10.5.0.0/16, ip_range: 10.5.1.0/24, gateway: 10.5.0.1, aux_addresses: {a: 10.5.0.9}}], options: {x: y}}}",
             {"ipam.driver": "default", "ipam.config": [{"subnet": "10.5.0.0/16", "ip_range": "10.5.1.0/24", "gateway": "10.5.0.1", "aux_addresses": {"a": "10.5.0.9"}}]}),
    _network("{internal: true, attachable: true, enable_ipv6: true, enable_ipv4: false}",
             {"internal": True, "attachable": True, "enable_ipv6": True, "enable_ipv4": False}),
    _network("{external: true}", {"external": True, "name": "n"}),
    _network("{external: {name: x}}", {"external": True, "name": "x"}),
    _network("{external: true, name: x}", {"external": True, "name": "x"}),
    _network("{external: true, driver: x}", {"external": True, "driver": "x"}, "external"),
    _network("{labels: [a=b]}", {"labels": {"a": "b"}}),
    stack("§16 an unused network is left out", service("user: u") + "\nnetworks: {n: , default: {driver: x}}", {"networks.n": ABSENT, "networks.default.driver": "x"}),
    stack("§16 no default network when nobody is on it", service("network_mode: none"), {"networks": ABSENT}),
    _no("16", "two names", "networks: [n]", "networks: {n: {external: {name: a}, name: b}}", "name"),
    _no("16", "an unknown key", "networks: [n]", "networks: {n: {foo: 1}}", "foo"),
    _no("16", "a list", "networks: [n]", "networks: {n: [a]}", "networks.n"),
    # §17
    _volume("", {"name": "demo_vol"}), _volume("{}", {"name": "demo_vol"}), _volume("{name: real}", {"name": "real"}),
    _volume("{driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m'}}",
            {"driver": "local", "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}),
    _volume("{external: true}", {"external": True, "name": "vol"}), _volume("{external: {name: x}}", {"external": True, "name": "x"}),
    _volume("{external: true, name: x}", {"name": "x"}), _volume("{labels: {a: 1}}", {"labels": {"a": "1"}}),
    _volume("{external: false, driver: x}", {"driver": "x", "external": ABSENT}),
    stack("§17 an unused volume is left out", service("user: u") + "\nvolumes: {vol: }", {"volumes": ABSENT}),
    *(_no("17", f"external and {body}", "volumes: ['vol:/v']", f"volumes: {{vol: {{external: true, {body}}}}}", "external")
      for body in ("driver: x", "labels: {a: b}", "driver_opts: {a: b}")),
    _no("17", "an unknown key", "volumes: ['vol:/v']", "volumes: {vol: {foo: 1}}", "foo"),
    # §18
    _config("{file: ./c}", {"configs.c.file": "/w/demo/c", "configs.c.name": "demo_c", "services.web.configs": [{"source": "c"}]}),
    _config("{content: 'x y'}", {"configs.c.content": "x y"}), _config("{environment: HOME}", {"configs.c.environment": "HOME"}),
    _config("{external: true}", {"configs.c.external": True, "configs.c.name": "c"}),
    _config("{external: true, name: x}", {"configs.c.name": "x"}),
    _config("{content: x, labels: {a: b}, template_driver: t}", {"configs.c.labels": {"a": "b"}, "configs.c.template_driver": "t"}),
    _config("{content: x}", {"services.web.configs": [{"source": "c", "target": "/t", "uid": "1", "gid": "2", "mode": "0440"}]},
            "{source: c, target: /t, uid: '1', gid: '2', mode: 0440}"),
    stack("§18 uid, gid and mode of a config from a file are taken",
          service("configs: [{source: c, uid: '1', gid: '2', mode: 0400}]") + "\nconfigs: {c: {file: ./c}}",
          {"services.web.configs.0.uid": "1", "services.web.configs.0.mode": "0400"}, mark="file-configs"),
    _no("18", "two contents", "configs: [c]", "configs: {c: {file: a, content: b}}", "content"),
    _no("18", "file and environment", "configs: [c]", "configs: {c: {file: a, environment: b}}", "environment"),
    _no("18", "no content at all", "configs: [c]", "configs: {c: {labels: {a: b}}}", "configs.c"),
    _no("18", "an undefined config", "configs: [c]", "", "c"),
    # §19
    _secret("{file: ./s}", {"secrets.s.file": "/w/demo/s", "services.web.secrets": [{"source": "s", "target": "/run/secrets/s"}]}),
    _secret("{environment: TOKEN}", {"secrets.s.environment": "TOKEN", "secrets.s.content": ABSENT}),
    _secret("{external: true}", {"secrets.s.external": True, "secrets.s.name": "s"}),
    _secret("{file: ./s, name: real, labels: {a: b}}", {"secrets.s.name": "real"}),
    _secret("{file: ./s}", {"services.web.secrets": [{"source": "s", "target": "/t", "uid": "1", "mode": "0400"}]},
            "{source: s, target: /t, uid: '1', mode: '0400'}"),
    _secret("{file: ./s}", {"services.web.secrets.0.target": "t"}, "{source: s, target: t}"),
    _no("19", "two contents", "secrets: [s]", "secrets: {s: {file: a, environment: b}}", "environment"),
    _no("19", "no content at all", "secrets: [s]", "secrets: {s: {labels: {a: b}}}", "secret"),
    _no("19", "an undefined secret", "secrets: [s]", "", "s"),
    # §20
    stack("§20 models as a list", service("models: [m]") + "\nmodels: {m: {model: ai/x, context_size: 4096, runtime_flags: [a]}}",
          {"models.m": {"model": "ai/x", "context_size": 4096, "runtime_flags": ["a"]}}),
    stack("§20 models with variables", service("models: {m: {endpoint_var: U, model_var: M}}") + "\nmodels: {m: {model: ai/x}}",
          {"services.web.models": {"m": {"endpoint_var": "U", "model_var": "M"}}}),
    _no("20", "an undefined model", "models: [m]", "", "m"),
    _no("20", "a model is needed", "models: [m]", "models: {m: {context_size: 1}}", "model"),
    # §21
    stack("§21 a provider gets no network", "services: {web: {provider: {type: t}}}",
          {"services.web.provider": {"type": "t"}, "services.web.networks": ABSENT, "networks": ABSENT}),
    stack("§21 options are strings or lists", "services: {web: {provider: {type: t, options: {a: b, c: [d, e], f: true, g: 1.5}}}}",
          {"services.web.provider.options": {"a": ["b"], "c": ["d", "e"], "f": ["true"], "g": ["1.5"]}}),
    refuse("§21 a type is needed", "services: {web: {provider: {options: {a: b}}}}", "type"),
)  # fmt: skip
