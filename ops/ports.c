/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/ports.c - a sandbox's forwarded ports
 *
 * How it works: a changed list takes the old one's place in memory, under a lock that keeps two sandboxes from looking for each other's
 * ports at once; then the slot is told, then the record is written. Whatever fails, the old list comes back.
 */
#include "ops/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "ops/net.h"
#include "ops/record.h"
#include "ops/registry.h"

enum {
	UNPRIVILEGED_PORT = 1024, /* the first, unless the host says otherwise */
	UNDO_MS = 5000,
};

static pthread_mutex_t ports_lock =
	PTHREAD_MUTEX_INITIALIZER; /* a list becomes a sandbox's; taken first */

struct list {
	struct forward *f; /* owned */
	size_t count;
};

/* ---- lists ----------------------------------------------------------------------------------------------- */

static int list_copy(struct sbx *s, struct list *ret, struct err *e)
{
	struct list l;

	pthread_mutex_lock(&s->lock);
	l.count = s->port_count;
	l.f = calloc(l.count + 1, sizeof(*l.f)); /* room for one more */
	if (l.f && l.count)
		memcpy(l.f, s->ports, l.count * sizeof(*l.f));
	pthread_mutex_unlock(&s->lock);
	if (!l.f)
		return err_set(e, ENOMEM, "no memory");
	*ret = l;
	return 0;
}

static void swap(struct sbx *s, struct list *l)
{
	struct list old;

	pthread_mutex_lock(&s->lock);
	old = (struct list){s->ports, s->port_count};
	s->ports = l->f;
	s->port_count = l->count;
	pthread_mutex_unlock(&s->lock);
	*l = old;
}

int ports_copy(struct sbx *s, struct forward **ret, size_t *ret_count, struct err *e)
{
	struct list l = {NULL, 0};
	int r = list_copy(s, &l, e);

	if (r < 0)
		return r;
	*ret = l.f;
	*ret_count = l.count;
	return 0;
}

void ports_render(struct sbx *s, struct buf *b)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->port_count; i++) {
		forward_render(&s->ports[i], b);
		buf_addc(b, '\n');
	}
	pthread_mutex_unlock(&s->lock);
}

/* ---- whose a port is --------------------------------------------------------------------------------------- */

static int is_of(const struct forward *f, const char *whose, const char *name, struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	forward_render_place(f, &b);
	return err_set(e, EADDRINUSE, "%s of the host leads to %s%s already", buf_text(&b), whose,
		       name);
}

/* One that is being destroyed will have let go of its ports, or keeps them from being had. */
static bool other_has(struct sbx *s, const struct forward *f, char ret_name[NAME_MAX_LEN + 1])
{
	bool has = false;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->port_count && !s->gone && !has; i++)
		has = forward_clashes(&s->ports[i], f);
	memcpy(ret_name, s->name, sizeof(s->name));
	pthread_mutex_unlock(&s->lock);
	return has;
}

static int check_others(const struct sbx *own, const struct forward *f, struct err *e)
{
	char name[NAME_MAX_LEN + 1] = "";
	uint32_t after = 0;
	struct sbx *s;
	bool has = false;

	while (!has && (s = registry_next_any(after))) {
		after = s->serial;
		has = s != own && other_has(s, f, name);
		sbx_put(s);
	}
	return has ? is_of(f, "the sandbox ", name, e) : 0;
}

/* What an ordinary program of the writer's could not have, a daemon of root's does not give. */
static int check_right(const struct forward *f, const struct writer *w, struct err *e)
{
	AUTO_BUF b = BUF_INIT;
	uint64_t first = UNPRIVILEGED_PORT;

	if (w->uid == 0)
		return 0;
	if (file_read(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", 16, &b, NULL) ==
	    0) {
		b.data[strcspn(b.data, "\n")] = '\0';
		(void)parse_u64(b.data, 0, UINT16_MAX, &first); /* else the usual */
	}
	return f->host_port >= first
		       ? 0
		       : err_set(e, EACCES, "ports of the host below %u are for root alone",
				 (unsigned)first);
}

/* ---- changing it ------------------------------------------------------------------------------------------- */

static bool has_slot(struct sbx *s)
{
	enum sbx_state state = sbx_state(s);

	return state == SBX_RUNNING || state == SBX_FROZEN;
}

/* @l has taken its place in memory, and is the old list now. */
static int hold(struct sbx *s, struct list *l, const struct deadline *d, struct err *e)
{
	struct deadline soon = deadline_in(UNDO_MS, -1);
	int r = has_slot(s) ? net_apply(s, d, e) : 0;
	bool applied = r == 0 && has_slot(s);
	struct err why = {0};

	if (r == 0)
		r = record_save(s, e);
	if (r == 0)
		return 0;
	swap(s, l);
	if (applied && net_apply(s, &soon, &why) < 0)
		log_warning("%s, ignoring: its ports are not as its record has them", why.text);
	return r;
}

/* Takes over @l. @added: what is new in it, or NULL. */
static int change(struct sbx *s, struct list *l, const struct forward *added,
		  const struct deadline *d, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&ports_lock);
	if (added)
		r = check_others(s, added, e);
	if (r == 0)
		swap(s, l);
	pthread_mutex_unlock(&ports_lock);
	if (r == 0)
		r = hold(s, l, d, e);
	free(l->f);
	return r;
}

/* Put @f into the list: in the place of one that leads from the same port, or at its end. */
static int insert(struct list *l, const struct forward *f, struct err *e)
{
	AUTO_BUF b = BUF_INIT;

	for (size_t i = 0; i < l->count; i++) {
		if (forward_same_place(&l->f[i], f)) {
			l->f[i] = *f;
			return 0;
		}
		if (!forward_clashes(&l->f[i], f))
			continue;
		forward_render(&l->f[i], &b);
		return is_of(f, "its own guest by ", buf_text(&b), e);
	}
	if (l->count >= FORWARDS_MAX)
		return err_set(e, EDQUOT, "it has %d forwarded ports, and that is the most",
			       FORWARDS_MAX);
	l->f[l->count++] = *f;
	return 0;
}

int ports_add(struct sbx *s, const struct forward *f, const struct writer *w,
	      const struct deadline *d, struct err *e)
{
	struct list l = {NULL, 0};
	int r = check_right(f, w, e);

	if (r == 0)
		r = list_copy(s, &l, e);
	if (r < 0 || !l.f)
		return r;
	r = insert(&l, f, e);
	if (r < 0) {
		free(l.f);
		return r;
	}
	return change(s, &l, f, d, e);
}

/* @whole: the guest's port is given too. */
static bool fits(const struct forward *f, const struct forward *wanted, bool whole)
{
	if (f->is_udp != wanted->is_udp || f->host_port != wanted->host_port)
		return false;
	if (whole)
		return f->host_addr == wanted->host_addr && f->guest_port == wanted->guest_port;
	return wanted->host_addr == 0 || f->host_addr == wanted->host_addr;
}

int ports_remove(struct sbx *s, const char *spec, const struct deadline *d, struct err *e)
{
	struct forward wanted;
	bool whole = forward_parse(spec, &wanted, NULL) == 0;
	size_t kept = 0;
	struct list l = {NULL, 0};
	int r = whole ? 0 : forward_parse_place(spec, &wanted, e);

	if (r == 0)
		r = list_copy(s, &l, e);
	if (r < 0 || !l.f)
		return r;
	for (size_t i = 0; i < l.count; i++)
		if (!fits(&l.f[i], &wanted, whole))
			l.f[kept++] = l.f[i];
	if (kept == l.count) {
		free(l.f);
		return err_set(e, ENOENT, "%s is none of its forwarded ports", spec);
	}
	l.count = kept;
	return change(s, &l, NULL, d, e);
}

int ports_reset(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct list none = {NULL, 0};

	return change(s, &none, NULL, d, e);
}

/* ---- the record -------------------------------------------------------------------------------------------- */

int ports_add_json(const struct sbx *s, struct json_object *o)
{
	struct json_object *list;

	if (s->port_count == 0)
		return 0;
	list = json_object_new_array();
	if (!list || json_object_object_add(o, "ports", list) < 0) {
		json_object_put(list);
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->port_count; i++) {
		AUTO_BUF b = BUF_INIT;
		struct json_object *text;

		forward_render(&s->ports[i], &b);
		text = buf_error(&b) ? NULL : json_object_new_string(buf_text(&b));
		if (!text || json_object_array_add(list, text) < 0) {
			json_object_put(text);
			return -ENOMEM;
		}
	}
	return 0;
}

int ports_from_json(struct sbx *s, struct json_object *o)
{
	struct json_object *list = json_at(o, "ports");
	size_t count =
		json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	s->ports = calloc(count + 1, sizeof(*s->ports));
	if (!s->ports)
		return -ENOMEM;
	for (size_t i = 0; i < count && i < FORWARDS_MAX; i++) {
		const char *text = json_object_get_string(json_object_array_get_idx(list, i));

		/* What a newer version may write there is not understood, and left out. */
		if (text && forward_parse(text, &s->ports[s->port_count], NULL) == 0)
			s->port_count++;
	}
	return 0;
}
