"""What `trice-runtime` tells of itself (OCI runtime-spec, features.md), and a config to begin with. Pure."""

from __future__ import annotations

from runtime.container import profile
from runtime.container.mount_options import KNOWN
from runtime.container.seccomp_default import default_seccomp
from runtime.container.syscall_filter import ACTIONS, FLAGS
from runtime.linux import bpf, caps
from runtime.oci.hooks import NAMES
from runtime.spec.config import (
    OCI_VERSION,
    Capabilities,
    Linux,
    Namespace,
    OciConfig,
    Process,
    Root,
)

OCI_VERSION_MIN = "1.0.0"
NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "time", "uts")
_FIRST_NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")


def features_document() -> dict[str, object]:
    """Return the features document: what is known and in force, not what this host allows."""
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": list(NAMES),
        "mountOptions": list(KNOWN),
        "linux": {
            "namespaces": list(NAMESPACES),
            "capabilities": [f"CAP_{name}" for name in caps.NAMES],
            "cgroup": {
                "v1": True,
                "v2": True,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": [f"SCMP_CMP_{name}" for name in bpf.OPERATORS],
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64"],
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
    }


def first_config() -> OciConfig:
    """Return the config that `spec` writes: a shell in `rootfs`, with the defaults of every container of ours."""
    names = profile.DEFAULT_CAPABILITIES
    return OciConfig(
        oci_version=OCI_VERSION,
        process=Process(
            cwd="/",
            args=("sh",),
            env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
            capabilities=Capabilities(bounding=names, effective=names, permitted=names),
            no_new_privileges=True,
        ),
        root=Root(path="rootfs"),
        hostname="trice",
        mounts=profile.DEFAULT_MOUNTS,
        linux=Linux(
            namespaces=tuple(Namespace(type=kind) for kind in _FIRST_NAMESPACES),
            seccomp=default_seccomp(names),
            masked_paths=profile.MASKED_PATHS,
            readonly_paths=profile.READONLY_PATHS,
        ),
    )
