/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/daemon.c - from options to a mount that answers, and back
 *
 * How it works: going to the background is one fork before anything else. The first process waits on a
 * pipe: end of file without a byte says that the daemon died, READY_BYTE that the mount answers, and
 * anything else is the sentence that it failed with. What libfuse says before then comes on the stderr that
 * the daemon still has.
 *
 * The way down: a signal starts a thread that brings the sandboxes down while the loop goes on answering,
 * then the loop ends and the mount goes. `shutdown` in .ctl has brought them down itself. When someone
 * unmounts from outside, they are brought down after the mount has gone.
 */
#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fetch.h"
#include "base/file.h"
#include "base/http.h"
#include "base/log.h"
#include "fs/handover.h"
#include "fs/keep.h"
#include "fs/leave.h"
#include "fs/loop.h"
#include "fs/mount.h"
#include "ops/reload.h"
#include "ops/settings.h"

enum {
	READY_BYTE = '\0',
	ASK_MS = 30000, /* for another daemon to finish or cut short what it does */
	END_MS = 60000, /* for it to end */
};

static bool terminal;     /* -f on a terminal: every signal is the user's own */
static int ready_fd = -1; /* pipe to the first process; -1: in the foreground, or told already */
static pthread_t down_thread;
static bool down_started; /* main thread only */
static uint64_t down_how; /* SHUTDOWN_…; before the thread is started */
static pthread_mutex_t reload_lock = PTHREAD_MUTEX_INITIALIZER; /* the number, and telling of it */
static unsigned reloads; /* under way, of those that SIGHUP asked for */

/* ---- the first process --------------------------------------------------------------------------------- */

static int wait_ready(int fd)
{
	char text[ERR_TEXT_SIZE + 1];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) != 0) {
		if (n > 0)
			len += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	if (len > 0 && text[0] == READY_BYTE)
		return EXIT_SUCCESS;
	text[len] = '\0';
	(void)fprintf(stderr, "sbxfs: %s\n",
		      len > 0 ? text
			      : "the daemon ended before the mount answered; see the system log");
	return EXIT_FAILURE;
}

/* Return: 0 in the daemon; 1 in the first process, with its exit status in @ret_status. */
static int background(int *ret_status)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		(void)fprintf(stderr, "sbxfs: cannot go to the background: %s\n",
			      strerrordesc_np(errno));
		*ret_status = EXIT_FAILURE;
		return 1;
	}
	if (pid > 0) {
		fd_close(fds[1]);
		*ret_status = wait_ready(fds[0]);
		fd_close(fds[0]);
		return 1;
	}
	fd_close(fds[0]);
	ready_fd = fds[1];
	(void)setsid(); /* a new child leads no group, so it cannot fail */
	return 0;
}

static void on_ready(void)
{
	const char byte = READY_BYTE;
	int null;

	host.mounted = true;
	(void)sd_notify(0, "READY=1"); /* does nothing when systemd did not start us */
	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd); /* the terminal stays ours if it fails: no harm */
	fd_close(null);
	(void)file_write_all(ready_fd, &byte, 1); /* nobody listens any more: go on all the same */
	fd_close(steal_fd(&ready_fd));
}

/* ---- the way down -------------------------------------------------------------------------------------- */

static void bring_down(void)
{
	struct err e = {0};

	(void)sd_notify(0, "STOPPING=1"); /* as above */
	if (host_down(down_how, &e) < 0)
		log_error("not every sandbox could be brought down: %s", e.text);
}

static void *down_main(void *arg)
{
	(void)arg; /* none */
	bring_down();
	loop_stop();
	return NULL;
}

/* Called in the loop, which must not wait. A second signal changes nothing. */
static void on_end_signal(int sig)
{
	if (down_started)
		return;
	down_how = sig == SIGINT || terminal ? SHUTDOWN_STOP : settings.on_shutdown;
	log_info("signal %d: the daemon ends", sig);
	down_started = pthread_create(&down_thread, NULL, down_main, NULL) == 0;
	if (!down_started)
		log_error("cannot start a thread to stop the sandboxes, ignoring");
}

/* ---- the configuration is read again --------------------------------------------------------------------- */

/* The service manager waits for READY=1; that all is as it was is said in words. Any thread. */
static void on_reloaded(int result, const struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	buf_addf(&b, "STATUS=%s%s", result < 0 ? "The configuration stays as it was: " : "",
		 result < 0 ? e->text : "");
	(void)sd_notify(
		0, buf_text(&b)); /* here and below: does nothing when systemd did not start us */
	pthread_mutex_lock(&reload_lock);
	if (--reloads == 0)
		(void)sd_notify(0, "READY=1");
	pthread_mutex_unlock(&reload_lock);
}

static void reload(void)
{
	struct timespec now;
	struct err e = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* it cannot fail */
	pthread_mutex_lock(&reload_lock);
	if (reloads++ == 0)
		(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
				 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	pthread_mutex_unlock(&reload_lock);
	if (reload_begin(on_reloaded, &e) < 0) {
		log_error("%s", e.text);
		on_reloaded(-e.code, &e);
	}
}

/* As on_end_signal(). */
static void on_signal(int sig)
{
	if (sig != SIGHUP)
		on_end_signal(sig);
	else if (!down_started)
		reload();
}

/* ---- the daemon ---------------------------------------------------------------------------------------- */

/* Signals come in the loop's ppoll() only; until then SIGHUP waits. Before there are threads, which inherit it. */
static void block_signals(void)
{
	sigset_t all;

	(void)sigfillset(&all);
	/* a fault that is blocked kills without a word */
	(void)sigdelset(&all, SIGSEGV);
	(void)sigdelset(&all, SIGBUS);
	(void)sigdelset(&all, SIGABRT);
	(void)sigdelset(&all, SIGFPE);
	(void)sigdelset(&all, SIGILL);
	(void)pthread_sigmask(SIG_SETMASK, &all, NULL); /* cannot fail for a valid set */
	(void)signal(SIGPIPE, SIG_IGN);
}

/* A sandbox that runs takes about a dozen descriptors, and the usual soft limit is for programs that use select(). */
static void descriptors_allow(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* up to the hard limit it cannot fail */
	}
}

static struct fuse_session *session_new(const char *wanted, struct err *e)
{
	AUTO_BUF options = BUF_INIT;
	char name[] = "sbxfs", dash_o[] = "-o";
	char *argv[] = {name, dash_o, NULL, NULL};
	struct fuse_session *se;

	mount_options(wanted, &options);
	if (buf_error(&options) < 0) {
		(void)err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	argv[2] = options.data;
	se = loop_new(3, argv);
	if (!se)
		(void)err_set(e, EINVAL, "libfuse refuses the mount options %s", options.data);
	return se;
}

/* Return: exit status; @ret_end how it ended. */
static int serve_mounted(struct fuse_session *se, enum loop_end *ret_end)
{
	enum loop_end end = loop_run(se, on_ready, on_signal);

	*ret_end = end;
	if (end == LOOP_HANDED) {
		log_info("the next daemon has the mount");
		down_how = SHUTDOWN_LEAVE;
		bring_down();
		return EXIT_SUCCESS;
	}
	if (end == LOOP_FAILED)
		log_error("cannot go on reading requests");
	if (down_started) {
		(void)pthread_join(down_thread, NULL); /* it is there: started above */
	} else if (end != LOOP_STOPPED) {
		down_how = settings.on_shutdown;
		bring_down();
	}
	loop_drain();
	return end == LOOP_FAILED ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Take the mount, and wait until the daemon that had it has let go of everything. */
static int take_over(const struct daemon_options *o, struct handover *ret, struct err *e)
{
	const struct deadline asked = deadline_in(ASK_MS, -1), ended = deadline_in(END_MS, -1);
	char path[108]; /* as long as the address of a socket may be */
	int r = host_socket(o->host.state_dir, path, sizeof(path), e);

	if (r == 0)
		r = handover_ask(path, &asked, host_fits, ret, e);
	return r < 0 ? r : handover_wait_end(ret, &ended, e);
}

/* A new mount, or what was taken over. */
static int attach(const struct daemon_options *o, struct fuse_session *se, struct handover *h,
		  struct err *e)
{
	if (h->fuse_fd >= 0)
		return handover_attach(se, h, e);
	if (fuse_session_mount(se, o->host.mountpoint) == 0)
		return 0;
	return err_set(e, EIO, "cannot mount on %s; is /dev/fuse there, and may this user open it?",
		       o->host.mountpoint);
}

/* The next daemon may ask for the mount from now on. Without: it is mounted anew then. */
static void offer(const struct daemon_options *o, char path[108])
{
	struct err e = {0};
	int fd = -1, r = host_socket(o->host.state_dir, path, 108, &e);

	if (r == 0)
		r = handover_listen(path, &fd, &e);
	if (r < 0) {
		path[0] = '\0';
		log_warning("%s, ignoring: --takeover will not work", e.text);
	} else {
		leave_offer(fd);
	}
}

/* What was mounted goes, unless it is the next daemon's or gone already. */
static void detach(const struct daemon_options *o, struct fuse_session *se, bool taken,
		   enum loop_end end)
{
	struct err e = {0};

	if (end == LOOP_HANDED || (taken && end == LOOP_UNMOUNTED) ||
	    (end == LOOP_STOPPED && host_is_left() && keep_has()))
		return;
	keep_forget();
	if (!taken)
		fuse_session_unmount(se);
	else if (mount_remove(o->host.mountpoint, &e) < 0)
		log_warning("%s, ignoring", e.text);
}

/* All but the mount. What can be refused is refused before another daemon has let go of its mount. */
static int begin(const struct daemon_options *o, struct handover *h, struct err *e)
{
	int r = 0;

	if (o->takeover)
		r = host_prepare(&o->host, e);
	if (r == 0 && o->takeover)
		r = take_over(o, h, e);
	return r < 0 ? r : host_init(&o->host, e);
}

/* Return: exit status once it was mounted; a negative errno when it never was. */
static int serve(const struct daemon_options *o, struct handover *h, struct err *e)
{
	enum loop_end end = LOOP_FAILED;
	char socket_path[108] = "";
	struct fuse_session *se;
	int status, r;
	bool taken;

	descriptors_allow();
	terminal = o->foreground && isatty(STDERR_FILENO);
	se = session_new(o->mount_options, e);
	if (!se)
		return -e->code;
	r = begin(o, h, e);
	taken = h->fuse_fd >= 0;
	if (r == 0) {
		host_set_end(loop_stop);
		r = attach(o, se, h, e);
		if (r < 0)
			host_done();
	}
	if (r < 0) {
		fuse_session_destroy(se);
		return r;
	}
	handover_restore_opens(&h->opens);
	offer(o, socket_path);
	status = serve_mounted(se, &end);
	detach(o, se, taken, end);
	leave_offer(-1);
	if (socket_path[0])
		(void)unlink(socket_path); /* the next daemon makes its own */
	fuse_session_destroy(se);
	host_done();
	return status;
}

/* The sentence goes to whoever waits for the mount. */
static void tell_failure(const struct err *e)
{
	if (ready_fd >= 0)
		(void)file_write_all(ready_fd, e->text, strlen(e->text)); /* gone: nobody asks */
	else
		(void)fprintf(stderr, "sbxfs: %s\n", e->text);
}

/* The mount that is to be taken over or was kept for us, or where there is to be one. */
static int mount_get(const struct daemon_options *o, struct handover *h, char **ret_path,
		     struct err *e)
{
	if (o->takeover)
		return mount_find(o->host.mountpoint, ret_path, e);
	if (keep_take(h)) {
		if (mount_find(o->host.mountpoint, ret_path, NULL) == 0)
			return 0;
		handover_done(h); /* unmounted meanwhile */
	}
	return mount_prepare(o->host.mountpoint, ret_path, e);
}

int daemon_main(const struct daemon_options *given)
{
	struct daemon_options o = *given;
	AUTO_FREE char *mountpoint = NULL;
	struct handover h = HANDOVER_NONE;
	struct err e = {0};
	int status, r = mount_get(&o, &h, &mountpoint, &e);

	if (r == 0) {
		o.host.mountpoint = mountpoint;
		if (!o.foreground && background(&status))
			return status;
		log_open(!o.foreground);
		block_signals();
		if (chdir("/") < 0)
			log_warning("cannot leave the current directory, ignoring");
		fetch_init();
		r = http_init() < 0 ? err_set(&e, ENOMEM, "no memory") : serve(&o, &h, &e);
		http_done();
		handover_done(&h);
	}
	if (r < 0)
		tell_failure(&e);
	return r < 0 ? EXIT_FAILURE : r;
}
