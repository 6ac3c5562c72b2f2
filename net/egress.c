/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/egress.c - egress rules as text and in memory, and the order in which they decide */
#include "net/egress.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

enum {
	DOMAIN_MAX = 253,
	LABEL_MAX = 63,
};

/* ---- one rule ------------------------------------------------------------------------------------ */

/* Cut "/PREFIX" off and read it; 32 when there is none. */
static int take_prefix(char *text, unsigned *ret, struct err *e)
{
	char *slash = strchr(text, '/');
	uint64_t n = 32;

	if (slash)
		*slash++ = '\0';
	if (slash && parse_u64(slash, 0, 32, &n) < 0)
		return err_set(e, EINVAL, "/%s is not a prefix length from 0 to 32", slash);
	*ret = (unsigned)n;
	return 0;
}

static int take_port(char *text, uint16_t *ret, struct err *e)
{
	char *colon = strchr(text, ':');
	uint64_t n = 0;

	if (!colon)
		return 0;
	*colon++ = '\0';
	if (parse_u64(colon, 1, UINT16_MAX, &n) < 0)
		return err_set(e, EINVAL, "%s is not a port from 1 to 65535", colon);
	*ret = (uint16_t)n;
	return 0;
}

/* ADDRESS[/PREFIX][:PORT]; @text is cut up. */
static int parse_range(char *text, struct egress_rule *r, struct err *e)
{
	uint32_t addr = 0;
	unsigned prefix = 32;
	char right[SLOT_ADDR_SIZE];
	int rc = 0;

	if (strchr(text, ':') != strrchr(text, ':'))
		return err_set(e, EINVAL, "guests have IPv4 alone");
	rc = take_port(text, &r->port, e);
	if (rc == 0)
		rc = take_prefix(text, &prefix, e);
	if (rc < 0)
		return rc;
	if (addr_parse(text, &addr) < 0)
		return err_set(e, EINVAL, "%s is not an IPv4 address", text);
	r->to = addr_range_of(addr, prefix);
	if (r->to.addr != addr)
		return err_set(e, EINVAL, "%s/%u has bits behind its prefix; the network is %s/%u",
			       text, prefix, addr_text(r->to.addr, right), prefix);
	return 0;
}

static bool label_is_valid(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_')
			return false;
	return true;
}

static bool domain_is_valid(const char *name)
{
	for (;;) {
		size_t len = strcspn(name, ".");

		if (!label_is_valid(name, len))
			return false;
		if (name[len] == '\0')
			return true;
		name += len + 1;
	}
}

/* As it is written in rules: lower case, no dot at its end. */
static int parse_domain(const char *text, struct egress_rule *r, struct err *e)
{
	size_t len = strlen(text);
	const char *name = r->name;
	uint32_t addr = 0;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] > 127)
			return err_set(e, EINVAL,
				       "a name is written in ASCII, as it is asked for (xn--...)");
	if (len && text[len - 1] == '.')
		len--;
	if (len >= sizeof(r->name))
		return err_set(e, EINVAL, "a name has at most %d characters", DOMAIN_MAX);
	for (size_t i = 0; i < len; i++)
		r->name[i] = (char)tolower((unsigned char)text[i]);
	r->name[len] = '\0';
	if (strncmp(name, "*.", 2) == 0)
		name += 2;
	if (addr_parse(name, &addr) == 0)
		return err_set(e, EINVAL, "that is an address; say allow");
	if (strlen(name) > DOMAIN_MAX)
		return err_set(e, EINVAL, "a name has at most %d characters", DOMAIN_MAX);
	if (!domain_is_valid(name))
		return err_set(e, EINVAL, "that is not a domain name, or *. before one");
	return 0;
}

/* ---- a text of rules ----------------------------------------------------------------------------- */

static bool is_count(const char *word)
{
	const char *digits = NULL;
	uint64_t n = 0;

	if (strncmp(word, "packets=", 8) == 0)
		digits = word + 8;
	else if (strncmp(word, "bytes=", 6) == 0)
		digits = word + 6;
	return digits && parse_u64(digits, 0, UINT64_MAX, &n) == 0;
}

bool egress_same_place(const struct egress_rule *a, const struct egress_rule *b)
{
	if (a->is_name || b->is_name)
		return a->is_name && b->is_name && strcmp(a->name, b->name) == 0;
	return a->to.addr == b->to.addr && a->to.prefix == b->to.prefix && a->port == b->port;
}

static int add_rule(struct egress *g, const struct egress_rule *r, struct err *e)
{
	struct egress_rule *rules = NULL;

	for (size_t i = 0; i < g->count; i++)
		if (egress_same_place(&g->rules[i], r)) {
			g->rules[i] = *r;
			return 0;
		}
	if (g->count == EGRESS_RULES_MAX)
		return err_set(e, EINVAL, "there are %d rules, more are not possible",
			       EGRESS_RULES_MAX);
	rules = reallocarray(g->rules, g->count + 1, sizeof(*rules));
	if (!rules)
		return err_set(e, ENOMEM, "no memory for another rule");
	g->rules = rules;
	g->rules[g->count++] = *r;
	return 0;
}

static int parse_policy(const char *word, struct egress *g, struct err *e)
{
	if (strcmp(word, "allow") != 0 && strcmp(word, "deny") != 0)
		return err_set(e, EINVAL, "a policy is allow or deny");
	g->allow = word[0] == 'a';
	return 0;
}

/* @verb and @what: the words of a rule; @what is cut up. */
static int parse_words(const char *verb, char *what, struct egress *g, struct err *e)
{
	struct egress_rule r = {.allow = verb[0] == 'a'};
	int rc = 0;

	if (strcmp(verb, "policy") == 0)
		return parse_policy(what, g, e);
	if (strcmp(verb, "allow-name") == 0) {
		r.is_name = true;
		rc = parse_domain(what, &r, e);
	} else if (strcmp(verb, "allow") == 0 || strcmp(verb, "deny") == 0) {
		rc = parse_range(what, &r, e);
	} else {
		rc = err_set(e, EINVAL, "a rule begins with policy, allow, deny or allow-name");
	}
	return rc < 0 ? rc : add_rule(g, &r, e);
}

static int parse_rule(const char *text, struct egress *g, struct err *e)
{
	AUTO_FREE char *copy = strdup(text);
	char *cursor = NULL, *verb = NULL, *what = NULL;
	int rc = 0;

	if (!copy)
		return err_set(e, ENOMEM, "no memory for a rule");
	verb = strtok_r(copy, " \t\r", &cursor);
	if (!verb)
		return 0;
	what = strtok_r(NULL, " \t\r", &cursor);
	for (char *word; rc == 0 && (word = strtok_r(NULL, " \t\r", &cursor));)
		if (!is_count(word))
			rc = err_set(e, EINVAL, "%s is too much", word);
	if (!what)
		rc = err_set(e, EINVAL, "it does not say what");
	else if (rc == 0)
		rc = parse_words(verb, what, g, e);
	if (rc == -EINVAL)
		return err_wrap(e, "the rule \"%s\"", text + strspn(text, " \t"));
	return rc;
}

int egress_parse(const char *text, struct egress *ret, struct err *e)
{
	struct egress g = EGRESS_DEFAULT;
	AUTO_FREE char *copy = strdup(text);
	char *cursor = NULL;
	int rc = 0;

	if (!copy)
		return err_set(e, ENOMEM, "no memory for the rules");
	for (char *rule = strtok_r(copy, ";\n", &cursor); rule && rc == 0;
	     rule = strtok_r(NULL, ";\n", &cursor))
		rc = parse_rule(rule, &g, e);
	if (rc < 0)
		egress_done(&g);
	else
		*ret = g;
	return rc;
}

void egress_done(struct egress *g)
{
	free(g->rules);
	*g = (struct egress)EGRESS_DEFAULT;
}

int egress_copy(const struct egress *from, struct egress *ret)
{
	struct egress copy = *from;

	copy.rules = NULL;
	if (from->count) {
		copy.rules = calloc(from->count, sizeof(*copy.rules));
		if (!copy.rules)
			return -ENOMEM;
		memcpy(copy.rules, from->rules, from->count * sizeof(*copy.rules));
	}
	*ret = copy;
	return 0;
}

bool egress_same(const struct egress *a, const struct egress *b)
{
	if (a->allow != b->allow || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->rules[i].allow != b->rules[i].allow ||
		    !egress_same_place(&a->rules[i], &b->rules[i]))
			return false;
	return true;
}

bool egress_remove(struct egress *g, size_t index)
{
	if (index >= g->count)
		return false;
	memmove(&g->rules[index], &g->rules[index + 1], (g->count - index - 1) * sizeof(*g->rules));
	g->count--;
	return true;
}

/* ---- back to text -------------------------------------------------------------------------------- */

static void add_counts(uint64_t packets, uint64_t bytes, struct buf *b)
{
	buf_addf(b, " packets=%" PRIu64 " bytes=%" PRIu64, packets, bytes);
}

static void add_words(const struct egress_rule *r, struct buf *b)
{
	char addr[SLOT_ADDR_SIZE];

	if (r->is_name) {
		buf_addf(b, "allow-name %s", r->name);
		return;
	}
	buf_addf(b, "%s %s", r->allow ? "allow" : "deny", addr_text(r->to.addr, addr));
	if (r->to.prefix < 32)
		buf_addf(b, "/%u", r->to.prefix);
	if (r->port)
		buf_addf(b, ":%u", r->port);
}

void egress_render(const struct egress *g, const char *between, bool counts, struct buf *b)
{
	buf_adds(b, g->allow ? "policy allow" : "policy deny");
	if (counts)
		add_counts(g->packets, g->bytes, b);
	for (size_t i = 0; i < g->count; i++) {
		buf_adds(b, between);
		add_words(&g->rules[i], b);
		if (counts)
			add_counts(g->rules[i].packets, g->rules[i].bytes, b);
	}
}

/* ---- what decides -------------------------------------------------------------------------------- */

/* Is it a rule about a name that has this one? */
static bool rule_has(const struct egress_rule *r, const char *name)
{
	size_t below = strlen(r->name), len = strlen(name);

	if (!r->is_name)
		return false;
	if (r->name[0] != '*')
		return strcmp(r->name, name) == 0;
	below--; /* the dot is part of what it ends in, the star is not */
	return len > below && strcmp(name + len - below, r->name + 1) == 0;
}

const struct egress_rule *egress_rule_for(const struct egress *g, const char *name)
{
	for (size_t i = 0; i < g->count; i++)
		if (rule_has(&g->rules[i], name))
			return &g->rules[i];
	return NULL;
}

bool egress_has_name(const struct egress *g, const char *name)
{
	return g->allow || egress_rule_for(g, name);
}

static unsigned prefix_of(const struct egress_rule *r)
{
	return r->is_name ? 32 : r->to.prefix;
}

/* Less than 0: @a is asked before @b. Equal ones never match the same packet. */
static int compare(const struct egress_rule *a, const struct egress_rule *b)
{
	if (prefix_of(a) != prefix_of(b))
		return prefix_of(a) > prefix_of(b) ? -1 : 1;
	if ((a->port != 0) != (b->port != 0))
		return a->port ? -1 : 1;
	return a->is_name - b->is_name;
}

/* An insertion, so that equal ones stay in their order. @count: of those that are in @ret. */
static void insert(const struct egress_rule **ret, size_t count, const struct egress_rule *r)
{
	size_t at = count;

	for (; at > 0 && compare(r, ret[at - 1]) < 0; at--)
		ret[at] = ret[at - 1];
	ret[at] = r;
}

void egress_order(const struct egress *g, const struct egress_rule *closed, size_t closed_count,
		  const struct egress_rule **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < g->count; i++)
		insert(ret, n++, &g->rules[i]);
	for (size_t i = 0; i < closed_count; i++)
		insert(ret, n++, &closed[i]);
}
