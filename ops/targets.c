/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/targets.c - names and labels in front of a verb's arguments
 *
 * How it works: the command line exec takes one NAME, since everything after it is the command. A verb with
 * a fixed number of arguments takes that many from the end, names before them. One that takes KEY=VALUE words has its
 * names before the first of those. One of a group has them before itself. Otherwise the first word is the name.
 */
#include "ops/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ops/registry.h"
#include "ops/verbs.h"

void targets_done(struct target_list *t)
{
	for (size_t i = 0; i < t->count; i++)
		sbx_put(t->sbx[i]);
	free(t->sbx);
	*t = (struct target_list){0};
}

/* Takes the reference, also on failure. */
static int targets_add(struct target_list *t, struct sbx *s, struct err *e)
{
	struct sbx **bigger = reallocarray(t->sbx, t->count + 1, sizeof(struct sbx *));

	if (!bigger) {
		sbx_put(s);
		return err_set(e, ENOMEM, "no memory");
	}
	t->sbx = bigger;
	t->sbx[t->count++] = s;
	return 0;
}

/* Is it among the first @count? Naming one twice is as good as once. */
static bool targets_have(const struct target_list *t, size_t count, const struct sbx *s)
{
	for (size_t i = 0; i < count; i++)
		if (t->sbx[i] == s)
			return true;
	return false;
}

static int add_label(struct target_list *t, const char *selector, struct err *e)
{
	size_t before = t->count; /* the walk itself meets each only once */
	AUTO_FREE char *key = strdup(selector);
	char *value = key ? strchr(key, '=') : NULL;
	uint32_t after = 0;
	struct sbx *s;
	int r = 0;

	if (!value)
		return err_set(e, EINVAL, "label=%s is not label=KEY=VALUE", selector);
	*value++ = '\0';
	while (r == 0 && (s = registry_next(after))) {
		bool match;

		after = s->serial;
		pthread_mutex_lock(&s->lock);
		match = config_has_label(&s->config, key, value);
		pthread_mutex_unlock(&s->lock);
		if (match && !targets_have(t, before, s))
			r = targets_add(t, s, e);
		else
			sbx_put(s);
	}
	return r;
}

static int add_word(struct target_list *t, const char *word, struct err *e)
{
	struct sbx *s;

	if (strncmp(word, "label=", 6) == 0)
		return add_label(t, word + 6, e);
	s = registry_find(word);
	if (!s)
		return err_set(e, ENOENT, "there is no sandbox %s", word);
	if (!targets_have(t, t->count, s))
		return targets_add(t, s, e);
	sbx_put(s);
	return 0;
}

static int args_check(const struct line *l, struct err *e)
{
	const struct verb *v = l->verb;

	if (v->flags & (VERB_RAW | VERB_HIDDEN)) {
		if (v->min_args > 0 && l->rest[0] == '\0')
			return err_set(e, EINVAL, "usage: %s %s", v->name, v->args);
		return 0;
	}
	if (l->argc < v->min_args || (v->max_args >= 0 && l->argc > v->max_args))
		return err_set(e, EINVAL, "usage: %s %s", v->name, v->args);
	return 0;
}

/* How many words in front are names. */
static int name_count(const struct line *l)
{
	int n = 0;

	if (l->verb->flags & VERB_SNAPSHOT)
		return l->names;
	if (l->verb->max_args >= 0 && l->verb->min_args == l->verb->max_args)
		return l->argc - l->verb->min_args;
	if (!(l->verb->flags & VERB_PAIRS))
		return l->argc > 0 ? 1 : 0;
	while (n < l->argc && (strncmp(l->argv[n], "label=", 6) == 0 || !strchr(l->argv[n], '=')))
		n++;
	return n;
}

static int find_raw(struct line *l, struct target_list *ret, struct err *e)
{
	size_t len = strcspn(l->rest, " \t");
	AUTO_FREE char *word = strndup(l->rest, len);

	if (!word)
		return err_set(e, ENOMEM, "no memory");
	if (len == 0)
		return err_set(e, EINVAL, "usage: %s NAME %s", l->verb->name, l->verb->args);
	l->rest += len;
	l->rest += strspn(l->rest, " \t");
	return add_word(ret, word, e);
}

static int find_named(struct line *l, struct target_list *ret, struct err *e)
{
	int n, r = 0;

	if (l->verb->flags & VERB_RAW)
		return find_raw(l, ret, e);
	n = name_count(l);
	if (n <= 0)
		return err_set(e, EINVAL, "usage: %s NAME… %s", l->verb->name, l->verb->args);
	for (int i = 0; i < n && r == 0; i++)
		r = add_word(ret, l->argv[i], e);
	memmove(l->argv, l->argv + n, (size_t)(l->argc - n + 1) * sizeof(*l->argv));
	l->argc -= n;
	return r;
}

int targets_find(struct command *c, struct line *l, struct target_list *ret, bool *ret_fan_out,
		 struct err *e)
{
	bool named = c->target == COMMAND_HOST_CTL && verb_is_for_sbx(l->verb);
	int r;

	*ret_fan_out = false;
	if (named)
		r = find_named(l, ret, e);
	else
		r = targets_add(ret, c->sbx ? sbx_get(c->sbx) : NULL, e);
	if (r == 0)
		r = args_check(l, e);
	*ret_fan_out = named && r == 0;
	return r;
}
