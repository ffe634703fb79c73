"""§22 hooks, §23 what is filled in, §24 checks, §25 lifecycle, §26 the canonical form, §27 what runs."""

from __future__ import annotations

from tests.conformance.case import ABSENT, Case, no_web, refuse, service, stack, web

_LIMITS = "deploy: {resources: {limits: {%s}}}"

CASES: tuple[Case, ...] = (
    # §22
    web("§22 post_start", "post_start: [{command: a b, user: root, privileged: true, working_dir: /w, environment: [A=1]}]",
        post_start=[{"command": ["a", "b"], "user": "root", "privileged": True, "working_dir": "/w", "environment": {"A": "1"}}]),
    stack("§22 pre_stop", service("pre_stop: [{command: [a]}, {command: [b]}]"),
          {"services.web.pre_stop.1.command": ["b"]}, mark="pre-stop"),
    stack("§22 pre_start", service("pre_start: [{command: [a], image: j}]"),
          {"services.web.pre_start.0.command": ["a"]}, mark="pre-start", differs="pre-start"),
    stack("§22 pre_start for each replica", service("pre_start: [{command: [a], per_replica: true}]"),
          {"services.web.pre_start.0.per_replica": True}, mark="per-replica", differs="pre-start"),
    no_web("§22 a hook needs a command", "post_start: [{user: u}]", "command"),
    no_web("§22 an unknown key of a hook", "post_start: [{command: [a], foo: 1}]", "foo"),
    # §23
    stack("§23 the default network", service("user: u"), {"services.web.networks": {"default": None}, "networks.default.name": "demo_default"}),
    stack("§23 names have the project in front", service("networks: [n], volumes: ['vol:/v'], configs: [c], secrets: [s]")
          + "\nnetworks: {n: }\nvolumes: {vol: }\nconfigs: {c: {content: x}}\nsecrets: {s: {file: ./s}}",
          {"networks.n.name": "demo_n", "volumes.vol.name": "demo_vol", "configs.c.name": "demo_c", "secrets.s.name": "demo_s"}),
    stack("§23 volumes_from implies no restart", "services: {a: {image: i, volumes_from: [b]}, b: {image: j}}",
          {"services.a.depends_on": {"b": {"condition": "service_started", "required": True}}}),
    stack("§23 what is declared stays over what is implied",
          "services: {a: {image: i, links: [b], depends_on: {b: {condition: service_healthy}}}, b: {image: j, healthcheck: {test: x}}}",
          {"services.a.depends_on": {"b": {"condition": "service_healthy", "required": True}}}),
    refuse("§23 a name that becomes nothing", "name: '---'\nservices: {web: {image: i}}", "name"),
    # §24
    *(refuse(f"§24 a dependency on {what} is refused", text, why) for what, text, why in (
        ("nothing", "services: {web: {image: i, depends_on: [nope]}}", "nope"),
        ("itself", "services: {web: {image: i, depends_on: [web]}}", "web -> web"),
        ("a circle", "services: {a: {image: i, depends_on: [b]}, b: {image: j, depends_on: [a]}}", "a -> b -> a"),
        ("a circle through a link", "services: {a: {image: i, links: [b]}, b: {image: j, depends_on: [a]}}", "cycle"),
        ("a circle through a network", "services: {a: {image: i, network_mode: 'service:b'}, b: {image: j, depends_on: [a]}}", "cycle"),
    )),
    stack("§24 an optional dependency on nothing", "services: {web: {image: i, depends_on: {nope: {condition: service_started, required: false}}}}",
          {"services.web.depends_on": ABSENT}, differs="optional-dependency"),
    no_web("§24 scale and replicas differ", "scale: 2, deploy: {replicas: 3}", "scale"),
    web("§24 scale and replicas agree", "scale: 2, deploy: {replicas: 2}", scale=2),
    web("§24 scale alone fills replicas in", "scale: 2, deploy: {mode: replicated}", **{"deploy.replicas": 2}),
    *(no_web(f"§24 {key} differs from its counterpart", f"{key}: {mine}, " + _LIMITS % f"{twin}: {other}", key)
      for key, mine, twin, other in (("cpus", "1", "cpus", "'2'"), ("mem_limit", "1m", "memory", "2m"), ("pids_limit", "1", "pids", "2"))),
    no_web("§24 mem_reservation differs", "mem_reservation: 1m, deploy: {resources: {reservations: {memory: 2m}}}", "mem_reservation"),
    no_web("§24 a counterpart that is left out is 0", "mem_limit: 1m, " + _LIMITS % "cpus: '1'", "mem_limit"),
    web("§24 counterparts agree", "cpus: 1, mem_limit: 1m, pids_limit: 5, " + _LIMITS % "cpus: '1.0', memory: 1024k, pids: 5", cpus=1),
    no_web("§24 container_name and replicas", "container_name: ab, deploy: {replicas: 2}", "container_name"),
    no_web("§24 a volume's target twice over tmpfs", "tmpfs: [/x], volumes: [/x]", "/x"),
    refuse("§24 services are checked together", "services: {a: {image: i, networks: [x]}, b: {image: j, networks: [y]}}", "undefined network y"),
    # §25
    stack("§25 conditions are kept", "services: {a: {image: i, depends_on: {b: {condition: service_completed_successfully, required: true}}}, b: {image: j}}",
          {"services.a.depends_on.b.condition": "service_completed_successfully"}),
    web("§25 a stop in its own time", "stop_signal: SIGINT, stop_grace_period: 2m", stop_grace_period="2m0s"),
    # §26
    web("§26 command and entrypoint are always there", "user: u", command=None, entrypoint=None),
    web("§26 dollars are doubled", "environment: {A: 'x$$y'}, command: echo $$HOME", command=["echo", "$$HOME"], **{"environment.A": "x$$y"}),
    web("§26 zero, false and nothing are left out", "privileged: false, tty: false, cap_add: [], dns: [], mem_limit: 0, labels: {}",
        privileged=ABSENT, tty=ABSENT, cap_add=ABSENT, mem_limit=ABSENT, labels=ABSENT),
    stack("§26 env files are folded in", service("env_file: a.env"), {"services.web.env_file": ABSENT, "services.web.environment": {"A": "1"}},
          files={"a.env": "A=1"}),
    stack("§26 create_host_path is shown when false", service("volumes: [{type: bind, source: /a, target: /b, bind: {create_host_path: false}}]"),
          {"services.web.volumes.0.bind": {"create_host_path": False}}),
    stack("§26 create_host_path is not shown when true", service("volumes: [{type: bind, source: /a, target: /b, bind: {create_host_path: true}}]"),
          {"services.web.volumes.0.bind": {}}),
    stack("§26 what is not used is left out", service("user: u") + "\nvolumes: {vol: }\nconfigs: {c: {content: x}}\nsecrets: {s: {file: ./s}}\nnetworks: {n: }",
          {"volumes": ABSENT, "configs": ABSENT, "secrets": ABSENT, "networks.n": ABSENT}),
    stack("§26 a secret's value is never shown", service("secrets: [s]") + "\nsecrets: {s: {environment: TOKEN}}",
          {"secrets.s": {"name": "demo_s", "environment": "TOKEN"}}, environment={"TOKEN": "hush"}),
    stack("§26 models are shown", service("models: [m]") + "\nmodels: {m: {model: x}}", {"models.m.model": "x"}, mark="json-models"),
    stack("§26 order of lists is kept", service("cap_add: [B, A], security_opt: [z, y], group_add: [z, a]"),
          {"services.web.cap_add": ["B", "A"], "services.web.group_add": ["z", "a"]}),
    # §27
    stack("§27 a stack of everyday", "services:\n  web:\n    image: nginx\n    ports: ['8080:80']\n    depends_on: [db]\n    networks: [front, back]\n"
          "  db:\n    image: postgres\n    environment: {POSTGRES_PASSWORD: $$x}\n    volumes: ['data:/var/lib/postgresql/data']\n    networks: [back]\n"
          "networks: {front: , back: {internal: true}}\nvolumes: {data: }",
          {"services.web.networks": {"front": None, "back": None}, "volumes.data.name": "demo_data"}),
)  # fmt: skip
