/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/host.c - the state directory, the drivers chosen, what has been promised, start and end */
#include "ops/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sum.h"
#include "base/timefmt.h"
#include "ops/cgroup.h"
#include "ops/drivers.h"
#include "ops/event.h"
#include "ops/lane.h"
#include "ops/nested.h"
#include "ops/policy.h"
#include "ops/record.h"
#include "ops/registry.h"
#include "ops/room.h"
#include "ops/sampler.h"
#include "ops/serial.h"
#include "ops/settings.h"
#include "ops/slots.h"
#include "ops/sweep.h"
#include "ops/template.h"
#include "ops/warm.h"
#include "ops/watch.h"
#include "ops/webhook.h"

enum {
	RESERVE_SHARE = 16,    /* 1/16 of the memory is the host's own … */
	RESERVE_MIN_MIB = 256, /* … and at least this */
	STATE_DIR_MAX = 160,   /* bytes: paths below it are kept in fixed buffers */
	START_MS = 30000,      /* sbxfs(5) */
	START_TCG_MS = 120000,
};

struct host host = {.state_fd = -1, .lock_fd = -1, .sandboxes_fd = -1, .templates_fd = -1};

static pthread_mutex_t promise_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t promised_mib;
static atomic_bool stopping, is_left;
static bool is_prepared; /* before there are threads */
static void (*end_fn)(void);

int host_promise(uint64_t mib, struct err *e)
{
	uint64_t room;
	int r = 0;

	if (atomic_load(&stopping))
		return err_set(e, ECANCELED, "the daemon is shutting down");
	pthread_mutex_lock(&promise_lock);
	room = (host.memory_total_mib - host.memory_reserve_mib) * settings.memory_overcommit_pct /
	       100;
	if (promised_mib + mib > room)
		r = err_set(e, ENOMEM,
			    "it wants %" PRIu64 " MiB, and of the host's %" PRIu64
			    " MiB only %" PRIu64 " are not promised yet (%" PRIu64
			    " are kept for the host, memory_overcommit=%" PRIu64
			    "); stop another or set memory_mb",
			    mib, host.memory_total_mib,
			    room > promised_mib ? room - promised_mib : 0, host.memory_reserve_mib,
			    settings.memory_overcommit_pct);
	else
		promised_mib += mib;
	pthread_mutex_unlock(&promise_lock);
	return r;
}

void host_promise_running(uint64_t mib)
{
	pthread_mutex_lock(&promise_lock);
	promised_mib += mib;
	pthread_mutex_unlock(&promise_lock);
}

void host_promise_drop(uint64_t mib)
{
	pthread_mutex_lock(&promise_lock);
	promised_mib -= mib < promised_mib ? mib : promised_mib;
	pthread_mutex_unlock(&promise_lock);
}

uint64_t host_promised(void)
{
	uint64_t mib;

	pthread_mutex_lock(&promise_lock);
	mib = promised_mib;
	pthread_mutex_unlock(&promise_lock);
	return mib;
}

static void memory_count(void)
{
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		return;
	host.memory_total_mib = (uint64_t)si.totalram * si.mem_unit >> 20;
	host.memory_reserve_mib = host.memory_total_mib / RESERVE_SHARE;
	if (host.memory_reserve_mib < RESERVE_MIN_MIB)
		host.memory_reserve_mib = RESERVE_MIN_MIB;
	if (host.memory_reserve_mib > host.memory_total_mib)
		host.memory_reserve_mib = host.memory_total_mib;
}

static int paths_take(const struct host_options *o, struct err *e)
{
	size_t len = strlen(o->mountpoint);

	if (strlen(o->state_dir) > STATE_DIR_MAX)
		return err_set(e, EINVAL, "the path of the state directory is longer than %d bytes",
			       STATE_DIR_MAX);
	if (len >= sizeof(host.mountpoint))
		return err_set(e, EINVAL, "the path of the mount point is too long");
	if (strncmp(o->state_dir, o->mountpoint, len) == 0 &&
	    (o->state_dir[len] == '/' || o->state_dir[len] == '\0'))
		return err_set(e, EINVAL, "the state directory %s lies inside the mount",
			       o->state_dir);
	(void)snprintf(host.state_dir, sizeof(host.state_dir), "%s", o->state_dir);
	(void)snprintf(host.mountpoint, sizeof(host.mountpoint), "%s", o->mountpoint);
	return 0;
}

static int lock_take(struct err *e)
{
	host.lock_fd =
		openat(host.state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (host.lock_fd < 0)
		return err_sys(e, errno, "cannot open %s/lock", host.state_dir);
	if (flock(host.lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, EBUSY,
			       "another daemon has the state directory %s; give this one its own",
			       host.state_dir);
	return 0;
}

static int format_check(struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	char text[32];
	unsigned format;
	int r = file_read(host.state_fd, "format", 64, &b, e);

	if (r == -ENOENT) {
		(void)snprintf(text, sizeof(text), "format=%d\n", RECORD_FORMAT);
		return file_replace(host.state_fd, "format", 0600, text, strlen(text), e);
	}
	if (r < 0)
		return r;
	/* NOLINTNEXTLINE(cert-err34-c): out of range is a newer format or damage, and refused */
	if (sscanf(buf_text(&b), "format=%u", &format) != 1)
		return err_set(e, EBADMSG, "%s/format is damaged; it should read format=%d",
			       host.state_dir, RECORD_FORMAT);
	if (format > RECORD_FORMAT)
		return err_set(
			e, EINVAL,
			"%s has format %u, and this program knows formats up to %d; use a newer one",
			host.state_dir, format, RECORD_FORMAT);
	return 0;
}

static int instance_read(int state_fd, const char *state_dir, char ret[5], struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	int r = file_read(state_fd, "instance", 16, &b, e);

	if (r < 0)
		return r;
	if (b.len < 4 || strspn(buf_text(&b), "abcdefghijklmnopqrstuvwxyz234567") < 4)
		return err_set(e, EBADMSG, "%s/instance is damaged", state_dir);
	memcpy(ret, b.data, 4);
	ret[4] = '\0';
	return 0;
}

static int instance_load(struct err *e)
{
	int r = instance_read(host.state_fd, host.state_dir, host.instance, e);

	if (r != -ENOENT)
		return r;
	if (random_base32(host.instance, 4) < 0)
		return err_set(e, EIO, "the kernel gives no random bytes");
	return file_replace(host.state_fd, "instance", 0600, host.instance, 4, e);
}

/* Sockets need short paths, and nothing of them is wanted after a reboot. */
static int run_dir_of(const char *instance, char *ret, size_t size, struct err *e)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads */
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	const char *base = geteuid() == 0 ? "/run" : xdg && xdg[0] == '/' ? xdg : "/tmp";

	if ((size_t)snprintf(ret, size, "%s/sbxfs-%s", base, instance) >= size - 16)
		return err_set(e, EINVAL, "the path of XDG_RUNTIME_DIR is too long");
	return 0;
}

int host_socket(const char *state_dir, char *ret, size_t size, struct err *e)
{
	char instance[5], dir[sizeof(host.run_dir)];
	AUTO_FD fd = -1;
	int r = file_open_dir(AT_FDCWD, state_dir, &fd, e);

	if (r == 0)
		r = instance_read(fd, state_dir, instance, e);
	if (r == 0)
		r = run_dir_of(instance, dir, sizeof(dir), e);
	if (r == 0 && (size_t)snprintf(ret, size, "%s/next", dir) >= size)
		r = err_set(e, EINVAL, "the path of the socket is too long");
	return r;
}

static int run_dir_make(struct err *e)
{
	struct stat st;
	int r = run_dir_of(host.instance, host.run_dir, sizeof(host.run_dir), e);

	if (r < 0)
		return r;
	r = file_mkdirs(host.run_dir, 0700, e);
	if (r < 0)
		return r;
	if (lstat(host.run_dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_set(e, EPERM, "%s is not a directory of our own", host.run_dir);
	return 0;
}

/* Durable before anything in it is promised. */
static int state_dir_open(const char *name, int *ret_fd, struct err *e)
{
	int r = 0;

	if (mkdirat(host.state_fd, name, 0700) == 0)
		r = file_sync_dir(host.state_fd, e);
	else if (errno != EEXIST)
		r = err_sys(e, errno, "cannot make %s in %s", name, host.state_dir);
	return r < 0 ? r : file_open_dir(host.state_fd, name, ret_fd, e);
}

static int state_open(struct err *e)
{
	int r = file_mkdirs(host.state_dir, 0700, e);

	if (r == 0)
		r = file_open_dir(AT_FDCWD, host.state_dir, &host.state_fd, e);
	if (r == 0)
		r = lock_take(e);
	if (r == 0)
		r = format_check(e);
	if (r == 0)
		r = instance_load(e);
	if (r == 0)
		r = state_dir_open("sandboxes", &host.sandboxes_fd, e);
	if (r == 0)
		r = state_dir_open("templates", &host.templates_fd, e);
	return r == 0 ? run_dir_make(e) : r;
}

static int probe(const struct host_options *o, struct err *e)
{
	int r = http_init() < 0 ? err_set(e, ENOMEM, "cannot set up the HTTP client") : 0;

	return r < 0 ? r : drivers_probe(o, e);
}

int host_prepare(const struct host_options *o, struct err *e)
{
	int r = paths_take(o, e);

	if (r == 0)
		r = probe(o, e);
	is_prepared = r == 0;
	return r;
}

/* What is in a slot can go on with no other network driver. */
void host_describe(struct buf *b)
{
	struct slots_counts c = {.used = 0};

	slots_count(&c);
	buf_addf(b, "%s %" PRIu32, c.used ? host.net->name : "any", c.used);
}

int host_fits(const char *text, struct err *e)
{
	const struct slot_driver *net = drivers_net();
	size_t len = strcspn(text, " ");

	if ((len == 3 && memcmp(text, "any", len) == 0) ||
	    (net && strlen(net->name) == len && memcmp(text, net->name, len) == 0))
		return 0;
	return err_set(e, EINVAL,
		       "sandboxes run with the network driver %.*s, and this daemon would use %s; "
		       "stop them first, or name --net %.*s",
		       (int)len, text, net ? net->name : "none", (int)len, text);
}

int host_init(const struct host_options *o, struct err *e)
{
	int r = paths_take(o, e);

	host.started_ms = wall_ms();
	memory_count();
	if (r == 0)
		r = state_open(e);
	if (r == 0 && !is_prepared)
		r = probe(o, e);
	if (r == 0)
		r = drivers_begin(o, e);
	if (r < 0)
		return r;
	slots_init(host.slots_total, sum_of(host.instance, strlen(host.instance)));
	cgroup_init(host.instance);
	r = serial_init(e);
	if (r == 0)
		r = event_start(e);
	if (r == 0)
		r = template_init(e);
	if (r == 0)
		r = registry_load(e);
	if (r < 0)
		return r;
	sweep_at_start();
	r = slots_start(e);
	if (r == 0)
		r = watch_init(e);
	if (r == 0)
		r = room_init(e);
	if (r == 0)
		r = sampler_init(e);
	if (r == 0)
		r = webhook_start(e);
	if (r == 0) {
		event_add(0, "", "daemon-started", "%s", "");
		registry_recover();
		r = policy_init(e);
	}
	if (r == 0)
		policy_autostart();
	return r;
}

int64_t host_start_ms(void)
{
	return host.vm_host.accel == VM_ACCEL_TCG ? START_TCG_MS : START_MS;
}

int host_down(uint64_t how, struct err *e)
{
	unsigned alive = IN(SBX_RUNNING) | IN(SBX_FROZEN) | IN(SBX_STARTING) | IN(SBX_STOPPING) |
			 IN(SBX_PAUSING) | IN(SBX_RESUMING);
	const unsigned passing = IN(SBX_STARTING) | IN(SBX_PAUSING) | IN(SBX_RESUMING);
	struct err why = {0};
	uint32_t after = 0;
	int r = 0, stopped;
	struct sbx *s;

	atomic_store(&stopping, true);
	atomic_store(&is_left, how == SHUTDOWN_LEAVE);
	webhook_go_down();
	warm_stop();
	policy_stop();
	while ((s = registry_next_any(after))) {
		after = s->serial;
		if (passing & IN(sbx_state(s)))
			lane_cancel(&s->lane, false);
		sbx_put(s);
	}
	if (how == SHUTDOWN_LEAVE)
		return 0;
	if (how == SHUTDOWN_PAUSE) {
		r = nested_all("pause", IN(SBX_RUNNING) | IN(SBX_FROZEN), IN(SBX_PAUSED), e);
		alive &= ~(IN(SBX_RUNNING) | IN(SBX_FROZEN)); /* what cannot be paused goes on */
	}
	stopped =
		nested_all("stop", alive, IN(SBX_PAUSED), &why); /* as one that was paused before */
	if (r == 0 && stopped < 0)
		*e = why;
	return r < 0 ? r : stopped;
}

bool host_is_left(void)
{
	return atomic_load(&is_left);
}

void host_set_end(void (*fn)(void))
{
	end_fn = fn;
}

void host_end(void)
{
	if (end_fn)
		end_fn();
}

void host_done(void)
{
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		after = s->serial;
		lane_cancel(&s->lane, true);
		sbx_put(s);
	}
	policy_stop();
	watch_stop(); /* before the lanes: they give them work */
	room_stop();
	sampler_done();
	webhook_stop(); /* it gives the lanes work too */
	lane_done();
	room_done();
	watch_done();
	cgroup_done();
	slots_stop();
	if (host.net)
		host.net->done();
	if (host.run_dir[0] && rmdir(host.run_dir) < 0 && errno != ENOTEMPTY && errno != ENOENT)
		log_warning("cannot remove %s, ignoring", host.run_dir);
	registry_done();
	template_done();
	drivers_done();
	event_done();
	http_done();
	fd_close(steal_fd(&host.sandboxes_fd));
	fd_close(steal_fd(&host.templates_fd));
	fd_close(steal_fd(&host.lock_fd));
	fd_close(steal_fd(&host.state_fd));
}
