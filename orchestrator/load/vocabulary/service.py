"""`services.*`: every attribute of a service (compose-format §12, §20-22)."""

from __future__ import annotations

from orchestrator.load.shapes import Items, Key, Real, Record, Table, Text, Whole, one_of
from orchestrator.load.vocabulary.build import BUILD, DEVELOP
from orchestrator.load.vocabulary.deploy import DEPLOY
from orchestrator.load.vocabulary.values import (
    COMMAND,
    COUNT,
    DURATION,
    ENVIRONMENT,
    EXTRA_HOSTS,
    FILE_MODE,
    FLAG,
    GPU_KEYS,
    HOOK,
    HOOK_KEYS,
    MOUNTED_FILES,
    NULL,
    NUMBER,
    OPTIONS,
    PAIRS,
    SIZE,
    SIZE_OR_UNLIMITED,
    STRING,
    STRING_OR_LIST,
    STRINGS,
    ULIMITS,
    UNIQUE_STRINGS,
    choice,
)

_RESTART = Text(
    pattern=r"(no|always|unless-stopped|on-failure(:[0-9]{1,9})?)?",
    expected="no, always, unless-stopped, on-failure or on-failure:N",
)
_CONTAINER_NAME = Text(
    pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]+",
    expected='two or more letters, digits, ".", "_" and "-", the first a letter or digit',
)
_PULL_POLICY = Text(
    pattern=r"always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+",
    expected="always, never, missing, build, daily, weekly or every_<duration>",
)
_PROFILE = Text(
    pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]*",
    expected='letters, digits, ".", "_" and "-", the first a letter or digit',
)
_HOST_NAME = Text(
    pattern=r"([a-zA-Z0-9_]([a-zA-Z0-9._-]{0,62}[a-zA-Z0-9_])?)?",
    expected='at most 64 letters, digits, ".", "_" and "-"',
)
_DOMAIN_NAME = Text(
    pattern=r"[a-zA-Z0-9._-]{0,64}", expected='at most 64 letters, digits, ".", "_" and "-"'
)
_SIGNALS = (
    "ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT"
    "|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ"
    r"|RTMIN(\+[0-9]{1,2})?|RTMAX(-[0-9]{1,2})?"
)
_SIGNAL = Text(
    pattern=rf"(?i:(SIG)?({_SIGNALS}))|([1-9]|[1-5][0-9]|6[0-4])?",
    expected="a signal such as SIGTERM, INT or 15",
)
_PORT = Record(
    {
        "target": Key(Whole(low=1, high=65535), "The port in the container."),
        "published": Key(one_of(STRING, Whole(low=0, high=65535)), "The port or range outside."),
        "host_ip": Key(STRING, "The address outside."),
        "protocol": Key(STRING, "tcp, udp or sctp."),
        "mode": Key(STRING, "ingress or host."),
        "app_protocol": Key(STRING, "What is spoken there, for documentation."),
        "name": Key(STRING, "A name, for documentation."),
    },
    required=("target",),
)
_VOLUME = Record(
    {
        "type": Key(choice("volume", "bind", "tmpfs", "image", "npipe", "cluster"), "The kind."),
        "source": Key(STRING, "The named volume, path or image."),
        "target": Key(STRING, "Where it appears in the container."),
        "read_only": Key(FLAG, "The container cannot write to it."),
        "consistency": Key(STRING, "For other platforms; has no effect."),
        "bind": Key(
            Record(
                {
                    "propagation": Key(STRING, "How mounts below it spread."),
                    "create_host_path": Key(FLAG, "Make the directory when it is missing."),
                    "recursive": Key(
                        choice("enabled", "disabled", "writable", "readonly"),
                        "What happens to mounts below it.",
                    ),
                    "selinux": Key(choice("z", "Z"), "Relabel it."),
                }
            ),
            "Options of a bind mount.",
        ),
        "volume": Key(
            Record(
                {
                    "nocopy": Key(FLAG, "Do not fill a new volume from the image."),
                    "subpath": Key(STRING, "The directory in the volume to mount."),
                    "labels": Key(PAIRS, "Labels of a volume made for it."),
                }
            ),
            "Options of a named volume.",
        ),
        "tmpfs": Key(
            Record(
                {
                    "size": Key(SIZE, "Its size."),
                    "mode": Key(FILE_MODE, "The mode of its root."),
                }
            ),
            "Options of a tmpfs.",
        ),
        "image": Key(
            Record({"subpath": Key(STRING, "The directory in the image to mount.")}),
            "Options of an image mount.",
        ),
    },
    required=("type",),
)
_DEVICE = Record(
    {
        "source": Key(STRING, "The device on the host."),
        "target": Key(STRING, "Where it appears in the container."),
        "permissions": Key(STRING, "Any of r, w, m."),
    },
    required=("source",),
)
_HEALTHCHECK = Record(
    {
        "test": Key(one_of(STRING, STRINGS), "The command; its exit status is the health."),
        "interval": Key(DURATION, "The pause between two probes."),
        "timeout": Key(DURATION, "How long a probe may take."),
        "retries": Key(NUMBER, "How many failures in a row make it unhealthy."),
        "start_period": Key(DURATION, "How long failures do not count after the start."),
        "start_interval": Key(DURATION, "The pause between probes in the start period."),
        "disable": Key(FLAG, "Take the image's check away."),
    }
)
_ENV_FILE = Record(
    {
        "path": Key(STRING, "The file."),
        "format": Key(STRING, "raw: lines taken as they are."),
        "required": Key(FLAG, "Whether it must exist; true by default."),
    },
    required=("path",),
)
_NETWORK = Record(
    {
        "aliases": Key(UNIQUE_STRINGS, "Further names on this network."),
        "interface_name": Key(STRING, "The name of the interface in the container."),
        "ipv4_address": Key(STRING, "A fixed IPv4 address."),
        "ipv6_address": Key(STRING, "A fixed IPv6 address."),
        "link_local_ips": Key(UNIQUE_STRINGS, "Link-local addresses."),
        "gw_priority": Key(NUMBER, "The highest one's gateway is the default."),
        "mac_address": Key(STRING, "A fixed MAC address."),
        "driver_opts": Key(OPTIONS, "Options of the driver: `max-size` and `max-file`."),
        "priority": Key(NUMBER, "Networks are connected in this order, highest first."),
    }
)
_DEPENDENCY = Record(
    {
        "condition": Key(
            choice("service_started", "service_healthy", "service_completed_successfully"),
            "What the other service must have reached.",
        ),
        "restart": Key(FLAG, "Restart this service when the other is recreated."),
        "required": Key(FLAG, "Whether it is an error when the other is not there."),
    },
    required=("condition",),
)
_WEIGHT = Record({"path": Key(STRING, "The device."), "weight": Key(Whole(), "Its weight.")})
_RATE = Record(
    {"path": Key(STRING, "The device."), "rate": Key(SIZE, "Bytes or operations a second.")},
    required=("path", "rate"),
)
_BLKIO = Record(
    {
        "weight": Key(Whole(low=0, high=1000), "The share of disk time, 10 to 1000."),
        "weight_device": Key(Items(_WEIGHT), "Shares by device."),
        "device_read_bps": Key(Items(_RATE), "Bytes read a second, by device."),
        "device_read_iops": Key(Items(_RATE), "Reads a second, by device."),
        "device_write_bps": Key(Items(_RATE), "Bytes written a second, by device."),
        "device_write_iops": Key(Items(_RATE), "Writes a second, by device."),
    }
)
_CREDENTIALS = Record(
    {
        "config": Key(STRING, "The config that has it."),
        "file": Key(STRING, "The file that has it."),
        "registry": Key(STRING, "The registry value that has it."),
    }
)
_EXTENDS = one_of(
    STRING,
    Record(
        {
            "service": Key(STRING, "The service to start from."),
            "file": Key(STRING, "The stack file it is in; this one by default."),
        },
        required=("service",),
    ),
)
_PROVIDER = Record(
    {
        "type": Key(STRING, "The program that provides the service."),
        "options": Key(
            Table(one_of(STRING, NUMBER, FLAG, Items(one_of(STRING, NUMBER, FLAG)))),
            "What it is told.",
        ),
    },
    required=("type",),
)
_MODEL = one_of(
    NULL,
    Record(
        {
            "endpoint_var": Key(STRING, "The variable that gets the model's URL."),
            "model_var": Key(STRING, "The variable that gets the model's name."),
        }
    ),
)
_LOGGING = Record(
    {
        "driver": Key(STRING, "Where the log goes."),
        "options": Key(Table(one_of(STRING, NUMBER, NULL)), "Options of the driver."),
    }
)
_PRE_START = Record(
    {
        **HOOK_KEYS,
        "image": Key(STRING, "The image; the service's by default."),
        "per_replica": Key(FLAG, "Run it for each replica, not once."),
    }
)
_GPUS = one_of(Text(choices=("all",)), Items(Record(GPU_KEYS)))
_CPU_TIME = one_of(NUMBER, STRING)

SERVICE = Record(
    {
        # Image, process, user
        "image": Key(STRING, "The image to run."),
        "build": Key(BUILD, "How to make the image."),
        "pull_policy": Key(_PULL_POLICY, "When to fetch the image."),
        "pull_refresh_after": Key(STRING, "After how long to look for a newer image."),
        "platform": Key(STRING, "The platform of the image, as in linux/amd64."),
        "command": Key(COMMAND, "Instead of the image's command."),
        "entrypoint": Key(COMMAND, "Instead of the image's entrypoint."),
        "working_dir": Key(STRING, "The directory the command starts in."),
        "user": Key(STRING, "user[:group], names or numbers."),
        "group_add": Key(Items(one_of(STRING, NUMBER), is_unique=True), "Further groups."),
        "init": Key(FLAG, "Run a small init as process 1."),
        "tty": Key(FLAG, "Give the command a terminal."),
        "stdin_open": Key(FLAG, "Keep standard input open."),
        "environment": Key(ENVIRONMENT, "Variables of the container."),
        "env_file": Key(one_of(STRING, Items(one_of(STRING, _ENV_FILE))), "Files with variables."),
        "hostname": Key(_HOST_NAME, "The host name in the container."),
        "domainname": Key(_DOMAIN_NAME, "The domain name in the container."),
        "stop_signal": Key(_SIGNAL, "The signal that asks it to stop."),
        "stop_grace_period": Key(DURATION, "How long it may take to stop before SIGKILL."),
        "container_name": Key(_CONTAINER_NAME, "A fixed name of the container."),
        "scale": Key(Whole(low=0), "How many containers."),
        "attach": Key(FLAG, "Whether `up` shows its log."),
        "runtime": Key(STRING, "The OCI runtime."),
        "isolation": Key(STRING, "The isolation technology, on other platforms."),
        "read_only": Key(FLAG, "The root file system cannot be written to."),
        "privileged": Key(FLAG, "Every privilege there is."),
        "use_api_socket": Key(FLAG, "Give the container the engine's socket."),
        "credential_spec": Key(_CREDENTIALS, "Credentials, on other platforms."),
        # Dependencies, lifecycle
        "depends_on": Key(one_of(UNIQUE_STRINGS, Table(_DEPENDENCY)), "What must run before."),
        "links": Key(UNIQUE_STRINGS, "Other services under other names."),
        "external_links": Key(UNIQUE_STRINGS, "Containers of other projects."),
        "profiles": Key(Items(_PROFILE, is_unique=True), "Run it only when one is active."),
        "extends": Key(_EXTENDS, "Start from another service."),
        "restart": Key(_RESTART, "What happens when it ends."),
        "healthcheck": Key(_HEALTHCHECK, "How to find out whether it works."),
        "post_start": Key(Items(HOOK), "Commands to run in it once it runs."),
        "pre_stop": Key(Items(HOOK), "Commands to run in it before it is stopped."),
        "pre_start": Key(Items(_PRE_START), "Containers that must succeed before it starts."),
        "develop": Key(DEVELOP, "What to do when sources change."),
        "deploy": Key(DEPLOY, "Replicas, limits, updates."),
        "provider": Key(_PROVIDER, "Something other than a container provides it."),
        "models": Key(one_of(UNIQUE_STRINGS, Table(_MODEL)), "Language models it uses."),
        # Resources
        "cpus": Key(Real(low=0), "Processors, as in 0.5."),
        "cpu_count": Key(COUNT, "Processors, a whole number."),
        "cpu_percent": Key(Real(low=0, high=100), "The share of all processors."),
        "cpu_shares": Key(NUMBER, "The weight when processors are short."),
        "cpu_period": Key(NUMBER, "The length of the quota's period in microseconds."),
        "cpu_quota": Key(NUMBER, "Microseconds of processor time in a period."),
        "cpu_rt_runtime": Key(_CPU_TIME, "Real-time processor time in a period."),
        "cpu_rt_period": Key(_CPU_TIME, "The length of that period."),
        "cpuset": Key(STRING, "Which processors, as in 0-3,5."),
        "mem_limit": Key(SIZE, "Memory at most, as in 64m."),
        "mem_reservation": Key(SIZE, "Memory that is kept for it."),
        "memswap_limit": Key(SIZE_OR_UNLIMITED, "Memory and swap at most; -1 is no limit."),
        "mem_swappiness": Key(Whole(low=0, high=100), "How eagerly it is swapped out."),
        "oom_kill_disable": Key(FLAG, "Never kill it for memory."),
        "oom_score_adj": Key(Whole(low=-1000, high=1000), "Who is killed first for memory."),
        "pids_limit": Key(Real(low=-1), "Processes at most; -1 is no limit."),
        "shm_size": Key(SIZE, "The size of /dev/shm."),
        "ulimits": Key(ULIMITS, "Resource limits of its processes."),
        "blkio_config": Key(_BLKIO, "Shares and limits of disks."),
        "cgroup": Key(choice("host", "private"), "The cgroup namespace."),
        "cgroup_parent": Key(STRING, "The cgroup to be below."),
        "storage_opt": Key(OPTIONS, "Options of the writable layer."),
        "gpus": Key(_GPUS, "GPUs."),
        "devices": Key(Items(one_of(STRING, _DEVICE), is_unique=True), "Devices of the host."),
        "device_cgroup_rules": Key(UNIQUE_STRINGS, "Which devices may be used."),
        # Networking
        "networks": Key(
            one_of(UNIQUE_STRINGS, Table(one_of(NULL, _NETWORK))), "The networks it is on."
        ),
        "network_mode": Key(STRING, "none, host, bridge, service:NAME or container:NAME."),
        "ports": Key(
            Items(one_of(STRING, NUMBER, _PORT), is_unique=True), "Ports to publish outside."
        ),
        "expose": Key(Items(one_of(STRING, NUMBER), is_unique=True), "Ports others may use."),
        "dns": Key(STRING_OR_LIST, "Name servers."),
        "dns_search": Key(STRING_OR_LIST, "Search domains."),
        "dns_opt": Key(UNIQUE_STRINGS, "Options of the resolver."),
        "extra_hosts": Key(EXTRA_HOSTS, "Further host names."),
        "mac_address": Key(STRING, "A fixed MAC address."),
        # Storage
        "volumes": Key(Items(one_of(STRING, _VOLUME), is_unique=True), "What to mount."),
        "tmpfs": Key(STRING_OR_LIST, "Where to mount an empty tmpfs."),
        "volumes_from": Key(UNIQUE_STRINGS, "Services whose mounts it shares."),
        "configs": Key(MOUNTED_FILES, "Config files it gets."),
        "secrets": Key(MOUNTED_FILES, "Secrets it gets."),
        # Security, namespaces, the rest
        "cap_add": Key(UNIQUE_STRINGS, "Capabilities to add."),
        "cap_drop": Key(UNIQUE_STRINGS, "Capabilities to take away."),
        "security_opt": Key(UNIQUE_STRINGS, "Security options."),
        "sysctls": Key(PAIRS, "Kernel parameters of its namespaces."),
        "userns_mode": Key(STRING, "The user namespace."),
        "ipc": Key(STRING, "The IPC namespace."),
        "pid": Key(one_of(STRING, NULL), "The pid namespace."),
        "uts": Key(STRING, "The UTS namespace."),
        "labels": Key(PAIRS, "Labels of its containers."),
        "label_file": Key(STRING_OR_LIST, "Files with labels."),
        "annotations": Key(PAIRS, "Annotations of its containers."),
        "logging": Key(_LOGGING, "What happens to its output."),
    }
)
