/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-command.c - a write to a command file, as far as its lines are taken apart */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ops/call.h"

/* What every line that was accepted must hold to. */
static void line_judge(const struct line *l)
{
	if (!l->verb || l->argc < 0 || (l->argv && l->argv[l->argc]))
		abort();
	for (int i = 0; i < l->argc; i++)
		if (!l->argv[i] || strlen(l->argv[i]) > strlen(l->text))
			abort();
	if (l->rest < l->text && l->rest[0] != '\0')
		abort();
}

static void lines_take(enum command_target target, const char *text)
{
	AUTO_FREE char *copy = strdup(text);
	char *cursor = copy, *line;

	while ((line = parse_line(&cursor))) {
		struct line *l = NULL;
		struct err e = {0};

		if (line_parse(target, line, &l, &e) < 0) {
			if (e.code <= 0 || e.text[0] == '\0')
				abort();
			continue;
		}
		line_judge(l);
		line_put(l);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = NULL;
	struct err e = {0};
	bool cut;

	if (size == 0 || command_check((const char *)data, size, &cut, &e) < 0)
		return 0;
	text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (strlen(text) != size) /* what passed the check holds no NUL */
		abort();
	lines_take(COMMAND_SBX_CTL, text);
	lines_take(COMMAND_HOST_CTL, text);
	lines_take(COMMAND_TEMPLATE_CTL, text);
	return 0;
}
