// SPDX-License-Identifier: GPL-2.0-or-later
/* guest/exec.c - run a command in a guest
 *
 * How it works: process.Process/Start answers with a stream of events: start, data, end. Each is parsed
 * when it is whole; of the output GUEST_OUTPUT_MAX bytes are kept and the rest is counted. The end event
 * decides: with it the command has ended, whatever becomes of the connection afterwards.
 *
 * Our agent kills the command when the connection goes (Sbxfs-Kill-On-Close) and says so in the start
 * event. Another agent lets it live on, so after a timeout it is killed by a call of its own.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "guest/call.h"
#include "guest/env.h"
#include "guest/envelope.h"

enum {
	KILL_MS = 1000, /* for the call that kills what a timeout left behind */
	USER_HEADER_SIZE = 512,
	TIMEOUT_HEADER_SIZE = 48,
	STATUS_OK = 200,
};

static const char start_path[] = "/process.Process/Start";

/* A command on its way. */
struct exec {
	long status; /* HTTP's, set before the first byte of the answer comes */
	struct envelopes envelopes;
	struct buf refusal; /* the body of an answer that is no stream */
	struct buf *output;
	size_t room; /* bytes of output still to be kept */
	int64_t pid; /* 0: not started */
	bool kills_itself;
	bool ended;
	struct guest_exit exit;
	int failed; /* positive errno that the agent's error means */
	char said[GUEST_SAID_SIZE];
};

/* ---- what comes ---------------------------------------------------------------------------------- */

static void take_output(struct exec *x, const struct buf *data)
{
	size_t n = data->len < x->room ? data->len : x->room;

	buf_add(x->output, buf_text(data), n);
	x->room -= n;
	x->exit.truncated_bytes += data->len - n;
}

static int take_data(struct exec *x, struct json_object *data)
{
	AUTO_BUF bytes = BUF_INIT;
	const char *text = json_text_at(data, "stdout", NULL);
	int r;

	if (!text)
		text = json_text_at(data, "stderr", NULL);
	if (!text)
		return 0;
	r = base64_decode(&bytes, text, strlen(text));
	if (r == 0)
		take_output(x, &bytes);
	return r == 0 ? buf_error(x->output) : r;
}

/* Our agent says the number; others the words "signal: killed", with more behind them after a core dump. */
static int signal_of(struct json_object *end)
{
	static const char prefix[] = "signal: ";
	const char *text = json_text_at(end, "status", "");
	int64_t number = json_int_at(end, "signal", 0);

	if (number > 0 && number < NSIG)
		return (int)number;
	if (strncmp(text, prefix, strlen(prefix)) != 0)
		return 0;
	text += strlen(prefix);
	for (int sig = 1; sig < NSIG; sig++) {
		const char *words = sigdescr_np(sig);

		if (words && strncasecmp(text, words, strlen(words)) == 0)
			return sig;
	}
	return 0;
}

static void name_signal(int sig, char *ret, size_t size)
{
	const char *name = sigabbrev_np(sig);

	if (name)
		(void)snprintf(ret, size, "SIG%s", name);
	else if (sig >= SIGRTMIN && sig <= SIGRTMAX)
		(void)snprintf(ret, size, "SIGRTMIN+%u", (unsigned)(sig - SIGRTMIN) % NSIG);
	else
		(void)snprintf(ret, size, "SIG%u", (unsigned)sig % NSIG);
}

static int take_end(struct exec *x, struct json_object *end)
{
	int64_t code = json_int_at(end, "exitCode", 0);
	int sig = json_bool_at(end, "exited", false) ? 0 : signal_of(end);

	if (sig) {
		x->exit.signalled = true;
		name_signal(sig, x->exit.signal, sizeof(x->exit.signal));
	} else if (code < 0 || code > 255) {
		return -EBADMSG;
	}
	x->exit.status = sig ? 0 : (int)code;
	x->ended = true;
	return 0;
}

static int take_event(struct exec *x, struct json_object *message)
{
	struct json_object *data = json_at(message, "event/data");
	struct json_object *end = json_at(message, "event/end");
	int64_t pid = json_int_at(message, "event/start/pid", 0);

	if (x->ended)
		return -EBADMSG;
	if (pid > 0 && pid <= INT32_MAX) {
		x->pid = pid;
		x->kills_itself = json_bool_at(message, "event/start/killOnClose", false);
	}
	if (data)
		return take_data(x, data);
	return end ? take_end(x, end) : 0;
}

/* The last message: {} or {"error":{"code":...,"message":...}}. */
static void take_last(struct exec *x, struct json_object *message)
{
	const char *code = json_text_at(message, "error/code", NULL);

	if (!code)
		return;
	if (strcmp(code, "invalid_argument") == 0 || strcmp(code, "unauthenticated") == 0 ||
	    strcmp(code, "permission_denied") == 0)
		x->failed = EINVAL;
	else if (strcmp(code, "not_found") == 0)
		x->failed = ENOENT;
	else if (strcmp(code, "deadline_exceeded") == 0)
		x->failed = ETIMEDOUT;
	else
		x->failed = EIO;
	guest_said(json_text_at(message, "error/message", code), x->said, sizeof(x->said));
}

static int take_message(void *arg, unsigned flags, const char *payload, size_t len)
{
	struct exec *x = arg;
	AUTO_JSON message = NULL;
	int r = json_parse(payload, len, &message, NULL);

	if (r == 0 && flags & ENVELOPE_FLAG_END)
		take_last(x, message);
	else if (r == 0)
		r = take_event(x, message);
	return r;
}

static int take_bytes(void *arg, const char *data, size_t len)
{
	struct exec *x = arg;

	if (x->status == STATUS_OK)
		return envelopes_feed(&x->envelopes, data, len);
	if (x->refusal.len + len > GUEST_ANSWER_MAX)
		return -EMSGSIZE;
	buf_add(&x->refusal, data, len);
	return buf_error(&x->refusal);
}

/* ---- what is sent -------------------------------------------------------------------------------- */

static int add_args(struct json_object *config, const char *text)
{
	struct json_object *args = json_object_new_array();
	struct json_object *option = json_object_new_string("-c");
	struct json_object *command = json_object_new_string(text);

	if (!args || !option || !command || json_object_object_add(config, "args", args)) {
		json_object_put(args);
		json_object_put(option);
		json_object_put(command);
		return -ENOMEM;
	}
	/* From here on args belongs to config; what it does not take is still ours. */
	if (json_object_array_add(args, option)) {
		json_object_put(option);
		json_object_put(command);
		return -ENOMEM;
	}
	if (json_object_array_add(args, command)) {
		json_object_put(command);
		return -ENOMEM;
	}
	return 0;
}

static int make_body(const struct guest_command *c, struct buf *b)
{
	AUTO_JSON o = json_object_new_object();
	struct json_object *config = json_object_new_object();
	const char *text;

	if (!o || !config || json_object_object_add(o, "process", config)) {
		json_object_put(config);
		return -ENOMEM;
	}
	if (json_add_text(config, "cmd", "/bin/sh") || add_args(config, c->text) ||
	    json_add_text(config, "cwd", c->cwd) || env_add(config, "envs", c->env) ||
	    json_add_bool(o, "stdin", false))
		return -ENOMEM;
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	if (!text)
		return -ENOMEM;
	envelope_add(b, text, strlen(text));
	return buf_error(b);
}

/* "Authorization: Basic base64(user:)"; "" for the agent's default user. */
static int make_user_header(const char *user, char *ret, size_t size, struct err *e)
{
	AUTO_BUF plain = BUF_INIT;
	AUTO_BUF coded = BUF_INIT;
	int n;

	ret[0] = '\0';
	if (!user)
		return 0;
	buf_addf(&plain, "%s:", user);
	base64_add(&coded, buf_text(&plain), plain.len);
	n = snprintf(ret, size, "Authorization: Basic %s", buf_text(&coded));
	if (n < 0 || (size_t)n >= size || strchr(user, ':'))
		return err_set(e, EINVAL, "'%s' cannot be the name of a user", user);
	return 0;
}

static int send_start(struct exec *x, const struct guest *g, const struct guest_command *c,
		      const struct deadline *d, struct err *e)
{
	char user[USER_HEADER_SIZE], timeout[TIMEOUT_HEADER_SIZE];
	const char *headers[GUEST_HEADERS_MAX] = {"Content-Type: application/connect+json",
						  "Connect-Protocol-Version: 1",
						  "Sbxfs-Kill-On-Close: 1"};
	AUTO_BUF body = BUF_INIT;
	int left = deadline_left_ms(d);
	size_t n = 3;

	if (make_user_header(c->user, user, sizeof(user), e))
		return -EINVAL;
	if (make_body(c, &body))
		return err_set(e, ENOMEM, "no memory for the command");
	if (user[0])
		headers[n++] = user;
	if (left > 0) {
		/* So that the agent ends it even when no word of ours reaches it any more. */
		(void)snprintf(timeout, sizeof(timeout), "Connect-Timeout-Ms: %d", left);
		headers[n] = timeout;
	}
	struct http_request r = {.method = "POST",
				 .url = start_path,
				 .headers = headers,
				 .body = body.data,
				 .body_len = body.len,
				 .sink = take_bytes,
				 .sink_arg = x};

	return guest_send(g, &r, d, &x->status, e);
}

/* Best effort: there is nobody left to be told of a failure. */
static void kill_left_behind(const struct guest *g, const struct exec *x)
{
	struct deadline d = deadline_in(KILL_MS, -1);
	AUTO_BUF answer = BUF_INIT;
	char body[96];
	const struct guest_request ask = {"POST", "/process.Process/SendSignal", body};

	if (!x->pid || x->kills_itself || x->ended)
		return;
	(void)snprintf(body, sizeof(body),
		       "{\"process\":{\"pid\":%d},\"signal\":\"SIGNAL_SIGKILL\"}", (int)x->pid);
	(void)guest_ask(g, &ask, &d, &answer, NULL);
}

/* ---- what it comes to ---------------------------------------------------------------------------- */

static int result_of(const struct exec *x, int sent, struct err *e)
{
	if (x->ended)
		return 0;
	if (x->failed)
		return err_set(e, x->failed, "%s", x->said);
	if (sent == -EBADMSG || sent == -EMSGSIZE)
		return err_set(e, EIO, "the guest agent's answer is not what the protocol says");
	if (sent == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "the command did not end in time and was killed");
	if (sent)
		return sent;
	if (x->status != STATUS_OK)
		return guest_refused(x->status, start_path, &x->refusal, e);
	return err_set(e, EIO, "the guest agent's answer has no end");
}

int guest_exec(const struct guest *g, const struct guest_command *c, const struct deadline *d,
	       struct buf *output, struct guest_exit *ret_exit, struct err *e)
{
	struct exec x = {.output = output,
			 .room = GUEST_OUTPUT_MAX,
			 .envelopes = {.message = take_message, .arg = NULL}};
	int r;

	x.envelopes.arg = &x;
	r = send_start(&x, g, c, d, e);
	if (r)
		kill_left_behind(g, &x);
	r = result_of(&x, r, e);
	if (r == 0)
		*ret_exit = x.exit;
	envelopes_done(&x.envelopes);
	buf_done(&x.refusal);
	return r;
}
