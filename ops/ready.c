/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/ready.c - from a started VM to an agent that obeys us
 *
 * How it works: the agent says on the console that it listens. The console's log growing is an event to
 * wait for together with the VMM's end, and what is read there only a hint: the guest may print what it likes, so what counts is the answer to our
 * /health and /init. Should the hint be missed, it is asked anyway every READY_ASK_MS.
 *
 * A guest that goes on from saved memory prints nothing, and answers as soon as its vCPUs run: it is asked at once, and again after
 * waits that grow. The first requests may be lost, so each gets little time to begin with.
 */
#include "ops/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/random.h"
#include "ops/host.h"
#include "ops/record.h"
#include "ops/steps.h"
#include "ops/template.h"

enum {
	READY_ASK_MS = 500,
	RESUMED_WAIT_MS =
		2, /* between the first questions to a guest that goes on; then twice as long ... */
	RESUMED_WAIT_MAX_MS = 100, /* ... up to this */
	RESUMED_ASK_MS =
		25, /* for the first answer; then twice as long; guest_health() has a limit of its own */
	RESUMED_INIT_MS = 5000, /* for the answer to /init before it is asked again */
	RESUMED_BALLOON_MS =
		20, /* its VMM only has to be told; the guest takes its memory back meanwhile */
	LIFE_BYTES = 16,
	MACHINE_ID_BYTES = 16,
	READY_CHUNK = 4096,      /* bytes of console read at once */
	TAIL_MAX_BYTES = 16384,  /* of console.log looked at for the last lines */
	TAIL_SHOWN_BYTES = 2048, /* of them in a reply */
};

static const char ready_hint[] = "sbxfs-agent: ready";

/* The console log of one start, read as it grows. */
struct console {
	int log_fd;     /* -1: cannot be read, then there are no hints */
	int inotify_fd; /* readable when the log has grown */
	off_t at;
	char window[sizeof(
		ready_hint)]; /* the last bytes that were read: a hint may come in pieces */
};

static void console_open(struct console *c, const struct sbx *s)
{
	char path[384];

	*c = (struct console){.at = s->console_start,
			      .inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
	c->log_fd = sbx_open(s, "console.log", O_RDONLY);
	(void)snprintf(path, sizeof(path), "%s/console.log", s->dir);
	if (c->inotify_fd >= 0 && inotify_add_watch(c->inotify_fd, path, IN_MODIFY) < 0)
		fd_close(steal_fd(&c->inotify_fd));
}

static void console_close(struct console *c)
{
	fd_close(c->log_fd);
	fd_close(c->inotify_fd);
}

/* Look for the hint in what came, across pieces. */
static bool hint_seen(struct console *c, const char *data, size_t len)
{
	char text[sizeof(ready_hint) + READY_CHUNK];
	size_t kept = strlen(c->window);
	bool seen;

	memcpy(text, c->window, kept);
	memcpy(text + kept, data, len);
	len += kept;
	seen = memmem(text, len, ready_hint, sizeof(ready_hint) - 1) != NULL;
	kept = len < sizeof(ready_hint) - 1 ? len : sizeof(ready_hint) - 1;
	memcpy(c->window, text + len - kept, kept);
	c->window[kept] = '\0';
	return seen;
}

/* Read what the console has got since. True when the hint was in it. */
static bool console_read(struct console *c)
{
	char data[READY_CHUNK];
	bool seen = false;
	ssize_t n;

	while (read(c->inotify_fd, data, sizeof(data)) > 0)
		;
	while (!seen && (n = pread(c->log_fd, data, sizeof(data), c->at)) > 0) {
		c->at += n;
		for (ssize_t i = 0; i < n; i++)
			if (data[i] == '\0')
				data[i] = ' ';
		seen = hint_seen(c, data, (size_t)n);
	}
	return seen;
}

/* Wait for the hint, the VMM's end or the time to ask. Return: 0 ask now; negative errno. */
static int wait_hint(int pidfd, struct console *c, const struct deadline *d, struct err *e)
{
	struct deadline ask = deadline_within(d, READY_ASK_MS);
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN},
			       {.fd = c->inotify_fd, .events = POLLIN}};
	int r;

	for (;;) {
		if (console_read(c))
			return 0;
		r = deadline_poll(&ask, fds, 2);
		if (r == -ETIMEDOUT)
			return deadline_left_ms(d) == 0 ? -ETIMEDOUT : 0;
		if (r < 0)
			return r;
		if (fds[0].revents)
			return err_set(e, EIO,
				       "the virtual machine ended before its agent answered");
	}
}

static int wait_health(struct sbx *s, const struct guest *g, const struct deadline *d,
		       struct err *e)
{
	struct console c;
	int r;

	console_open(&c, s);
	do {
		r = wait_hint(vm_common(s->vm)->pidfd, &c, d, e);
		if (r == 0)
			r = guest_health(g, d, NULL);
	} while (r == -EHOSTDOWN);
	console_close(&c);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "the guest's agent did not answer in time");
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled while the guest booted");
	return r;
}

/* Input to the console is written from fs/'s side, with a descriptor of its own. */
static void console_keep(struct sbx *s)
{
	int fd = fcntl(vm_common(s->vm)->console, F_DUPFD_CLOEXEC,
		       0); /* -1 when there is none: no input then */

	pthread_mutex_lock(&s->lock);
	fd_close(s->console_fd); /* of a guest that was asked before */
	s->console_fd = fd;
	pthread_mutex_unlock(&s->lock);
}

/* The environment of every process: the template's, overridden by the sandbox's own. NULL-terminated, one allocation a text. */
static int env_make(struct sbx *s, char ***ret)
{
	const struct config *layers[] = {&s->version->defaults, &s->config};
	size_t n = 0;
	char **env;

	for (size_t i = 0; i < 2; i++)
		for (const struct config_pair *p = layers[i]->pairs; p; p = p->next)
			n++;
	env = calloc(n + 1, sizeof(*env));
	if (!env)
		return -ENOMEM;
	*ret = env;
	for (size_t i = 0; i < 2; i++) {
		for (const struct config_pair *p = layers[i]->pairs; p; p = p->next) {
			if (strncmp(p->key, "env.", 4) != 0 ||
			    (i == 0 && config_get(&s->config, p->key)))
				continue;
			if (asprintf(env, "%s=%s", p->key + 4, p->value) < 0) {
				*env = NULL;
				return -ENOMEM;
			}
			env++;
		}
	}
	return 0;
}

static void env_free(char **env)
{
	for (char **at = env; env && *at; at++)
		free(*at);
	free(env);
}

/* What the agent is told: @more goes beyond the settings. */
static int agent_init(struct sbx *s, const struct guest *g, const struct guest_setup *more,
		      const struct deadline *d, struct err *e)
{
	const struct template_version *v = s->version;
	struct guest_facts facts = {0};
	struct guest_setup setup = *more;
	char name[NAME_MAX_LEN + 1], **env = NULL;
	int r = env_make(s, &env);

	sbx_name(s, name);
	setup.hostname = name;
	setup.env = (const char *const *)env;
	setup.user = config_effective(&s->config, &v->defaults, CONFIG_USER);
	setup.cwd = config_effective(&s->config, &v->defaults, CONFIG_CWD);
	if (setup.cwd[0] == '\0')
		setup.cwd = NULL;
	setup.dns = s->slot.dns;
	r = r < 0 ? err_set(e, ENOMEM, "no memory") : guest_init(g, &setup, d, &facts, e);
	env_free(env);
	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	s->facts = facts;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int ready_wait(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct guest g = sbx_agent(s);
	const struct guest_setup more = {0};
	int r = wait_health(s, &g, d, e);

	if (r == 0)
		r = agent_init(s, &g, &more, d, e);
	if (r == 0)
		console_keep(s);
	return r;
}

/* Ask until it answers. The waits in between end with the VMM. */
static int wait_answer(struct sbx *s, const struct guest *g, const struct deadline *d,
		       struct err *e)
{
	struct pollfd fd = {.fd = vm_common(s->vm)->pidfd, .events = POLLIN};
	int wait_ms = RESUMED_WAIT_MS, ask_ms = RESUMED_ASK_MS;

	for (;;) {
		struct deadline ask = deadline_within(d, ask_ms);
		struct deadline wait;
		int r = guest_health(g, &ask, NULL);

		if (r != -EHOSTDOWN)
			return r;
		wait = deadline_within(d, wait_ms);
		r = deadline_poll(&wait, &fd, 1);
		if (r > 0)
			return err_set(e, EIO,
				       "the virtual machine ended before its agent answered");
		if (r != -ETIMEDOUT || deadline_left_ms(d) == 0)
			return r;
		if (wait_ms < RESUMED_WAIT_MAX_MS)
			wait_ms = wait_ms * 2 < RESUMED_WAIT_MAX_MS ? wait_ms * 2
								    : RESUMED_WAIT_MAX_MS;
		if (ask_ms < READY_ASK_MS)
			ask_ms *= 2;
	}
}

int ready_again(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct guest g = sbx_agent(s);
	const struct guest_setup more = {0};
	int r = wait_answer(s, &g, d, e);

	if (r == -ETIMEDOUT && !s->was_up)
		return err_set(e, EHOSTDOWN, "no guest agent answers at %s:%u in time", g.addr,
			       g.port);
	if (r ==
	    -ETIMEDOUT) { /* busy, or it hangs: no reason to end a guest that runs; its health will tell */
		log_warning("no guest agent answers at %s:%u in time; it goes on all the same",
			    g.addr, g.port);
		console_keep(s);
		return 0;
	}
	if (r < 0)
		return r;
	/* Held by a daemon that died over it, the guest could not write what /init sets; an agent without it holds nothing. */
	(void)guest_fsthaw(&g, d, NULL);
	r = agent_init(s, &g, &more, d, e);
	if (r == 0)
		console_keep(s);
	return r;
}

/* ---- going on from saved memory ------------------------------------------------------------------ */

/* A token that its guest does not obey yet, in the record first. One of an earlier try is kept: the guest may obey it by now. */
static int token_renew(struct sbx *s, struct err *e)
{
	char token[GUEST_TOKEN_SIZE];

	if (s->token[0] && (!s->memory.foreign || strcmp(s->token, s->memory.token) != 0))
		return 0;
	if (random_hex(token, (GUEST_TOKEN_SIZE - 1) / 2) < 0)
		return err_set(e, EIO, "the kernel gives no random bytes");
	pthread_mutex_lock(&s->lock);
	memcpy(s->token, token, sizeof(token));
	pthread_mutex_unlock(&s->lock);
	return record_save(s, e);
}

/* Again while no answer comes: an agent that has heard all of it takes it once more. */
static int init_resumed(struct sbx *s, const struct guest_setup *more, const struct deadline *d,
			struct err *e)
{
	struct guest g = sbx_agent(s);
	int r;

	if (s->memory.token[0])
		g.token = s->memory.token;
	do {
		struct deadline soon;

		r = wait_answer(s, &g, d, e);
		if (r < 0)
			return r;
		soon = deadline_within(d, RESUMED_INIT_MS);
		r = agent_init(s, &g, more, &soon, e);
	} while (r == -EHOSTDOWN || (r == -ETIMEDOUT && deadline_left_ms(d) != 0));
	return r;
}

int ready_resumed(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_within(d, RESUMED_BALLOON_MS);
	char life[2 * LIFE_BYTES + 1], machine_id[2 * MACHINE_ID_BYTES + 1];
	struct guest_setup more = {.resumed = true, .life = life};
	int r = token_renew(s, e);

	if (r < 0)
		return r;
	if (random_hex(life, LIFE_BYTES) < 0 || random_hex(machine_id, MACHINE_ID_BYTES) < 0)
		return err_set(e, EIO, "the kernel gives no random bytes");
	if (s->memory.foreign)
		more.machine_id = machine_id;
	more.token = s->token;
	/* Best effort: a VM without a balloon has nothing to give back. */
	(void)vm_driver_of(s->vm)->balloon(s->vm, vm_common(s->vm)->memory_mib, &soon, NULL, NULL);
	r = init_resumed(s, &more, d, e);
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "the guest's agent did not answer in time");
	if (r == -ECANCELED)
		return err_set(e, ECANCELED, "cancelled while the guest went on");
	if (r == 0)
		console_keep(s);
	return r;
}

void ready_console_tail(struct sbx *s, unsigned lines, struct buf *b)
{
	char text[TAIL_MAX_BYTES];
	struct stat st;
	AUTO_FD fd = sbx_open(s, "console.log", O_RDONLY);
	off_t from;
	ssize_t n;
	char *at;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	from = st.st_size > (off_t)sizeof(text) ? st.st_size - (off_t)sizeof(text) : 0;
	if (from < s->console_start)
		from = s->console_start;
	n = pread(fd, text, sizeof(text), from);
	if (n <= 0)
		return;
	at = text + n;
	while (at > text && text + n - at < TAIL_SHOWN_BYTES) {
		if (at[-1] == '\n' && at < text + n && lines-- == 1)
			break;
		at--;
	}
	buf_adds(b, "console:\n");
	buf_add(b, at, (size_t)(text + n - at));
	if (text[n - 1] != '\n')
		buf_addc(b, '\n');
}
