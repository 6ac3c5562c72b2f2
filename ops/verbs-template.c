/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/verbs-template.c - what a template's own verbs do; its settings are in verbs-config.c */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "ops/template.h"
#include "ops/verbs-private.h"

enum {
	KEYS_MAX = 4,
};

/* Sort KEY=VALUE words into @ret, by @keys ("key="); NULL-terminated. A word twice counts as the last. */
static int take_pairs(const struct verb_call *c, const char *const *keys, const char **ret,
		      struct err *e)
{
	for (int i = 0; i < c->argc; i++) {
		int k = 0;

		while (keys[k] && strncmp(c->argv[i], keys[k], strlen(keys[k])) != 0)
			k++;
		if (!keys[k])
			return err_set(e, EINVAL, "usage: %s %s", c->verb->name, c->verb->args);
		ret[k] = c->argv[i] + strlen(keys[k]);
	}
	return 0;
}

int run_import(struct verb_call *c, struct err *e)
{
	static const char *const keys[] = {"rootfs=", "kernel=", "initrd=", "cmdline=", NULL};
	const char *values[KEYS_MAX] = {NULL};
	struct template_files files;
	struct deadline d = verb_deadline(c, INT64_MAX / 2);

	if (c->argc == 1 && (c->argv[0][0] == '/' || !strchr(c->argv[0], '=')))
		return template_import(c->template, c->argv[0], c->writer, &d, e);
	if (take_pairs(c, keys, values, e) < 0)
		return -EINVAL;
	files = (struct template_files){values[0], values[1], values[2], values[3]};
	if (!files.rootfs)
		return err_set(e, EINVAL, "rootfs=PATH is needed");
	return template_import_files(c->template, &files, c->writer, &d, e);
}

static int take_sha256(const char *text, char ret[DIGEST_HEX_SIZE], struct err *e)
{
	size_t n = 0;

	while (n < DIGEST_HEX_SIZE - 1 && isxdigit((unsigned char)text[n])) {
		ret[n] = (char)tolower((unsigned char)text[n]);
		n++;
	}
	ret[n] = '\0';
	if (n != DIGEST_HEX_SIZE - 1 || text[n] != '\0')
		return err_set(e, EINVAL,
			       "sha256= takes 64 hexadecimal digits, as sha256sum prints them");
	return 0;
}

int run_pull(struct verb_call *c, struct err *e)
{
	static const char *const keys[] = {"url=", "sha256=", NULL};
	const char *values[KEYS_MAX] = {NULL};
	struct deadline d = verb_deadline(c, INT64_MAX / 2);
	char sha256[DIGEST_HEX_SIZE];

	if (take_pairs(c, keys, values, e) < 0)
		return -EINVAL;
	if (!values[0] || !values[1])
		return err_set(e, EINVAL, "usage: pull %s", c->verb->args);
	if (fetch_check_url(values[0], e) < 0 || take_sha256(values[1], sha256, e) < 0)
		return -EINVAL;
	return template_pull(c->template, values[0], sha256, &d, e);
}

int run_check(struct verb_call *c, struct err *e)
{
	struct deadline d = verb_deadline(c, INT64_MAX / 2);

	return template_check(c->template, &d, c->out, e);
}
