// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/event.c - the messages that say what happens to a process */
#include "agent/event.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/base64.h"

void event_start(struct buf *b, pid_t pid, bool kill_on_close)
{
	buf_addf(b, "{\"event\":{\"start\":{\"pid\":%d%s}}}", pid,
		 kill_on_close ? ",\"killOnClose\":true" : "");
}

void event_data(struct buf *b, const char *output, const void *data, size_t len)
{
	buf_addf(b, "{\"event\":{\"data\":{\"%s\":\"", output);
	base64_add(b, data, len);
	buf_adds(b, "\"}}}");
}

/* "killed", "CPU time limit exceeded": clients look for these texts. They begin small but for names. */
static void signal_text(int sig, char *text, size_t size)
{
	const char *words = sigdescr_np(sig);

	if (!words) {
		(void)snprintf(text, size, "signal %d", sig);
		return;
	}
	(void)snprintf(text, size, "%s", words);
	if (islower((unsigned char)text[1]))
		text[0] = (char)tolower((unsigned char)text[0]);
}

static void end_by_signal(struct buf *b, int status)
{
	char words[64];
	const char *core = WCOREDUMP(status) ? " (core dumped)" : "";

	signal_text(WTERMSIG(status), words, sizeof(words));
	buf_addf(b,
		 "{\"event\":{\"end\":{\"exitCode\":-1,\"status\":\"signal: %s%s\","
		 "\"error\":\"signal: %s%s\",\"signal\":%d}}}",
		 words, core, words, core, WTERMSIG(status));
}

void event_end(struct buf *b, int status)
{
	int code = WEXITSTATUS(status);

	if (WIFSIGNALED(status))
		end_by_signal(b, status);
	else if (code)
		buf_addf(b,
			 "{\"event\":{\"end\":{\"exitCode\":%d,\"exited\":true,"
			 "\"status\":\"exit status %d\",\"error\":\"exit status %d\"}}}",
			 code, code, code);
	else
		buf_adds(b, "{\"event\":{\"end\":{\"exited\":true,\"status\":\"exit status 0\"}}}");
}
