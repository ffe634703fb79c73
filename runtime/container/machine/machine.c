/* The table machine: it carries a container's launch out as a table of system calls.

   A fork of the keeper pays for every page of Python that it touches; this program is two pages. It has no libc, no
   decisions of its own and no words: whatever does not go as the table says ends it, with a BAIL frame on the
   handshake, and the keeper launches the container again in the plain way, which can tell why.

   The keeper spawns it (vfork and exec: nothing of the keeper is copied); it makes a child in the container's namespaces
   and group, beside itself, which carries out all the rest.

   fd 3 is the handshake, fd 4 the table (a sealed memfd): runtime/container/table.py writes it and draws it.
   Built by .ci/build-machine; tests/unit/test_machine_build.py holds the built files to this source. */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;

#define SYNC 3
#define TABLE 4
#define BASE 0x20000000UL    /* where the table is mapped; pointers in it are absolute */
#define ROOM (8UL << 20)     /* the longest table */
#define SCRATCH 0x30000000UL /* what rows write to */
#define SCRATCH_SIZE (1UL << 20)

/* In the scratch memory, as in runtime/container/table.py. */
#define WHO ((struct who *)SCRATCH)
#define HOME ((char *)(SCRATCH + 0x1000)) /* "HOME=..." */
#define HOME_SIZE 0x1000
#define STATUS (SCRATCH + 0x2000) /* a struct statx */
#define PASSWD ((char *)(SCRATCH + 0x10000))
#define GROUP ((char *)(SCRATCH + 0x30000))
#define FILE_SIZE 0x10000 /* a longer file is for the plain way */

#define SYSTEM_CALLS 0x1000 /* below: the number of a system call */
enum { CHECK = SYSTEM_CALLS, CHECK_NOT, SET, JUMP, USER, GO_ON };

/* how: two bits an argument, then what an error does, then how many rows are skipped for it. */
enum { PLAIN, RESULT, LOAD };               /* as it is; the result of that row; the u64 at that address */
enum { NO_ERROR, ABSENT, INVALID, ANY };    /* which errors skip: none, ENOENT and ENOTDIR, EINVAL, all */
#define ENOENT 2
#define ENOTDIR 20
#define EINVAL 22
#define TAG_CHILD 5
#define TAG_BAIL 6

struct row {
    u32 op, how;
    u64 arguments[6];
    s64 result;
};

struct header {
    char magic[8];
    u32 count, rows;
};

struct who {
    u64 uid, gid, count;
    u32 groups[64];
};

/* Whom "user" means: by the numbers that are given (the file tells the home), by uid, or by name. */
enum { BY_IDS, BY_UID, BY_NAME };
struct wanted {
    u32 by, has_group, uid, gid, extra_count, name_size;
    u32 extra[32];
    char name[64];
};

#ifdef __x86_64__
enum { sys_read = 0, sys_write = 1, sys_close = 3, sys_mmap = 9, sys_exit_group = 231, sys_openat = 257,
       sys_statx = 332, sys_clone3 = 435 };
static s64 call(s64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    s64 result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#else
enum { sys_read = 63, sys_write = 64, sys_close = 57, sys_mmap = 222, sys_exit_group = 94, sys_openat = 56,
       sys_statx = 291, sys_clone3 = 435 };
static s64 call(s64 number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
        x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#endif

static u32 at; /* the row that is being carried out */

/* Say one thing on the handshake (runtime/container/wire.py), and end. */
static void __attribute__((noreturn)) leave(u32 tag, u32 row, u32 number, u32 code)
{
    u8 frame[7] = {tag, row, row >> 8, number, number >> 8, number >> 16, number >> 24};

    call(sys_write, SYNC, (u64)frame, sizeof frame, 0, 0, 0);
    call(sys_exit_group, code, 0, 0, 0, 0, 0);
    __builtin_trap(); /* a filter that lets nobody end does not stop a fault */
}

static void __attribute__((noreturn)) bail(u32 error)
{
    leave(TAG_BAIL, at, error, 127);
}

/* Let a child go on from here, in namespaces and a group of its own, and tell who it is. */
static u32 go_on(u64 arguments, u64 size)
{
    s64 pid = call(sys_clone3, arguments, size, 0, 0, 0, 0);

    if (pid > 0)
        leave(TAG_CHILD, 0, pid, 0);
    return -pid;
}

/* Read one of the container's files: 0 bytes when there is none. Only plain text in orderly lines is for us. */
static u32 read_text(const char *path, char *text)
{
    u32 size = 0;
    s64 file = call(sys_openat, -100, (u64)path, 02004400 /* O_CLOEXEC | O_NONBLOCK | O_NOCTTY */, 0, 0, 0);

    if (file == -ENOENT || file == -ENOTDIR)
        return 0;
    if (file < 0)
        bail(-file);
    if (call(sys_statx, file, (u64) "", 0x1000, 3, STATUS, 0) < 0)
        bail(EINVAL);
    if ((*(u32 *)(STATUS + 28) & 0170000) != 0100000)
        bail(EINVAL);
    for (;;) {
        s64 count = call(sys_read, file, (u64)text + size, FILE_SIZE - size, 0, 0, 0);

        if (count < 0)
            bail(-count);
        if (count == 0)
            break;
        size += count;
        if (size >= FILE_SIZE)
            bail(EINVAL);
    }
    call(sys_close, file, 0, 0, 0, 0, 0);
    for (u32 i = 0; i < size; i++) {
        char before = i ? text[i - 1] : '\n', after = i + 1 < size ? text[i + 1] : '\n';

        if (text[i] != '\n' && (text[i] < 0x20 || text[i] > 0x7e))
            bail(EINVAL);
        if (text[i] == ' ' && (before == '\n' || after == '\n'))
            bail(EINVAL);
    }
    return size;
}

struct field {
    const char *text;
    u32 size;
};

/* Take the next line that has `columns` fields at least and a name; 0 at the end. */
static int next_row(const char *text, u32 size, u32 *place, struct field *fields, u32 columns)
{
    while (*place < size) {
        u32 found = 0, begin = *place, end = begin;

        for (;; end++) {
            int is_end = end == size || text[end] == '\n';

            if (!is_end && text[end] != ':')
                continue;
            if (found < columns) {
                fields[found].text = text + begin;
                fields[found].size = end - begin;
            }
            found++;
            begin = end + 1;
            if (is_end)
                break;
        }
        *place = end + 1;
        if (found >= columns && fields[0].size && fields[0].text[0] != '#')
            return 1;
    }
    return 0;
}

/* An id as runtime/container/user.py reads it; -1 for what is none. */
static s64 number_of(struct field field)
{
    u64 number = 0;

    if (!field.size || field.size > 10)
        return -1;
    for (u32 i = 0; i < field.size; i++) {
        if (field.text[i] < '0' || field.text[i] > '9')
            return -1;
        number = number * 10 + (field.text[i] - '0');
    }
    return number > 0xFFFFFFFE ? -1 : (s64)number;
}

static int same(struct field one, struct field other)
{
    if (one.size != other.size)
        return 0;
    for (u32 i = 0; i < one.size; i++)
        if (one.text[i] != other.text[i])
            return 0;
    return 1;
}

static int has_member(struct field members, struct field name)
{
    u32 begin = 0;

    for (u32 i = 0; i <= members.size; i++) {
        if (i < members.size && members.text[i] != ',')
            continue;
        struct field one = {members.text + begin, i - begin};
        if (same(one, name))
            return 1;
        begin = i + 1;
    }
    return 0;
}

/* Sorted, each once, and not the main group: that is first. */
static void add_group(u32 gid)
{
    u64 place = WHO->count;

    if (gid == WHO->gid)
        return;
    for (u64 i = 1; i < WHO->count; i++)
        if (WHO->groups[i] == gid)
            return;
    if (WHO->count == sizeof WHO->groups / sizeof *WHO->groups)
        bail(EINVAL);
    while (place > 1 && WHO->groups[place - 1] > gid) {
        WHO->groups[place] = WHO->groups[place - 1];
        place--;
    }
    WHO->groups[place] = gid;
    WHO->count++;
}

static void set_home(struct field home)
{
    const char *name = "HOME=";
    u32 size = 0;

    if (home.size > HOME_SIZE - 16)
        bail(EINVAL);
    for (; name[size]; size++)
        HOME[size] = name[size];
    for (u32 i = 0; i < home.size; i++)
        HOME[size++] = home.text[i];
    HOME[size] = 0;
}

static void become_known(const struct wanted *wanted)
{
    struct field fields[7], name = {wanted->name, wanted->name_size}, found = {0, 0};
    struct field home = {"/root", wanted->uid ? 1 : 5};
    u32 place = 0, size = read_text("/etc/passwd", PASSWD), is_found = 0;

    WHO->uid = wanted->uid;
    WHO->gid = wanted->by == BY_IDS ? wanted->gid : 0;
    while (!is_found && next_row(PASSWD, size, &place, fields, 7)) {
        s64 uid = number_of(fields[2]), gid = number_of(fields[3]);

        if (uid < 0 || gid < 0)
            continue;
        if (wanted->by == BY_NAME ? !same(fields[0], name) : uid != wanted->uid)
            continue;
        is_found = 1;
        home = fields[5];
        if (!home.size)
            home = (struct field){"/", 1};
        if (wanted->by == BY_IDS)
            continue;
        found = fields[0];
        WHO->uid = uid;
        WHO->gid = gid;
    }
    if (!is_found && wanted->by == BY_NAME)
        bail(EINVAL);
    if (wanted->has_group)
        WHO->gid = wanted->gid;
    set_home(home);
    WHO->groups[0] = WHO->gid;
    WHO->count = 1;
    if (wanted->by != BY_IDS && !wanted->has_group && found.size) {
        place = 0;
        size = read_text("/etc/group", GROUP);
        while (next_row(GROUP, size, &place, fields, 4)) {
            s64 gid = number_of(fields[2]);

            if (gid >= 0 && has_member(fields[3], found))
                add_group(gid);
        }
    }
    for (u32 i = 0; i < wanted->extra_count; i++)
        add_group(wanted->extra[i]);
}

/* Return 0, or the error that a row has ended with. */
static u32 carry_out(struct row *rows, struct row *row)
{
    u64 a[6];

    for (u32 i = 0; i < 6; i++) {
        u32 kind = row->how >> 2 * i & 3;

        a[i] = row->arguments[i];
        if (kind == RESULT)
            a[i] = rows[a[i]].result;
        if (kind == LOAD)
            a[i] = *(u64 *)a[i];
    }
    switch (row->op) {
    case CHECK:
        return (*(u64 *)a[0] & a[1]) == a[2] ? 0 : EINVAL;
    case CHECK_NOT:
        return (*(u64 *)a[0] & a[1]) != a[2] ? 0 : EINVAL;
    case SET:
        *(u64 *)a[0] = a[1];
        return 0;
    case JUMP:
        return EINVAL;
    case USER:
        become_known((struct wanted *)a[0]);
        return 0;
    case GO_ON:
        return go_on(a[0], a[1]);
    default:
        row->result = call(row->op, a[0], a[1], a[2], a[3], a[4], a[5]);
        return row->result < 0 && row->result > -4096 ? -row->result : 0;
    }
}

void __attribute__((noreturn)) start(void)
{
    struct header *header = (struct header *)BASE;
    s64 mapped = call(sys_mmap, BASE, ROOM, 3, 0x100002 /* MAP_FIXED_NOREPLACE | MAP_PRIVATE */, TABLE, 0);
    s64 scratch = call(sys_mmap, SCRATCH, SCRATCH_SIZE, 3, 0x100022, -1, 0);

    if (mapped != (s64)BASE || scratch != (s64)SCRATCH)
        bail(EINVAL);
    struct row *rows = (struct row *)(BASE + header->rows);
    while (at < header->count) {
        struct row *row = rows + at;
        u32 error = carry_out(rows, row), skips = row->how >> 12 & 3;

        if (error) {
            if (skips == NO_ERROR || (skips == INVALID && error != EINVAL)
                || (skips == ABSENT && error != ENOENT && error != ENOTDIR))
                bail(error);
            at += row->how >> 16;
        }
        at++;
    }
    bail(EINVAL); /* a table ends in execve */
}
