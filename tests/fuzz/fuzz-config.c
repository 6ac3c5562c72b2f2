/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-config.c - a config file's text: what is accepted comes back the same when it is read and written */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ops/config.h"

/* Read the settings and write them back: nothing may change. */
static void write_back(const struct config *c)
{
	AUTO_BUF first = BUF_INIT;
	AUTO_BUF second = BUF_INIT;
	AUTO_FREE char *text = NULL;
	struct config again;

	config_render(c, NULL, &first);
	text = strdup(buf_text(&first));
	if (!text)
		return;
	if (config_apply_text(&(struct config){0}, NULL, text, &again, NULL, NULL) < 0)
		abort();
	config_render(&again, NULL, &second);
	if (strcmp(buf_text(&first), buf_text(&second)) != 0)
		abort();
	config_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = malloc(size + 1);
	const struct config none = {0};
	struct config c;
	struct err e = {0};
	bool restart = false;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (config_apply_text(&none, NULL, text, &c, &restart, &e) < 0) {
		if (e.code <= 0 || e.text[0] == '\0')
			abort();
		return 0;
	}
	write_back(&c);
	config_done(&c);
	return 0;
}
