// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/rpc.c - the calls of the service process.Process
 *
 * Not handled: terminals, input (stdin is /dev/null; a client that asks for more is refused), and joining a
 * process that another call started.
 */
#include "agent/rpc.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/http.h"
#include "agent/process.h"
#include "agent/stream.h"
#include "agent/user.h"
#include "agent/value.h"
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/json.h"

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* A call that fails: why, in the protocol's terms and in words. */
struct failure {
	enum connect_code code;
	struct err e;
};

static int fail(struct failure *f, enum connect_code code, const char *text)
{
	f->code = code;
	return err_set(&f->e, EINVAL, "%s", text);
}

static const struct failure no_memory = {CONNECT_RESOURCE_EXHAUSTED,
					 {ENOMEM, "the agent is out of memory"}};

/* A unary call's message; NULL after answering. */
static struct json_object *unary_message(struct evhttp_request *req)
{
	struct json_object *message = NULL;
	struct err e = {0};

	if (!connect_is_unary(req))
		return NULL;
	if (http_body(req, &message, &e) || !json_object_is_type(message, json_type_object)) {
		connect_error(req, CONNECT_INVALID_ARGUMENT,
			      e.code ? e.text : "the message is not a JSON object");
		json_object_put(message);
		return NULL;
	}
	return message;
}

void rpc_list(struct agent *a, struct evhttp_request *req)
{
	AUTO_JSON message = unary_message(req);
	struct json_object *list, *answer;

	if (!message)
		return;
	list = process_list(a);
	answer = list ? json_object_new_object() : NULL;
	if (!answer || json_object_object_add(answer, "processes", list)) {
		json_object_put(list);
		json_object_put(answer);
		answer = NULL;
	}
	connect_answer(req, answer);
}

/* ---- SendSignal ---------------------------------------------------------------------------------- */

static int read_selector(struct json_object *message, pid_t *ret_pid, const char **ret_tag,
			 struct failure *f)
{
	struct json_object *selector = value_at(message, "process");
	int64_t pid = 0;

	f->code = CONNECT_INVALID_ARGUMENT;
	if (value_int(selector, "pid", &pid, &f->e) || value_text(selector, "tag", ret_tag, &f->e))
		return -EINVAL;
	if (pid < 0 || pid > INT_MAX)
		return fail(f, CONNECT_INVALID_ARGUMENT, "pid is out of range");
	if (!pid && !*ret_tag)
		return fail(f, CONNECT_UNIMPLEMENTED, "process names neither a pid nor a tag");
	*ret_pid = (pid_t)pid;
	return 0;
}

static int read_signal(struct json_object *message, int *ret, struct failure *f)
{
	struct json_object *v = value_at(message, "signal");
	const char *text = v ? json_object_get_string(v) : "";

	if (strcmp(text, "SIGNAL_SIGKILL") == 0 || strcmp(text, "9") == 0)
		*ret = SIGKILL;
	else if (strcmp(text, "SIGNAL_SIGTERM") == 0 || strcmp(text, "15") == 0)
		*ret = SIGTERM;
	else
		return fail(f, CONNECT_UNIMPLEMENTED,
			    "signal is neither SIGNAL_SIGKILL nor SIGNAL_SIGTERM");
	return 0;
}

static int send_signal(struct agent *a, struct json_object *message, struct failure *f)
{
	struct process *p;
	const char *tag = NULL;
	pid_t pid = 0;
	int sig = 0;

	if (read_selector(message, &pid, &tag, f) || read_signal(message, &sig, f))
		return -EINVAL;
	p = process_find(a, pid, tag);
	if (!p)
		return fail(f, CONNECT_NOT_FOUND, "there is no such process");
	if (process_signal(p, sig))
		return fail(f, CONNECT_INTERNAL, "the signal could not be sent");
	return 0;
}

void rpc_send_signal(struct agent *a, struct evhttp_request *req)
{
	AUTO_JSON message = unary_message(req);
	struct failure f = {0};

	if (!message)
		return;
	if (send_signal(a, message, &f))
		connect_error(req, f.code, f.e.text);
	else
		connect_answer(req, json_object_new_object());
}

/* ---- Start --------------------------------------------------------------------------------------- */

/* The user of "Authorization: Basic base64(user:)", NULL without such a header. Return: 0; -EINVAL. */
static int basic_user(struct evhttp_request *req, char **ret)
{
	static const char scheme[] = "Basic ";
	const char *text = http_header(req, "Authorization");
	AUTO_BUF b = BUF_INIT;

	*ret = NULL;
	if (!text || strncasecmp(text, scheme, strlen(scheme)) != 0)
		return 0;
	text += strlen(scheme);
	if (base64_decode(&b, text, strlen(text)) || strlen(buf_text(&b)) != b.len)
		return -EINVAL;
	*ret = strndup(buf_text(&b), strcspn(buf_text(&b), ":"));
	return *ret ? 0 : -EINVAL;
}

static int find_user(struct agent *a, struct evhttp_request *req, struct user *ret,
		     struct failure *f)
{
	AUTO_FREE char *name = NULL;

	if (basic_user(req, &name))
		return fail(f, CONNECT_UNAUTHENTICATED, "the Authorization header is malformed");
	if (user_find(name && *name ? name : a->user, ret, &f->e)) {
		f->code = CONNECT_UNAUTHENTICATED;
		return -EINVAL;
	}
	return 0;
}

static int put_text(struct json_object *env, const char *key, const char *text)
{
	struct json_object *v = json_object_new_string(text);

	if (!v || json_object_object_add(env, key, v)) {
		json_object_put(v);
		return -ENOMEM;
	}
	return 0;
}

static int put_all(struct json_object *env, struct json_object *more)
{
	if (!more)
		return 0;
	json_object_object_foreach(more, key, v)
	{
		if (json_object_object_add(env, key, json_object_get(v))) {
			json_object_put(v);
			return -ENOMEM;
		}
	}
	return 0;
}

/* The later ones win: what every process has, what /init said, what the request says. */
static struct json_object *make_env(const struct agent *a, const struct user *u,
				    struct json_object *more)
{
	struct json_object *env = json_object_new_object();

	if (!env || put_text(env, "PATH", default_path) || put_text(env, "HOME", u->home) ||
	    put_text(env, "USER", u->name) || put_text(env, "LOGNAME", u->name) ||
	    put_all(env, a->env) || put_all(env, more)) {
		json_object_put(env);
		return NULL;
	}
	return env;
}

/* The parts of a message to Start. Borrowed from it. */
struct start {
	const char *cmd, *cwd, *tag;
	struct json_object *args, *envs;
};

static int check_args(struct json_object *args, struct failure *f)
{
	if (args && !json_object_is_type(args, json_type_array))
		return fail(f, CONNECT_INVALID_ARGUMENT, "args is not an array");
	for (size_t i = 0; args && i < json_object_array_length(args); i++)
		if (!value_word(json_object_array_get_idx(args, i)))
			return fail(f, CONNECT_INVALID_ARGUMENT,
				    "args holds something else than texts without NUL");
	return 0;
}

static int read_start(struct json_object *message, struct start *s, struct failure *f)
{
	struct json_object *config = value_at(message, "process");
	bool wants_stdin = false;

	f->code = CONNECT_INVALID_ARGUMENT;
	if (value_text(config, "cmd", &s->cmd, &f->e) ||
	    value_text(config, "cwd", &s->cwd, &f->e) ||
	    value_text(message, "tag", &s->tag, &f->e) ||
	    value_bool(message, "stdin", &wants_stdin, &f->e))
		return -EINVAL;
	s->args = value_at(config, "args");
	s->envs = value_at(config, "envs");
	if (!s->cmd || !*s->cmd)
		return fail(f, CONNECT_INVALID_ARGUMENT, "process.cmd is missing");
	if (s->cwd && !*s->cwd)
		s->cwd = NULL;
	if (wants_stdin || value_at(message, "pty"))
		return fail(f, CONNECT_UNIMPLEMENTED,
			    "this agent gives a process neither input nor a terminal");
	if (s->envs && value_check_env(s->envs, "envs", &f->e))
		return -EINVAL;
	return check_args(s->args, f);
}

/* The process as clients see it in List. */
static struct json_object *make_config(const struct start *s)
{
	struct json_object *o = json_object_new_object();

	if (!o || json_add_text(o, "cmd", s->cmd) || json_add_text(o, "cwd", s->cwd) ||
	    (s->args && json_object_object_add(o, "args", json_object_get(s->args))) ||
	    (s->envs && json_object_object_add(o, "envs", json_object_get(s->envs)))) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static int run(struct agent *a, struct evhttp_request *req, struct stream *stream,
	       const struct start *s, struct failure *f)
{
	__attribute__((cleanup(user_done))) struct user user = {0};
	AUTO_JSON env = NULL;
	AUTO_JSON config = NULL;
	const char *kill = http_header(req, "Sbxfs-Kill-On-Close");
	struct start shown = *s;
	struct process_order order = {.tag = s->tag};

	if (find_user(a, req, &user, f))
		return -EINVAL;
	if (!shown.cwd)
		shown.cwd = a->cwd;
	env = make_env(a, &user, s->envs);
	config = make_config(&shown);
	if (!env || !config) {
		*f = no_memory;
		return -ENOMEM;
	}
	order.spawn = (struct spawn_spec){.cmd = s->cmd,
					  .args = s->args,
					  .env = env,
					  .cwd = shown.cwd,
					  .user = &user,
					  .files = &a->files};
	order.config = config;
	order.timeout_ms = connect_timeout_ms(req);
	order.kill_on_close = kill && strcmp(kill, "1") == 0;
	f->code = CONNECT_RESOURCE_EXHAUSTED;
	return process_start(a, &order, stream, &f->e);
}

void rpc_start(struct agent *a, struct evhttp_request *req)
{
	AUTO_JSON message = NULL;
	struct stream *stream;
	struct failure f = {.code = CONNECT_INVALID_ARGUMENT};
	struct start s = {0};

	if (!connect_is_stream(req))
		return;
	stream = stream_open(a, req);
	if (!stream)
		return;
	/* From here on failures travel in the stream, with status 200. */
	if (connect_stream_body(req, &message, &f.e) || read_start(message, &s, &f) ||
	    run(a, req, stream, &s, &f))
		stream_fail(stream, f.code, f.e.text);
}
