// SPDX-License-Identifier: GPL-2.0-or-later
/* tests/bench/helper-restore.c - goes on from saved memory in QEMU alone, and saves it again
 *
 *   helper-restore SERIES MODEL DIR DISK_MIB user|netns COUNT [SAVE_SERIES]
 *
 * MODEL is as bare.h has it, kept of a sandbox that was resumed, with the files that its driver saved, `state` and `memory`,
 * and perhaps `disk`, its disk's changes; without that the disk is a new one. COUNT guests go on from it one after the other, in
 * DIR/0 and so on. SERIES is from before the first fork to the last answer to /health; network slots and disks are there
 * before. SERIES-pss is the proportional memory of each QEMU in KiB, all living. With SAVE_SERIES the first is saved into DIR/0: the
 * vCPUs stopped, devices and memory written and synced. None of the daemon's own code for that is used: QMP is spoken by hand, memory copied by
 * sendfile(2).
 */
#include <sys/sendfile.h>

#include "tests/bench/bare.h"

enum {
	COUNT_MAX = 64,
	ASK_FIRST_MS = 25, /* for the first answer; then twice as long */
	WAIT_US = 1000,
	LINE_SIZE = 64 << 10,
	SAID_SIZE = 512,
	COPY_PIECE = 8 << 20,
};

struct restored {
	struct bare bare;
	char dir[PATH_MAX];
	int qmp;
	int memory;        /* the guest's; -1: mapped from the model's file */
	unsigned state_fd; /* number of the saved devices in QEMU */
	char line[LINE_SIZE];
	size_t len;     /* of what was read and not looked at yet, in line */
	bool completed; /* an event said that the migration is */
};

/* ---- QMP ----------------------------------------------------------------------------------------------- */

/* One line to r->line, its newline replaced; the one before it goes. */
static void read_line(struct restored *r)
{
	static char rest[LINE_SIZE];
	size_t used = strlen(r->line) + 1, got;
	char *end = NULL;

	if (r->len >= used) {
		memcpy(rest, r->line + used, r->len - used);
		memcpy(r->line, rest, r->len - used);
		r->len -= used;
	}
	while (!(end = memchr(r->line, '\n', r->len))) {
		ssize_t n = read(r->qmp, r->line + r->len, sizeof(r->line) - r->len);

		if (n <= 0)
			bench_die("QEMU ended, see %s/stderr", r->dir);
		r->len += (size_t)n;
	}
	got = (size_t)(end - r->line);
	r->line[got] = '\0';
	if (strstr(r->line, "\"completed\""))
		r->completed = true;
	if (strstr(r->line, "\"error\"") || strstr(r->line, "\"failed\""))
		bench_die("QEMU says: %.400s", r->line);
}

static void await(struct restored *r, const char *what)
{
	do
		read_line(r);
	while (!strstr(r->line, what));
}

/* Say it, with a descriptor when @fd is not -1, and wait for its return. */
static void say(struct restored *r, int fd, const char *text)
{
	char line[SAID_SIZE];
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {.iov_base = line, .iov_len = strlen(text)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	(void)snprintf(line, sizeof(line), "%s", text); /* sendmsg(2) takes nothing const */
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	if (sendmsg(r->qmp, &message, MSG_NOSIGNAL) != (ssize_t)part.iov_len)
		bench_die_sys("QMP");
	await(r, "\"return\"");
}

static void await_migration(struct restored *r)
{
	while (!r->completed)
		read_line(r);
}

static void open_qmp(struct restored *r)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp.sock", r->bare.dir);
	r->qmp = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->qmp < 0 || connect(r->qmp, (const struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die_sys(address.sun_path);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* What is no hole in @from to the same place of @to. */
static void copy_data(int from, int to)
{
	off_t size = lseek(from, 0, SEEK_END), end = 0;

	while (end < size) {
		off_t at = lseek(from, end, SEEK_DATA);

		if (at < 0)
			break; /* nothing but a hole is left */
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 || lseek(to, at, SEEK_SET) < 0)
			bench_die_sys("memory");
		while (at < end) {
			size_t len = end - at < COPY_PIECE ? (size_t)(end - at) : COPY_PIECE;

			if (sendfile(to, from, &at, len) <= 0)
				bench_die_sys("memory");
		}
	}
}

static int model_file(const struct bare *b, const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", b->saved, name);
	return bare_reopen(path, O_RDONLY);
}

static int new_file(const struct restored *r, const char *name)
{
	char path[PATH_MAX + 32];

	(void)snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	return bare_reopen(path, O_WRONLY | O_CREAT | O_EXCL);
}

/* The number that the guest's memory has among the descriptors; -1 when it is mapped from the model's file. */
static int find_memory(const struct bare *b)
{
	for (unsigned i = 0; i < b->fd_count; i++)
		if (fcntl(b->fds[i], F_GET_SEALS) == BARE_SEALS)
			return b->fds[i];
	return -1;
}

/* ---- what is there before ------------------------------------------------------------------------------ */

/* The changes that the saved memory goes with, or none. */
static void make_disk(struct restored *r, unsigned mib)
{
	char path[PATH_MAX];
	struct err e;
	int from, to;

	(void)snprintf(path, sizeof(path), "%s/disk", r->bare.saved);
	from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0) {
		bare_make_disk(&r->bare, mib);
		return;
	}
	to = new_file(r, "disk.qcow2");
	bare_check(file_copy(from, to, -1, &e), &e);
	(void)close(from); /* reading only */
	(void)close(to);   /* if it is not whole QEMU will say so */
}

static void make(struct restored *r, const char *const *argv, unsigned number,
		 const struct slot_driver *net)
{
	struct bare *b = &r->bare;

	*b = (struct bare){.text = BUF_INIT, .pidfd = -1, .net = net, .saved = argv[2]};
	(void)snprintf(r->dir, sizeof(r->dir), "%s/%u", argv[3], number);
	b->dir = r->dir;
	if (mkdir(r->dir, 0700) < 0)
		bench_die_sys(r->dir);
	bare_make_slot(b, number);
	bare_read_args(b, argv[2]);
	bare_for_fds(b, argv[2], bare_find_base);
	make_disk(r, bench_number(argv[4]));
	bare_make_serial(b);
	bare_for_fds(b, argv[2], bare_add_fd);
	r->memory = find_memory(b);
	r->state_fd = PROC_FD_FIRST + b->fd_count;
	b->fds[b->fd_count++] = model_file(b, "state");
	open_qmp(r);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static void start_qemu(struct restored *r)
{
	struct bare *b = &r->bare;
	struct proc_spec spec = {.argv = (const char *const *)b->args,
				 .stdin_fd = -1,
				 .fds = b->fds,
				 .fd_count = b->fd_count,
				 .netns_fd = b->slot.netns_fd};
	struct err e;

	spec.stderr_fd = spec.stdout_fd = new_file(r, "stderr");
	bare_check(proc_spawn(&spec, &b->id, &b->pidfd, &e), &e);
	(void)close(spec.stderr_fd); /* QEMU's now */
}

static void load(struct restored *r)
{
	char text[128];

	await(r, "\"QMP\"");
	say(r, -1, "{\"execute\":\"qmp_capabilities\"}\n");
	say(r, -1,
	    "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":["
	    "{\"capability\":\"events\",\"state\":true},"
	    "{\"capability\":\"x-ignore-shared\",\"state\":true}]}}\n");
	(void)snprintf(text, sizeof(text),
		       "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:%u\"}}\n",
		       r->state_fd);
	say(r, -1, text);
	await_migration(r);
	say(r, -1, "{\"execute\":\"cont\"}\n");
}

static void await_agent(const struct restored *r)
{
	const struct slot *slot = &r->bare.slot;
	const struct guest g = {.addr = slot->agent_addr, .port = slot->agent_port, .token = ""};
	struct deadline d = deadline_in(BARE_LIMIT_MS, -1);
	int ask_ms = ASK_FIRST_MS;

	for (;;) {
		struct deadline ask = deadline_in(ask_ms, -1);

		if (guest_health(&g, &ask, NULL) == 0)
			return;
		if (deadline_left_ms(&d) == 0)
			bench_die("the agent of the bare QEMU did not answer");
		(void)usleep(WAIT_US); /* a signal only makes it shorter */
		ask_ms = ask_ms < BARE_ASK_MS ? ask_ms * 2 : BARE_ASK_MS;
	}
}

static void restore(struct restored *r)
{
	start_qemu(r);
	if (r->memory >= 0) {
		int from = model_file(&r->bare, "memory");

		copy_data(from, r->memory);
		(void)close(from); /* reading only */
	}
	load(r);
	await_agent(r);
}

static void save(struct restored *r, const char *series)
{
	double start = bench_now();
	int state = new_file(r, "state"), memory = new_file(r, "memory");

	say(r, -1, "{\"execute\":\"stop\"}\n");
	say(r, state, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"mig\"}}\n");
	r->completed = false;
	say(r, -1, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:mig\"}}\n");
	await_migration(r);
	if (ftruncate(memory, lseek(r->memory, 0, SEEK_END)) < 0)
		bench_die_sys("memory");
	copy_data(r->memory, memory);
	if (fsync(state) < 0 || fsync(memory) < 0)
		bench_die_sys("fsync");
	bench_sample(series, start);
	(void)close(state);  /* synced */
	(void)close(memory); /* synced */
}

static unsigned long pss_kib(pid_t pid)
{
	char path[64], line[256];
	unsigned long kib = 0;
	AUTO_FILE file = NULL;

	(void)snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "re");
	while (file && !kib && fgets(line, sizeof(line), file))
		if (strncmp(line, "Pss:", 4) == 0)
			kib = strtoul(line + 4, NULL, 10);
	return kib;
}

static const struct slot_driver *open_net(const char *kind)
{
	struct bare b = {.pidfd = -1};

	bare_open_net(&b, kind);
	return b.net;
}

int main(int argc, char **argv)
{
	static struct restored all[COUNT_MAX];
	const struct slot_driver *net;
	unsigned count;
	double start;

	if (argc < 7 || argc > 8)
		bench_die("usage: helper-restore SERIES MODEL DIR DISK_MIB user|netns COUNT "
			  "[SAVE_SERIES]");
	count = bench_number(argv[6]);
	if (count == 0 || count > COUNT_MAX)
		bench_die("at most %d at once", COUNT_MAX);
	log_open(false);
	if (http_init() < 0)
		bench_die("no memory");
	net = open_net(argv[5]);
	for (unsigned i = 0; i < count; i++)
		make(&all[i], (const char *const *)argv, i, net);
	start = bench_now();
	for (unsigned i = 0; i < count; i++)
		restore(&all[i]);
	bench_sample(argv[1], start);
	for (unsigned i = 0; i < count; i++)
		(void)printf("%s-pss %lu\n", argv[1], pss_kib(all[i].bare.id.pid));
	if (argc == 8 && all[0].memory < 0)
		bench_die("memory that is mapped privately is not saved here");
	if (argc == 8)
		save(&all[0], argv[7]);
	for (unsigned i = 0; i < count; i++)
		bare_end(&all[i].bare);
	net->done();
	return 0;
}
