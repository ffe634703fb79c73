"""The part of a service that is the runtime's own vocabulary: what one container is asked to be. Values only.

Loading knows these types from here; the runtime itself it never sees.
"""

from __future__ import annotations

from runtime.api import (
    CAPABILITIES,
    NO_LIMITS,
    RESOURCE_LIMITS,
    Blkio,
    BlkioDevice,
    Device,
    File,
    Limits,
    Mount,
    MountsOf,
    Namespaces,
    Security,
    is_namespaced_sysctl,
)

__all__ = [
    "CAPABILITIES", "DEFAULT_NAMESPACES", "DEFAULT_SECURITY", "NO_LIMITS", "RESOURCE_LIMITS", "Blkio", "BlkioDevice",
    "Device", "File", "Limits", "Mount", "MountsOf", "Namespaces", "Security", "is_namespaced_sysctl",
]  # fmt: skip

DEFAULT_SECURITY = Security()
DEFAULT_NAMESPACES = Namespaces()
