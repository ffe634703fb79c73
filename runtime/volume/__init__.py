"""Volumes: storage that outlives the containers that use it. Local and named; an anonymous one has 64 hex digits.

Central types, and the one way in which data goes from what is asked to what is mounted:

    ContainerRequest.mounts ─┐
    ImageConfig.volumes ─────┼─► mounting.resolve (pure) ─► Mount, source = a volume's name ─► Record.mounts, kept
    kept_volumes, others ────┘                                        │
                                                                      ▼
    VolumeStore.ensure (idempotent) ─► <lib>/volumes/<name>/ ─► launch program: "fill_volume", then "bind_volume"

    Mount          what a container has at a path (runtime.request)
    VolumeState    one volume as it is seen from outside (runtime.api)
    VolumeRecord   what is written down of it (store)
    VolumeStore    the volumes of one instance: create, list, inspect, relabel, remove

Nothing flows back: a volume does not know who uses it. Who does is asked of the containers' records, by
`runtime.volumes`, which alone joins both.

The seed, what the image has at the place, is put in by the container's child as it starts
(`runtime.container.steps_volume`): only there is the image's root seen as a whole, before anything is mounted in it.
"""
