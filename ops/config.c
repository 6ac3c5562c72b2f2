/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/config.c - the table of settings, and settings as text */
#include "ops/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "net/egress.h"
#include "ops/restart.h"
#include "vm/vm.h"

enum {
	VCPUS_MAX = 64,
	MEMORY_MIN_MB = 64,
	MEMORY_MAX_MB = 16 << 20, /* 16 TiB; what the host has is counted at the start */
	DISK_MAX_MB = 64 << 20,   /* 64 TiB */
	VALUE_MAX = 32768,        /* bytes of one value */
	SECONDS_MAX = 1 << 30,    /* 34 years */
	DELAY_MAX_MS = 1 << 30,   /* 12 days */
	NET_BPS_MIN = 8192,
};

#define NET_BPS_MAX UINT64_C(1000000000000)

static int check_template(const char *value, struct err *e)
{
	return name_is_valid(value) ? 0 : err_set(e, EINVAL, "template=%s is not a name", value);
}

static int check_number(const char *key, const char *value, uint64_t min, uint64_t max,
			struct err *e)
{
	uint64_t n;

	if (parse_u64(value, min, max, &n) == 0)
		return 0;
	return err_set(e, EINVAL, "%s=%s is not a number from %llu to %llu", key, value,
		       (unsigned long long)min, (unsigned long long)max);
}

static int check_vcpus(const char *value, struct err *e)
{
	return check_number("vcpus", value, 1, VCPUS_MAX, e);
}

static int check_memory(const char *value, struct err *e)
{
	return check_number("memory_mb", value, MEMORY_MIN_MB, MEMORY_MAX_MB, e);
}

static int check_disk(const char *value, struct err *e)
{
	return check_number("disk_mb", value, 1, DISK_MAX_MB, e);
}

static int check_vmm(const char *value, struct err *e)
{
	if (strcmp(value, "auto") == 0 || vm_driver_named(value))
		return 0;
	return err_set(e, EINVAL, "vmm=%s is not one of auto, qemu, cloud-hypervisor", value);
}

static int check_yes_no(const char *key, const char *value, struct err *e)
{
	bool yes;

	return parse_bool(value, &yes) == 0
		       ? 0
		       : err_set(e, EINVAL, "%s=%s is not yes or no", key, value);
}

static int check_protect(const char *value, struct err *e)
{
	return check_yes_no("protect", value, e);
}

static int check_autostart(const char *value, struct err *e)
{
	return check_yes_no("autostart", value, e);
}

static int check_auto_resume(const char *value, struct err *e)
{
	return check_yes_no("auto_resume", value, e);
}

static int check_user(const char *value, struct err *e)
{
	return strpbrk(value, ":/ \t\n") ? err_set(e, EINVAL, "user=%s is not a user name", value)
					 : 0;
}

static int check_cwd(const char *value, struct err *e)
{
	return value[0] == '/' ? 0 : err_set(e, EINVAL, "cwd=%s is not an absolute path", value);
}

static int check_warm(const char *value, struct err *e)
{
	if (strcmp(value, "auto") == 0 || strcmp(value, "no") == 0)
		return 0;
	return err_set(e, EINVAL, "warm=%s is not auto or no", value);
}

static int check_timeout(const char *value, struct err *e)
{
	return check_number("timeout_sec", value, 0, SECONDS_MAX, e);
}

static int check_on_timeout(const char *value, struct err *e)
{
	if (strcmp(value, "pause") == 0 || strcmp(value, "stop") == 0 ||
	    strcmp(value, "destroy") == 0)
		return 0;
	return err_set(e, EINVAL, "on_timeout=%s is not pause, stop or destroy", value);
}

static int check_max_age(const char *value, struct err *e)
{
	return check_number("max_age_sec", value, 0, SECONDS_MAX, e);
}

static int check_restart(const char *value, struct err *e)
{
	enum restart_when when;

	return restart_when_parse(value, &when) == 0
		       ? 0
		       : err_set(e, EINVAL, "restart=%s is not no, on-failure or always", value);
}

static int check_restart_max(const char *value, struct err *e)
{
	return check_number("restart_max", value, 0, UINT32_MAX, e);
}

static int check_restart_delay(const char *value, struct err *e)
{
	return check_number("restart_delay_ms", value, 0, DELAY_MAX_MS, e);
}

static int check_restart_delay_max(const char *value, struct err *e)
{
	return check_number("restart_delay_max_ms", value, 0, DELAY_MAX_MS, e);
}

static int check_health_cmd(const char *value, struct err *e)
{
	(void)value; /* any text is a command for /bin/sh */
	(void)e;
	return 0;
}

static int check_health_interval(const char *value, struct err *e)
{
	return check_number("health_interval_sec", value, 0, SECONDS_MAX, e);
}

static int check_health_retries(const char *value, struct err *e)
{
	return check_number("health_retries", value, 1, 1000, e);
}

static int check_egress(const char *value, struct err *e)
{
	struct egress rules;
	int r = egress_parse(value, &rules, e);

	if (r == 0)
		egress_done(&rules);
	return r;
}

static int check_net_bps(const char *value, struct err *e)
{
	/* With less the guest's agent could not answer in time. */
	return strcmp(value, "0") == 0
		       ? 0
		       : check_number("net_bps", value, NET_BPS_MIN, NET_BPS_MAX, e);
}

/* clang-format off */
const struct config_row config_rows[CONFIG_KEY_COUNT] = {
	[CONFIG_TEMPLATE]  = { "template",  "default", "what it is made from; pinned at the first start", check_template, true, false },
	[CONFIG_VCPUS]     = { "vcpus",     "1",       "virtual CPUs, 1 to 64",                           check_vcpus,    true, false },
	[CONFIG_MEMORY_MB] = { "memory_mb", "512",     "memory in MiB, 64 or more",                       check_memory,   true, false },
	[CONFIG_DISK_MB]   = { "disk_mb",   "5120",        "disk in MiB; unless set, the template's own size if that is larger", check_disk, true, false },
	[CONFIG_VMM]       = { "vmm",       "auto",    "auto, qemu or cloud-hypervisor",                  check_vmm,      true, false },
	[CONFIG_PROTECT]   = { "protect",   "no",      "yes: destroy and rmdir are refused",              check_protect,  false, false },
	[CONFIG_USER]      = { "user",      "root",    "who runs commands in the guest",                  check_user,     true, false },
	[CONFIG_CWD]       = { "cwd",       "",        "where commands run in the guest; empty: the user's home", check_cwd, true, false },
	[CONFIG_TIMEOUT_SEC] = { "timeout_sec", "0",   "seconds without use after which on_timeout happens; 0: never", check_timeout, false, false },
	[CONFIG_ON_TIMEOUT] = { "on_timeout", "pause", "pause, stop or destroy",                          check_on_timeout, false, false },
	[CONFIG_MAX_AGE_SEC] = { "max_age_sec", "0",   "seconds after which it is destroyed, unless protected; 0: never", check_max_age, false, false },
	[CONFIG_RESTART]   = { "restart",   "no",      "no, on-failure or always: started again when it ends by itself", check_restart, false, false },
	[CONFIG_RESTART_MAX] = { "restart_max", "0",   "restarts in a row without a good run; 0: any number", check_restart_max, false, false },
	[CONFIG_RESTART_DELAY_MS] = { "restart_delay_ms", "1000", "before the first restart; twice as long before each further one", check_restart_delay, false, false },
	[CONFIG_RESTART_DELAY_MAX_MS] = { "restart_delay_max_ms", "60000", "the longest delay; a longer run is a good one", check_restart_delay_max, false, false },
	[CONFIG_AUTOSTART] = { "autostart", "no",      "yes: started when the daemon starts",             check_autostart, false, false },
	[CONFIG_AUTO_RESUME] = { "auto_resume", "no",  "yes: a command for its guest starts or resumes it first", check_auto_resume, false, false },
	[CONFIG_HEALTH_CMD] = { "health_cmd", "",      "run in the guest to tell whether it is well; empty: its agent is asked", check_health_cmd, false, false },
	[CONFIG_HEALTH_INTERVAL_SEC] = { "health_interval_sec", "30", "between two looks at its health; 0: none", check_health_interval, false, false },
	[CONFIG_HEALTH_RETRIES] = { "health_retries", "3", "failures in a row that make it unhealthy",  check_health_retries, false, false },
	[CONFIG_WARM]      = { "warm",      "auto",    "no: the first start boots, also where its template has a memory to go on from", check_warm, false, false },
	[CONFIG_EGRESS]    = { "egress",    "policy allow", "what the guest may send to: rules, a ; between two; see net/egress", check_egress, false, true },
	[CONFIG_NET_BPS]   = { "net_bps",   "0",       "bytes a second that the guest may receive, and as many that it may send; 0: no limit", check_net_bps, false, true },
};
/* clang-format on */

void config_done(struct config *c)
{
	struct config_pair *next;

	for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
		free(c->value[i]);
		c->value[i] = NULL;
	}
	for (struct config_pair *p = c->pairs; p; p = next) {
		next = p->next;
		free(p->key);
		free(p->value);
		free(p);
	}
	c->pairs = NULL;
}

static struct config_pair *pair_new(const char *key, const char *value)
{
	struct config_pair *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->key = strdup(key);
	p->value = strdup(value);
	if (p->key && p->value)
		return p;
	free(p->key);
	free(p->value);
	free(p);
	return NULL;
}

int config_copy(const struct config *from, struct config *ret)
{
	struct config copy = {0};
	struct config_pair **tail = &copy.pairs;

	for (int i = 0; i < CONFIG_KEY_COUNT; i++) {
		if (!from->value[i])
			continue;
		copy.value[i] = strdup(from->value[i]);
		if (!copy.value[i])
			goto fail;
	}
	for (const struct config_pair *p = from->pairs; p; p = p->next) {
		*tail = pair_new(p->key, p->value);
		if (!*tail)
			goto fail;
		tail = &(*tail)->next;
	}
	*ret = copy;
	return 0;
fail:
	config_done(&copy);
	return -ENOMEM;
}

static bool key_is_pair(const char *key)
{
	const char *name;

	if (strncmp(key, "env.", 4) == 0)
		name = key + 4;
	else if (strncmp(key, "label.", 6) == 0)
		name = key + 6;
	else
		return false;
	if (*name == '\0' || strlen(name) > 255)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("_.-/", *name))
			return false;
	return true;
}

static int pair_set(struct config *c, const char *key, const char *value)
{
	struct config_pair **at = &c->pairs, *p;

	while (*at && strcmp((*at)->key, key) < 0)
		at = &(*at)->next;
	p = NULL;
	if (value) {
		p = pair_new(key, value);
		if (!p)
			return -ENOMEM;
	}
	if (*at && strcmp((*at)->key, key) == 0) {
		struct config_pair *old = *at;

		*at = old->next;
		free(old->key);
		free(old->value);
		free(old);
	}
	if (p) {
		p->next = *at;
		*at = p;
	}
	return 0;
}

static int row_find(const char *key)
{
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		if (strcmp(config_rows[i].name, key) == 0)
			return i;
	return -1;
}

bool config_is_key(const char *key)
{
	return row_find(key) >= 0 || key_is_pair(key);
}

int config_set(struct config *c, const char *key, const char *value, bool *ret_restart,
	       struct err *e)
{
	int row = row_find(key), r;
	char *copy = NULL;

	if (value && *value == '\0')
		value = NULL;
	if (value && strlen(value) > VALUE_MAX)
		return err_set(e, EINVAL, "the value of %s is longer than %d bytes", key,
			       VALUE_MAX);
	if (row < 0) {
		if (!key_is_pair(key))
			return err_set(e, EINVAL, "there is no setting %s (help lists them)", key);
		if (ret_restart && strncmp(key, "env.", 4) == 0)
			*ret_restart = true;
		return pair_set(c, key, value) == 0 ? 0 : err_set(e, ENOMEM, "no memory");
	}
	if (value) {
		r = config_rows[row].check(value, e);
		if (r < 0)
			return r;
		copy = strdup(value);
		if (!copy)
			return err_set(e, ENOMEM, "no memory");
	}
	free(c->value[row]);
	c->value[row] = copy;
	if (ret_restart && config_rows[row].restart)
		*ret_restart = true;
	return 0;
}

const char *config_get(const struct config *c, const char *key)
{
	int row = row_find(key);

	if (row >= 0)
		return c->value[row];
	for (const struct config_pair *p = c->pairs; p; p = p->next)
		if (strcmp(p->key, key) == 0)
			return p->value;
	return NULL;
}

bool config_has_label(const struct config *c, const char *key, const char *value)
{
	for (const struct config_pair *p = c->pairs; p; p = p->next)
		if (strncmp(p->key, "label.", 6) == 0 && strcmp(p->key + 6, key) == 0)
			return strcmp(p->value, value) == 0;
	return false;
}

const char *config_effective(const struct config *c, const struct config *base, enum config_key key)
{
	if (c->value[key])
		return c->value[key];
	if (base && base->value[key])
		return base->value[key];
	return config_rows[key].fallback;
}

uint64_t config_number(const struct config *c, const struct config *base, enum config_key key)
{
	uint64_t n;

	return parse_u64(config_effective(c, base, key), 0, UINT64_MAX, &n) == 0 ? n : 0;
}

static void render_line(struct buf *b, const char *key, const char *value)
{
	buf_addf(b, "%s=", key);
	buf_add_escaped(b, value);
	buf_addc(b, '\n');
}

void config_render(const struct config *c, const struct config *base, struct buf *b)
{
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		if (c->value[i])
			render_line(b, config_rows[i].name, c->value[i]);
	for (const struct config_pair *p = c->pairs; p; p = p->next)
		render_line(b, p->key, p->value);
	buf_adds(b, "# defaults\n");
	for (int i = 0; i < CONFIG_KEY_COUNT; i++)
		if (!c->value[i])
			render_line(b, config_rows[i].name,
				    config_effective(c, base, (enum config_key)i));
	for (const struct config_pair *p = base ? base->pairs : NULL; p; p = p->next)
		if (!config_get(c, p->key))
			render_line(b, p->key, p->value);
}

/* Does this line say what would hold without it? */
static bool default_is(const struct config *base, const char *key, const char *value)
{
	static const struct config none;
	int row = row_find(key);
	const char *pair = config_get(base, key);

	if (row >= 0)
		return strcmp(config_effective(&none, base, (enum config_key)row), value) == 0;
	return pair && strcmp(pair, value) == 0;
}

/*
 * One line of a config write. @defaults: for one behind "# defaults", which comes from a file that was
 * read: writing it back must not turn a default into a setting, unless it was changed.
 */
static int apply_line(struct config *c, const struct config *defaults, char *line,
		      bool *ret_restart, struct err *e)
{
	char *value = strchr(line, '=');

	if (!value)
		return err_set(e, EINVAL, "%s is not KEY=VALUE", line);
	*value++ = '\0';
	if (parse_unescape(value) < 0)
		return err_set(e, EINVAL, "%s has a backslash that is not \\\\, \\n, \\t or \\xHH",
			       line);
	if (defaults && default_is(defaults, line, value))
		return 0;
	return config_set(c, line, value, ret_restart, e);
}

int config_apply_text(const struct config *c, const struct config *base, char *text,
		      struct config *ret_config, bool *ret_restart, struct err *e)
{
	static const struct config none;
	struct config copy = {0};
	char *cursor = text, *line;
	bool defaults = false;
	unsigned number = 0;
	int r;

	if (config_copy(c, &copy) < 0)
		return err_set(e, ENOMEM, "no memory");
	while ((line = parse_line(&cursor))) {
		number++;
		if (strcmp(line, "# defaults") == 0)
			defaults = true;
		if (*line == '\0' || *line == '#')
			continue;
		r = apply_line(&copy, defaults ? (base ? base : &none) : NULL, line, ret_restart,
			       e);
		if (r < 0) {
			config_done(&copy);
			return number > 1 || cursor ? err_wrap(e, "line %u", number) : r;
		}
	}
	*ret_config = copy;
	return 0;
}
