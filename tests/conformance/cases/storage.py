"""§12.5 volumes, tmpfs, mounted files."""

from __future__ import annotations

from collections.abc import Mapping

from tests.conformance.case import ABSENT, Case, Expected, no_web, refuse, service, stack, web

_VOLUMES = "\nvolumes: {vol: , vv: }"


def _volume(written: str, gives: Mapping[str, Expected], *, differs: str = "") -> Case:
    paths = {f"services.web.volumes.0{key and '.' + key}": value for key, value in gives.items()}
    return stack(
        f"§12.5 the volume {written}",
        service(f"volumes: [{written}]") + _VOLUMES,
        paths,
        differs=differs,
    )


CASES: tuple[Case, ...] = (
    _volume("/x", {"type": "volume", "target": "/x", "source": ABSENT}),
    _volume("/anonymous", {"": {"type": "volume", "target": "/anonymous", "volume": {}}}),
    _volume("'vol:/x'", {"": {"type": "volume", "source": "vol", "target": "/x", "volume": {}}}),
    _volume("'./a:/x'", {"": {"type": "bind", "source": "/w/demo/a", "target": "/x", "bind": {}}}),
    _volume("'../a:/x'", {"source": "/w/a"}),
    _volume("'.:/x'", {"source": "/w/demo"}),
    _volume("'/abs:/x:ro'", {"source": "/abs", "read_only": True}),
    _volume("'vol:/x:rw'", {"read_only": ABSENT}),
    _volume("'vol:/x:nocopy'", {"volume": {"nocopy": True}}),
    _volume("'/abs:/x:ro,Z'", {"bind.selinux": "Z", "read_only": True}),
    _volume("'/abs:/x:z'", {"bind.selinux": "z"}),
    *(_volume(f"'/abs:/x:{word}'", {"bind.propagation": word})
      for word in ("rprivate", "private", "rshared", "shared", "rslave", "slave")),
    _volume("'/abs:/x:cached'", {"source": "/abs"}),
    _volume("'vol:/x/../y/'", {"target": "/y"}),
    _volume("'vv:/x'", {"source": "vv"}),
    _volume("{type: volume, source: vol, target: /x, volume: {nocopy: true, subpath: s, labels: {a: b}}}",
            {"volume.nocopy": True, "volume.subpath": "s", "volume.labels": {"a": "b"}}),
    _volume("{type: volume, target: /x}", {"source": ABSENT, "target": "/x"}),
    _volume("{type: bind, source: ./a, target: /x, read_only: true, consistency: cached, bind: {propagation: shared, create_host_path: false, recursive: readonly, selinux: z}}",
            {"source": "/w/demo/a", "bind.recursive": "readonly", "bind.propagation": "shared"}),
    _volume("{type: tmpfs, target: /x, tmpfs: {size: 64m, mode: 0700}}", {"tmpfs.size": "67108864", "tmpfs.mode": 448}),
    _volume("{type: image, source: i, target: /x, image: {subpath: a}}", {"image.subpath": "a"}),
    _volume("{type: npipe, source: '\\\\.\\pipe\\x', target: '\\\\.\\pipe\\y'}", {"type": "npipe"}),
    no_web("§12.5 an undefined volume", "volumes: ['nope:/x']", "nope"),
    no_web("§12.5 an empty section", "volumes: ['a::b']", "empty section", differs="colons-of-volumes"),
    no_web("§12.5 four parts", "volumes: ['a:b:c:d']", "too many colons", differs="colons-of-volumes"),
    no_web("§12.5 a type is needed", "volumes: [{source: a, target: /x}]", "type"),
    no_web("§12.5 another type", "volumes: [{type: nfs, source: a, target: /x}]", "type"),
    no_web("§12.5 a target is needed", "volumes: [{type: volume, source: vol}]", "target", "volumes: {vol: }"),
    no_web("§12.5 a target twice", "volumes: ['vol:/x'], tmpfs: /x", "/x", "volumes: {vol: }"),
    no_web("§12.5 an unknown key", "volumes: [{type: volume, target: /x, foo: 1}]", "foo"),
    no_web("§12.5 a tmpfs size is at least 0", "volumes: [{type: tmpfs, target: /x, tmpfs: {size: -1}}]", "size"),
    stack("§12.5 the same target twice is one entry, the later", service("volumes: ['vol:/x', 'vv:/x']") + _VOLUMES,
          {"services.web.volumes.0.source": "vv", "services.web.volumes.1": ABSENT}),
    stack("§12.5 colons in a variable do not divide", service("volumes: ['${P:-./a}:/x']"),
          {"services.web.volumes.0.source": "/w/demo/a"}),
    stack("§12.5 a letter is a volume", service("volumes: ['c:/x']") + "\nvolumes: {c: }",
          {"services.web.volumes.0.source": "c", "services.web.volumes.0.target": "/x"}, differs="drive-letter"),
    web("§12.5 tmpfs as a string", "tmpfs: '/x:size=1m,mode=700'", tmpfs=["/x:size=1m,mode=700"]),
    web("§12.5 tmpfs as a list", "tmpfs: [/x, /y]", tmpfs=["/x", "/y"]),
    stack("§12.5 volumes_from implies a dependency", "services: {web: {image: i, volumes_from: ['db:ro']}, db: {image: j}}",
          {"services.web.volumes_from": ["db:ro"], "services.web.depends_on": {"db": {"condition": "service_started", "required": True}}}),
    stack("§12.5 volumes_from a container implies none", service("volumes_from: ['container:x']"),
          {"services.web.depends_on": ABSENT, "services.web.volumes_from": ["container:x"]}),
    refuse("§12.5 volumes_from an undefined service", service("volumes_from: [nope]"), "nope"),
)  # fmt: skip
