// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/spawn.c - start a program as a user of the guest
 *
 * How it works: everything is made ready before fork(), because another thread may hold a lock of libc at
 * that instant: the child makes system calls only. It reports a failure through a pipe that closes by itself
 * when exec succeeds. Nobody waits for that here: the directory or the program may lie on something slow.
 */
#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/value.h"
#include "base/cleanup.h"
#include "base/json.h"

enum spawn_step { SPAWN_SETUP, SPAWN_USER, SPAWN_CWD, SPAWN_EXEC };

enum {
	EXIT_NOT_STARTED = 127, /* as sh has it; seen by nobody but us */
};

static const char oom_score[] = "100"; /* the guest's processes go before the agent */

/* All that the child needs. */
struct child {
	char **argv, **envp;
	char **paths; /* to be tried in this order */
	const struct spawn_spec *spec;
	int in, out, err, report;
};

/* A NULL-terminated vector of texts in memory of their own. */
struct words {
	char **v;
	size_t n;
};

static void cleanup_words(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
}
#define AUTO_WORDS __attribute__((cleanup(cleanup_words))) struct words

static int words_reserve(struct words *w, size_t n)
{
	w->v = calloc(n + 1, sizeof(*w->v));
	return w->v ? 0 : -ENOMEM;
}

/* @a and @b joined; @b may be "". Must have been reserved. */
static int words_add(struct words *w, const char *a, size_t a_len, const char *b)
{
	size_t b_len = strlen(b);
	char *text = malloc(a_len + b_len + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text, a, a_len);
	memcpy(text + a_len, b, b_len + 1);
	w->v[w->n++] = text;
	return 0;
}

static int make_argv(const struct spawn_spec *s, struct words *w)
{
	size_t n = s->args ? json_object_array_length(s->args) : 0;

	if (words_reserve(w, n + 1) || words_add(w, s->cmd, strlen(s->cmd), ""))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *text = value_word(json_object_array_get_idx(s->args, i));

		if (!text || words_add(w, text, strlen(text), ""))
			return -ENOMEM;
	}
	return 0;
}

static int make_env(const struct spawn_spec *s, struct words *w)
{
	if (words_reserve(w, (size_t)json_object_object_length(s->env)))
		return -ENOMEM;
	json_object_object_foreach(s->env, key, v)
	{
		const char *text = value_word(v);
		AUTO_FREE char *head = NULL;

		if (!text || asprintf(&head, "%s=", key) < 0 ||
		    words_add(w, head, strlen(head), text))
			return -ENOMEM;
	}
	return 0;
}

/* A name without a slash is looked for in the PATH that the program will have. */
static int make_paths(const struct spawn_spec *s, struct words *w)
{
	const char *path = json_text_at(s->env, "PATH", "");
	size_t n = 1;

	if (strchr(s->cmd, '/'))
		return words_reserve(w, 1) ? -ENOMEM : words_add(w, s->cmd, strlen(s->cmd), "");
	for (const char *at = path; *at; at++)
		n += *at == ':';
	if (words_reserve(w, n))
		return -ENOMEM;
	while (*path) {
		size_t len = strcspn(path, ":");
		AUTO_FREE char *tail = NULL;

		if (asprintf(&tail, "%s%s", len ? "/" : "./", s->cmd) < 0 ||
		    words_add(w, path, len, tail))
			return -ENOMEM;
		path += len + (path[len] == ':');
	}
	return 0;
}

/* ---- in the child -------------------------------------------------------------------------------- */

static void child_fail(const struct child *c, enum spawn_step step) __attribute__((noreturn));

static void child_fail(const struct child *c, enum spawn_step step)
{
	const struct spawn_report r = {.step = (int)step, .error = errno};
	ssize_t n = write(c->report, &r, sizeof(r)); /* an empty pipe takes it */

	(void)n;
	_exit(EXIT_NOT_STARTED);
}

/* Handlers are the agent's; ignored ones would stay so over exec: a SIGINT would do nothing. */
static void child_signals(void)
{
	const struct sigaction plain = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &plain, NULL); /* fails for KILL, STOP and libc's own */
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

static void child_setup(const struct child *c)
{
	int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	ssize_t n = score < 0 ? -1 : write(score, oom_score, strlen(oom_score));

	(void)n;        /* without /proc there is nothing to be done */
	(void)setsid(); /* a fresh child leads no group, so this works */
	(void)umask(022);
	(void)setrlimit(RLIMIT_NOFILE, c->spec->files); /* lowering works */
	if (dup2(c->in, STDIN_FILENO) < 0 || dup2(c->out, STDOUT_FILENO) < 0 ||
	    dup2(c->err, STDERR_FILENO) < 0)
		child_fail(c, SPAWN_SETUP);
	/* All of ours close on exec anyway; this is for libraries that forget. Linux 5.11 and later. */
	(void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
}

static void child_user(const struct child *c)
{
	const struct user *u = c->spec->user;

	if (geteuid() != 0 && u->uid == geteuid())
		return; /* an agent without rights can start things as itself only */
	if (setgroups(u->group_count, u->groups) || setgid(u->gid) || setuid(u->uid))
		child_fail(c, SPAWN_USER);
}

static void child_cwd(const struct child *c)
{
	bool home = chdir(c->spec->user->home) == 0;

	if (!home && chdir("/"))
		child_fail(c, SPAWN_CWD);
	if (c->spec->cwd && chdir(c->spec->cwd))
		child_fail(c, SPAWN_CWD);
}

static void child_main(const struct child *c) __attribute__((noreturn));

static void child_main(const struct child *c)
{
	int error = ENOENT;

	child_signals();
	child_setup(c);
	child_user(c);
	child_cwd(c);
	for (char **path = c->paths; *path; path++) {
		(void)execve(*path, c->argv, c->envp); /* returns only when it failed */
		if (errno != ENOENT && errno != ENOTDIR)
			error = errno;
	}
	errno = error;
	child_fail(c, SPAWN_EXEC);
}

/* ---- in the agent -------------------------------------------------------------------------------- */

/* No signal may reach the child before its handlers are gone: it would tell the agent's loop of it. */
static pid_t fork_quietly(const struct child *c)
{
	sigset_t all, old;
	pid_t pid;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_main(c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* A pipe whose reading end does not block. */
static int make_pipe(int *ret_read, int *ret_write)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK); /* valid arguments */
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

static int fork_child(struct child *c, struct spawned *ret, struct err *e)
{
	AUTO_FD null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_FD out = -1, err = -1, report = -1;
	AUTO_FD out_w = -1, err_w = -1, report_w = -1;
	pid_t pid;

	if (null < 0)
		return err_sys(e, errno, "cannot open /dev/null");
	if (make_pipe(&out, &out_w) || make_pipe(&err, &err_w) || make_pipe(&report, &report_w))
		return err_sys(e, errno, "cannot make a pipe");
	c->in = null;
	c->out = out_w;
	c->err = err_w;
	c->report = report_w;
	pid = fork_quietly(c);
	if (pid < 0)
		return err_sys(e, errno, "cannot fork");
	ret->pid = pid;
	ret->out[0] = steal_fd(&out);
	ret->out[1] = steal_fd(&err);
	ret->report = steal_fd(&report);
	return 0;
}

int spawn_start(const struct spawn_spec *spec, struct spawned *ret, struct err *e)
{
	AUTO_WORDS argv = {0};
	AUTO_WORDS env = {0};
	AUTO_WORDS paths = {0};
	struct child c = {.spec = spec};

	if (make_argv(spec, &argv) || make_env(spec, &env) || make_paths(spec, &paths))
		return err_set(e, ENOMEM, "the agent is out of memory");
	c.argv = argv.v;
	c.envp = env.v;
	c.paths = paths.v;
	return fork_child(&c, ret, e);
}

enum connect_code spawn_explain(const struct spawn_report *r, struct json_object *config,
				struct buf *ret)
{
	/* clang-format off */
	static const struct {
		const char *what, *member;
		enum connect_code code;
	} steps[] = {
		[SPAWN_SETUP] = { "cannot set up",                  "cmd", CONNECT_INTERNAL },
		[SPAWN_USER]  = { "cannot become the user for",     "cmd", CONNECT_PERMISSION_DENIED },
		[SPAWN_CWD]   = { "cannot enter working directory", "cwd", CONNECT_INVALID_ARGUMENT },
		[SPAWN_EXEC]  = { "cannot run",                     "cmd", CONNECT_INVALID_ARGUMENT },
	};
	/* clang-format on */
	const char *why = strerrordesc_np(r->error);
	int step = r->step >= SPAWN_SETUP && r->step <= SPAWN_EXEC ? r->step : SPAWN_SETUP;

	buf_addf(ret, "%s '%s': %s", steps[step].what,
		 json_text_at(config, steps[step].member, "/"), why ? why : "unknown error");
	return steps[step].code;
}
