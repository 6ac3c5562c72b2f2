// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/warm.c - which images of memory are to be made, and the one thread that makes them
 *
 * How it works: a list of wanted versions, a count of what starts or resumes at this moment, and a thread that takes the first of the
 * list while that count is nought. The lock is held for memory only and taken after every other one.
 */
#include "ops/warm.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/host.h"
#include "ops/pool.h"
#include "ops/settings.h"
#include "ops/warm-private.h"

enum {
	MAKE_MS = 600000, /* for an emulated guest on a busy machine */
	YIELD_SEC = 20,   /* for what is being made to be undone */
	STACK_BYTES = 1 << 20,
};

struct wanted {
	struct wanted *next;
	char pin[NAME_MAX_LEN + 1 + 13];
};

static pthread_mutex_t warm_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t warm_cond = PTHREAD_COND_INITIALIZER; /* anything below has changed */
static struct wanted *queue;
static char making[NAME_MAX_LEN + 1 + 13]; /* "": nothing */
static int cancel_fd = -1;                 /* of that */
static char last[NAME_MAX_LEN + 1 + 13];   /* started last, of those that one may be ready for */
static unsigned starts;                    /* under way */
static bool stopping, threaded;
static pthread_t thread;

static bool is_start(enum sbx_state state)
{
	return state == SBX_STARTING || state == SBX_RESUMING;
}

void warm_note(enum sbx_state from, enum sbx_state to)
{
	if (is_start(from) == is_start(to))
		return;
	pthread_mutex_lock(&warm_lock);
	if (is_start(to))
		starts++;
	else if (starts > 0) /* one that an earlier daemon began was not counted */
		starts--;
	pthread_cond_broadcast(&warm_cond);
	pthread_mutex_unlock(&warm_lock);
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

/* The next one, once nothing starts; false when there is to be none any more. */
static bool take_next(char pin[sizeof(making)])
{
	struct wanted *w = NULL;

	pthread_mutex_lock(&warm_lock);
	making[0] = '\0';
	fd_close(steal_fd(&cancel_fd));
	pthread_cond_broadcast(&warm_cond);
	while (!stopping && (!queue || starts > 0))
		pthread_cond_wait(&warm_cond, &warm_lock);
	if (!stopping) {
		w = queue;
		queue = w->next;
		memcpy(making, w->pin, sizeof(making));
		memcpy(pin, w->pin, sizeof(making));
		cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	pthread_mutex_unlock(&warm_lock);
	free(w);
	return w != NULL;
}

static void *warm_run(void *arg)
{
	char pin[sizeof(making)];

	(void)arg;
	while (take_next(pin)) {
		struct deadline d = deadline_in(MAKE_MS, cancel_fd);
		struct err e = {0};
		int r;

		log_subject(pin);
		r = cancel_fd < 0 ? err_set(&e, EMFILE, "no descriptors") : warm_make(pin, &d, &e);
		if (r == 0)
			log_info("its first starts go on from an image of its memory");
		else
			log_info("no image of its memory was made: %s; a later start tries again",
				 e.text);
	}
	return NULL;
}

/* With the lock. */
static int thread_start(void)
{
	pthread_attr_t attr;
	int r;

	if (threaded)
		return 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = pthread_create(&thread, &attr, warm_run, NULL);
	pthread_attr_destroy(&attr);
	threaded = r == 0;
	return r;
}

/* ---- what is wanted -------------------------------------------------------------------------------------- */

/* With the lock. */
static bool is_known(const char *pin)
{
	if (strcmp(making, pin) == 0)
		return true;
	for (const struct wanted *w = queue; w; w = w->next)
		if (strcmp(w->pin, pin) == 0)
			return true;
	return false;
}

static void want(const char *pin)
{
	struct wanted *w = calloc(1, sizeof(*w)), **at;

	if (!w)
		return; /* a later start wants it again */
	(void)snprintf(w->pin, sizeof(w->pin), "%s", pin);
	pthread_mutex_lock(&warm_lock);
	if (!stopping && !is_known(pin) && thread_start() == 0) {
		for (at = &queue; *at; at = &(*at)->next)
			;
		*at = steal_ptr(&w);
		pthread_cond_broadcast(&warm_cond);
	}
	pthread_mutex_unlock(&warm_lock);
	free(w);
}

static void note_last(const char *pin)
{
	pthread_mutex_lock(&warm_lock);
	(void)snprintf(last, sizeof(last), "%s", pin);
	pthread_mutex_unlock(&warm_lock);
}

void warm_heed(void)
{
	char pin[sizeof(last)];

	pool_trim();
	pthread_mutex_lock(&warm_lock);
	memcpy(pin, last, sizeof(pin));
	pthread_mutex_unlock(&warm_lock);
	if (pin[0] && settings.warm != SETTING_NO && settings.pool > pool_count())
		want(pin);
}

void warm_want(struct sbx *s)
{
	const struct template_version *v = s->version;
	struct warm_shape own, usual;
	bool is_off;

	if (s->hidden || !v)
		return;
	pthread_mutex_lock(&s->lock);
	own = warm_shape(&s->config, v);
	is_off = strcmp(config_effective(&s->config, &v->defaults, CONFIG_WARM), "no") == 0;
	pthread_mutex_unlock(&s->lock);
	usual = warm_shape(NULL, v);
	if (!is_off && warm_same_shape(&own, &usual))
		note_last(v->pin);
	/* One that no start of this kind would take is not made. */
	if (!is_off && warm_same_shape(&own, &usual) && settings.warm != SETTING_NO &&
	    (!warm_is_ready(v) || pool_lacks(v)))
		want(v->pin);
}

/* Is this pin of that template? */
static bool is_of(const char *pin, const char *name)
{
	size_t len = strlen(name);

	return strncmp(pin, name, len) == 0 && pin[len] == '@';
}

bool warm_is_making(const char *template_name)
{
	bool yes;

	pthread_mutex_lock(&warm_lock);
	yes = is_of(making, template_name);
	for (const struct wanted *w = queue; w; w = w->next)
		yes = yes || is_of(w->pin, template_name);
	pthread_mutex_unlock(&warm_lock);
	return yes;
}

/* ---- giving up ------------------------------------------------------------------------------------------- */

/* With the lock. Wait until what is being made is gone. */
static int give_up(void)
{
	char what[sizeof(making)];
	struct timespec until;
	uint64_t one = 1;
	int r = 0;

	memcpy(what, making, sizeof(what));
	if (cancel_fd >= 0)
		(void)file_write_all(cancel_fd, &one, sizeof(one));
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += YIELD_SEC;
	while (making[0] && strcmp(making, what) == 0 && r == 0)
		r = pthread_cond_timedwait(&warm_cond, &warm_lock, &until);
	return -r;
}

/* With the lock. */
static void queue_clear(void)
{
	struct wanted *next;

	for (; queue; queue = next) {
		next = queue->next;
		free(queue);
	}
}

bool warm_yield(void)
{
	bool was;

	pthread_mutex_lock(&warm_lock);
	was = making[0] != '\0';
	queue_clear(); /* what is lacking would be lacking again */
	if (was)
		(void)give_up();
	pthread_mutex_unlock(&warm_lock);
	return pool_clear(NULL) || was;
}

int warm_forget(const char *template_name)
{
	struct wanted *w;
	int r = 0;

	pthread_mutex_lock(&warm_lock);
	for (struct wanted **at = &queue; *at;) {
		w = *at;
		if (is_of(w->pin, template_name)) {
			*at = w->next;
			free(w);
		} else {
			at = &w->next;
		}
	}
	if (is_of(last, template_name))
		last[0] = '\0';
	if (is_of(making, template_name))
		r = give_up();
	pthread_mutex_unlock(&warm_lock);
	(void)pool_clear(template_name);
	return r;
}

void warm_stop(void)
{
	bool join;

	pthread_mutex_lock(&warm_lock);
	stopping = true;
	join = threaded;
	threaded = false;
	queue_clear();
	pthread_cond_broadcast(&warm_cond);
	if (making[0])
		(void)give_up();
	pthread_mutex_unlock(&warm_lock);
	if (join)
		pthread_join(thread, NULL);
	(void)pool_clear(NULL);
}
