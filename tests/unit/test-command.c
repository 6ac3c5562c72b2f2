/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-command.c - writes to ctl, config and .ctl: what runs, what is refused, and the replies */
#include "tests/unit/ops-dir.h"

#include <errno.h>
#include <semaphore.h>

#include "base/cleanup.h"
#include "ops/command.h"
#include "ops/lane.h"
#include "ops/ports.h"
#include "ops/verbs.h"

/* One write, as fs/ would give it. */
struct write {
	struct command command;
	pthread_mutex_t lock; /* as fs/: no cancel after done() */
	bool over;
	sem_t done;
	int result;
	char *text;
};

static struct sbx *box;

static void write_done(struct command *c, int result)
{
	struct write *w = c->arg;

	pthread_mutex_lock(&w->lock);
	w->over = true;
	w->result = result;
	pthread_mutex_unlock(&w->lock);
	sem_post(&w->done);
}

static void write_begin(struct write *w, enum command_target target, const char *text,
			bool nonblock)
{
	pthread_mutexattr_t attr;

	memset(w, 0, sizeof(*w));
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&w->lock, &attr);
	sem_init(&w->done, 0, 0);
	w->text = strdup(text);
	assert_non_null(w->text);
	w->command = (struct command){.target = target,
				      .sbx = target == COMMAND_HOST_CTL ? NULL : box,
				      .writer = {.uid = geteuid(), .gid = getegid()},
				      .nonblock = nonblock,
				      .text = w->text,
				      .done = write_done,
				      .arg = w};
	command_submit(&w->command);
}

static void write_cancel(struct write *w, int why)
{
	pthread_mutex_lock(&w->lock);
	if (!w->over)
		command_cancel(&w->command, why);
	pthread_mutex_unlock(&w->lock);
}

/* Wait for its end and check it; @reply NULL: any, ending in … : only the beginning counts. */
static void write_expect(struct write *w, int result, const char *reply)
{
	struct timespec until;
	const char *got;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	assert_int_equal(sem_timedwait(&w->done, &until), 0);
	got = buf_text(&w->command.reply);
	if (w->result != result)
		fail_msg("result %d: %s", w->result, got);
	if (reply && strlen(reply) > 3 && strcmp(reply + strlen(reply) - 3, "...") == 0)
		assert_int_equal(strncmp(got, reply, strlen(reply) - 3), 0);
	else if (reply)
		assert_string_equal(got, reply);
	buf_done(&w->command.reply);
	free(w->text);
}

static void run(enum command_target target, const char *text, int result, const char *reply)
{
	struct write w;

	write_begin(&w, target, text, false);
	write_expect(&w, result, reply);
}

static void ctl(const char *text, int result, const char *reply)
{
	run(COMMAND_SBX_CTL, text, result, reply);
}

static void host_ctl(const char *text, int result, const char *reply)
{
	run(COMMAND_HOST_CTL, text, result, reply);
}

static const char *value_of(const char *key)
{
	const char *value = config_get(&box->config, key);

	return value ? value : "";
}

static void forget(const char *name)
{
	struct sbx *s = registry_find(name);

	if (s)
		assert_int_equal(registry_remove(s, NULL), 0);
	sbx_put(s);
	ops_await(!(s = registry_find(name)) || (sbx_put(s), false));
}

/* ---- which writes may run ---------------------------------------------------------------------------- */

static void check(const char *text, size_t len, int result, bool cut)
{
	struct err e = {0};
	bool got = !cut;

	assert_int_equal(command_check(text, len, &got, &e), result);
	assert_int_equal(got, cut);
	assert_int_equal(e.code, -result);
}

static void test_check(void **state)
{
	AUTO_FREE char *text = malloc(LINE_MAX_LEN + 4);

	(void)state;
	memset(text, 'x', LINE_MAX_LEN + 4);
	for (size_t len = 1; len <= LINE_MAX_LEN; len += len < 2100 || len % 512 > 510 ? 1 : 255)
		check(text, len, len % 512 ? 0 : -E2BIG, len % 512 == 0);
	check(text, LINE_MAX_LEN + 1, -E2BIG, true);
	text[LINE_MAX_LEN] = '\n';
	check(text, LINE_MAX_LEN + 1, 0, false);
	text[511] = '\n';
	check(text, 512, 0, false);
	check(text, 513, -EINVAL, true); /* two lines, the second without its end */
	check("", 0, 0, false);
	check("\n", 1, 0, false);
	check("a\nb", 3, -EINVAL, true);
	check("a\nb\n", 4, 0, false);
	for (int c = 0; c < 256; c++) {
		char line[] = {'a', (char)c, 'b', '\n'};
		bool bad = (c < ' ' && c != '\t' && c != '\n') || c == 127;

		check(line, 4, bad ? -EINVAL : 0, false);
	}
	text[3] = '\x01'; /* a cut line is one whatever it holds */
	text[511] = 'x';
	check(text, 512, -E2BIG, true);
}

/* ---- lines ------------------------------------------------------------------------------------------- */

static void test_lines(void **state)
{
	(void)state;
	ctl("ping\n", 0, "ok\n");
	ctl("ping", 0, "ok\n");
	ctl("", 0, "ok\n");
	ctl("\n  \n# comment\n\t# another\n", 0, "ok\n");
	ctl("  ping  \n", 0, "ok\n");
	ctl("pong\n", -EINVAL, "error: EINVAL: there is no command pong...");
	ctl("config\n", -EINVAL, NULL); /* not a word that can be written */
	ctl("async\n", -EINVAL, NULL);
	ctl("ping now\n", -EINVAL, "error: EINVAL: usage: ping...");
	ctl("set \"env.A\n", -EINVAL, NULL);
	ctl("set \"env.A=x  y\" 'env.B=$H\\' env.C=a\\ b\\\"#c\n", 0, "ok\n");
	assert_string_equal(value_of("env.A"), "x  y");
	assert_string_equal(value_of("env.B"), "$H\\");
	assert_string_equal(value_of("env.C"), "a b\"#c");
	ctl("unset env.A env.B env.C\n", 0, "ok\n");
	assert_string_equal(value_of("env.A"), "");
	ctl("set vcpus\n", -EINVAL, NULL);
	ctl("set vcpus=2 vcpus=99\n", -EINVAL, NULL);
	assert_string_equal(value_of("vcpus"), "");
}

static void test_several(void **state)
{
	(void)state;
	ctl("set vcpus=2\n\nset vcpus=999\nset vcpus=3\n", -EINVAL, "error: EINVAL: line 3: ...");
	assert_string_equal(value_of("vcpus"), "2");
	ctl("set vcpus=3\nping\n", 0, "ok\n");
	assert_string_equal(value_of("vcpus"), "3");
	run(COMMAND_SBX_CONFIG, "vcpus=4\nmemory_mb=1\n", -EINVAL, "error: EINVAL: line 2: ...");
	assert_string_equal(value_of("vcpus"), "3");
	run(COMMAND_SBX_CONFIG, "env.A= a b \\n\nvcpus=\n", 0, "ok\n");
	assert_string_equal(value_of("env.A"), " a b \n");
	run(COMMAND_SBX_CONFIG, "env.A=", 0, "ok\n");
}

/* As many lines as a write can hold, none of them with work to wait for: in a loop, not ever deeper. */
static void test_many_lines(void **state)
{
	AUTO_BUF b = BUF_INIT;

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_adds(&b, "ping label=no=ne\n");
	host_ctl(buf_text(&b), 0, "");
	buf_reset(&b);
	for (int i = 0; i < 2000; i++)
		buf_adds(&b, "ping\n");
	ctl(buf_text(&b), 0, "ok\n");
}

/* ---- states, waiting, turns -------------------------------------------------------------------------- */

static void test_states(void **state)
{
	struct err e = {0};

	(void)state;
	ctl("freeze\n", -EINVAL,
	    "error: EINVAL: it is created, and freeze is for: running, frozen\n");
	ctl("stop\nkill\n", 0, "ok\n"); /* nothing to do */
	ctl("exec true\n", -EHOSTDOWN, NULL);
	ctl("sync\n", -EHOSTDOWN, NULL);
	ctl("start\n", -ENOTSUP, "error: ENOTSUP: no store in this test\n");
	assert_int_equal(sbx_state(box), SBX_CREATED);
	ctl("pause\n", -EINVAL,
	    "error: EINVAL: it is created, and pause is for: running, frozen, paused\n");
	ctl("resume\n", -EINVAL,
	    "error: EINVAL: it is created, and resume is for: running, paused, error\n");
	ctl("balloon 1\n", -EHOSTDOWN, NULL);
	assert_int_equal(verb_check_state(verb_find(COMMAND_SBX_CTL, "stop"), SBX_PAUSED, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "kill gives its memory up"));
}

/* The table of sbxfs(5): what each verb is in each lasting state. */
static void test_state_table(void **state)
{
	static const struct {
		const char *verb;
		int in[SBX_ERROR + 1]; /* 0: runs; 1: nothing to do */
	} rows[] = {
		/*            created  running  frozen  paused  stopped  error */
		{"start", {0, 1, -EBUSY, 0, 0, 0}},
		{"stop", {1, 0, 0, -EINVAL, 1, 0}},
		{"kill", {1, 0, 0, 0, 1, 0}},
		{"restart", {0, 0, 0, -EINVAL, 0, 0}},
		{"pause", {-EINVAL, 0, 0, 1, -EINVAL, -EINVAL}},
		{"resume", {-EINVAL, 1, -EBUSY, 0, -EINVAL, 0}},
		{"freeze", {-EINVAL, 0, 1, -EINVAL, -EINVAL, -EINVAL}},
		{"thaw", {-EINVAL, 1, 0, -EINVAL, -EINVAL, -EINVAL}},
		{"exec", {-EHOSTDOWN, 0, -EBUSY, -EHOSTDOWN, -EHOSTDOWN, -EHOSTDOWN}},
		{"balloon", {-EHOSTDOWN, 0, -EBUSY, -EHOSTDOWN, -EHOSTDOWN, -EHOSTDOWN}},
		{"destroy", {0}},
		{"set", {0}},
		{"ping", {0}},
	};
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (int in = SBX_CREATED; in <= SBX_ERROR; in++)
			assert_int_equal(verb_check_state(verb_find(COMMAND_SBX_CTL, rows[i].verb),
							  (enum sbx_state)in, &e),
					 rows[i].in[in]);
}

static void test_wait(void **state)
{
	struct write w;

	(void)state;
	ctl("wait stopped,created\n", 0, "ok\n");
	ctl("wait stopped timeout=0\n", -ETIMEDOUT, "error: ETIMEDOUT: it is still created\n");
	ctl("wait resting\n", -EINVAL, NULL);
	write_begin(&w, COMMAND_SBX_CTL, "wait error", false);
	sbx_set_state(box, SBX_ERROR);
	write_expect(&w, 0, "ok\n");
	sbx_set_state(box, SBX_CREATED);
	write_begin(&w, COMMAND_SBX_CTL, "wait stopped\nset vcpus=5\n", false);
	write_cancel(&w, EINTR);
	write_expect(&w, -EINTR, "error: EINTR: line 1: ...");
	assert_string_not_equal(value_of("vcpus"), "5");
}

/* Has the turn until it is cancelled or let go. */
struct holder {
	struct job job;
	sem_t begun, over;
	int fd[2];
};

static int holder_run(struct job *j, struct err *e)
{
	struct holder *h = (struct holder *)j;
	struct deadline d = deadline_in(20000, j->cancel_fd);
	struct pollfd pfd = {.fd = h->fd[0], .events = POLLIN};
	int r;

	sem_post(&h->begun);
	r = deadline_poll(&d, &pfd, 1);
	return r < 0 ? err_set(e, -r, "held no longer") : 0;
}

static void holder_done(struct job *j, int result, const struct err *e)
{
	(void)result;
	(void)e;
	sem_post(&((struct holder *)j)->over);
}

static void hold(struct holder *h)
{
	assert_int_equal(job_init(&h->job, JOB_LIFECYCLE), 0);
	h->job.run = holder_run;
	h->job.done = holder_done;
	sem_init(&h->begun, 0, 0);
	sem_init(&h->over, 0, 0);
	assert_int_equal(pipe(h->fd), 0);
	assert_int_equal(lane_submit(&box->lane, &h->job), 0);
	sem_wait(&h->begun);
}

static void let_go(struct holder *h)
{
	assert_int_equal(write(h->fd[1], "x", 1), 1);
	sem_wait(&h->over);
	job_done(&h->job);
	(void)close(h->fd[0]);
	(void)close(h->fd[1]);
}

static void test_turns(void **state)
{
	struct holder h;
	struct write w, v;

	(void)state;
	hold(&h);
	ctl("async set vcpus=6\n", -EBUSY, "error: EBUSY: ...");
	write_begin(&w, COMMAND_SBX_CTL, "set vcpus=6", true);
	write_expect(&w, -EBUSY, NULL);
	ctl("async exec true\n", -EHOSTDOWN, NULL); /* asides need no turn, but the state */
	ctl("async ping\n", 0, "ok\n");
	write_begin(&w, COMMAND_SBX_CTL, "set vcpus=7", false);
	write_begin(&v, COMMAND_SBX_CTL, "set vcpus=8", false);
	write_cancel(&w, EINTR);
	write_expect(&w, -EINTR, NULL);
	let_go(&h);
	write_expect(&v, 0, "ok\n");
	assert_string_equal(value_of("vcpus"), "8");
	hold(&h);
	write_begin(&w, COMMAND_SBX_CTL, "set vcpus=9", false);
	ctl("cancel\n", 0, "ok\n");
	write_expect(&w, -ECANCELED, NULL);
	let_go(&h);
	ctl("async set vcpus=10\n", 0, "ok\n");
	ops_await(lane_turn_is_free(&box->lane));
	assert_string_equal(value_of("vcpus"), "10");
	ctl("async freeze\n", -EINVAL, NULL); /* the state is judged at once */
}

/* What is refused because it is protected disturbs nobody. */
static void test_protect(void **state)
{
	struct holder h;

	(void)state;
	ctl("set protect=yes\n", 0, "ok\n");
	hold(&h);
	ctl("destroy\n", -EPERM, "error: EPERM: it is protected...");
	assert_int_equal(atomic_load(&h.job.cancelled), 0);
	let_go(&h);
	ctl("unset protect\n", 0, "ok\n");
}

/* ---- .ctl -------------------------------------------------------------------------------------------- */

static void test_host(void **state)
{
	struct write w;
	struct sbx *s;

	(void)state;
	host_ctl("create a label.app=ci vcpus=2\ncreate b label.app=ci\n", 0, "ok\n");
	host_ctl("create a\n", -EEXIST, NULL);
	host_ctl("create c vcpus=0\n", -EINVAL, NULL);
	ops_await(!(s = registry_find("c")) || (sbx_put(s), false)); /* all or none */
	host_ctl("create c/d\n", -EINVAL, NULL);
	host_ctl("stop b a\n", 0, "b ok\na ok\n");
	host_ctl("stop label=app=ci\n", 0, "a ok\nb ok\n");
	host_ctl("stop b label=app=ci b\n", 0, "b ok\na ok\n");
	host_ctl("stop label=app=none\n", 0, "");
	host_ctl("stop\n", -EINVAL, NULL);
	host_ctl("set a nowhere vcpus=5\n", -ENOENT,
		 "error: ENOENT: there is no sandbox nowhere\n");
	s = registry_find("a");
	assert_int_equal(config_number(&s->config, NULL, CONFIG_VCPUS), 2); /* nothing ran */
	sbx_put(s);
	host_ctl(
		"start b a\n", -ENOTSUP,
		"b error: ENOTSUP: no store in this test\na error: ENOTSUP: no store in this test\n");
	host_ctl("exec b true\n", -EHOSTDOWN, "b error: EHOSTDOWN: ...");
	host_ctl("wait a b created\n", 0, "a ok\nb ok\n");
	host_ctl("shutdown now\n", -EINVAL, NULL);
	write_begin(&w, COMMAND_HOST_CTL, "wait a b running", false);
	host_ctl("destroy a\n", 0, "a ok\n");
	ops_await(!(s = registry_find("a")) || (sbx_put(s), false));
	write_cancel(&w, EINTR);
	write_expect(&w, -ECANCELED, "a error: ECANCELED: ...");
	forget("b");
}

/* ---- snapshot ---------------------------------------------------------------------------------------- */

/* The verbs of a group: in the file snapshot by themselves, in ctl after its name, in .ctl after the names too. */
static void test_group(void **state)
{
	(void)state;
	run(COMMAND_SBX_SNAPSHOT, "create one\n", 0, "ok\n");
	run(COMMAND_SBX_SNAPSHOT, "create one\n", -EEXIST, NULL);
	run(COMMAND_SBX_SNAPSHOT, "create two half\n", -EINVAL, NULL);
	run(COMMAND_SBX_SNAPSHOT, "create two full\n", -EINVAL, "error: EINVAL: it is created...");
	run(COMMAND_SBX_SNAPSHOT, "create\n", -EINVAL, NULL);
	run(COMMAND_SBX_SNAPSHOT, "create two disk more\n", -EINVAL, NULL);
	run(COMMAND_SBX_SNAPSHOT, "create two disk timeout=5\n", 0, "ok\n");
	run(COMMAND_SBX_SNAPSHOT, "snapshot create x\n", -EINVAL, NULL);
	run(COMMAND_SBX_SNAPSHOT, "start\n", -EINVAL, NULL);
	run(COMMAND_SBX_SNAPSHOT, "export one x\n", -EINVAL, "error: EINVAL: x is not the abs...");
	run(COMMAND_SBX_SNAPSHOT, "import x x\n", -EINVAL, "error: EINVAL: x is not an abs...");
	ctl("snapshot\n", -EINVAL, NULL);
	ctl("snapshot one create x\n", -EINVAL, NULL);
	ctl("snapshot start\n", -EINVAL, NULL);
	ctl("snapshot delete one\nsnapshot rollback two\n", 0, "ok\n");
	ctl("snapshot delete one\n", -ENOENT, NULL);
	ctl("async snapshot delete two\n", 0, "ok\n");
	ops_await(!box->snapshots);
	ctl("create x\n", -EINVAL, NULL); /* without its group it is none of ctl's */
}

/* net/ports: its verbs, and lines without one. */
static void test_ports(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	run(COMMAND_SBX_PORTS, "38080:80", 0, "ok\n");
	run(COMMAND_SBX_PORTS, "add 127.0.0.1:38081:81/udp\nadd 38081:80\n", 0, "ok\n");
	run(COMMAND_SBX_PORTS, "38080:81", 0, "ok\n"); /* in its place */
	run(COMMAND_SBX_PORTS, "127.0.0.1:38080:82", -EADDRINUSE, NULL);
	run(COMMAND_SBX_PORTS, "remove 38082", -ENOENT, NULL);
	run(COMMAND_SBX_PORTS, "remove 38081/udp", 0, "ok\n");
	run(COMMAND_SBX_PORTS, "80", -EINVAL, "error: EINVAL: 80 is not [ADDRESS...");
	run(COMMAND_SBX_PORTS, "open 80:80", -EINVAL, "error: EINVAL: there is no comm...");
	run(COMMAND_SBX_CTL, "38083:80", -EINVAL, "error: EINVAL: there is no comm...");
	ports_render(box, &b);
	assert_string_equal(buf_text(&b), "38080:81/tcp\n38081:80/tcp\n");
	buf_done(&b);
	assert_int_equal(box->port_count, 2);
	run(COMMAND_SBX_PORTS, "reset", 0, "ok\n");
	assert_int_equal(box->port_count, 0);
}

/* Names that are verbs as well, and labels. */
static void test_group_of_host(void **state)
{
	(void)state;
	host_ctl("create create label.app=ci\ncreate delete label.app=ci\n", 0, "ok\n");
	host_ctl("snapshot create create\n", -EINVAL, NULL); /* one is the name: of which? */
	host_ctl("snapshot create create x\n", 0, "create ok\n");
	host_ctl("snapshot create delete x\n", 0, "create ok\n"); /* of `create`, which has it */
	host_ctl("snapshot delete box create y\n", 0, "delete ok\nbox ok\n");
	host_ctl("snapshot label=app=ci create z disk\n", 0, "create ok\ndelete ok\n");
	host_ctl("snapshot label=app=ci delete z\n", 0, "create ok\ndelete ok\n");
	host_ctl("snapshot label=app=none delete z\n", 0, "");
	host_ctl("snapshot box nowhere create w\n", -ENOENT, NULL);
	host_ctl("snapshot box delete y\n", 0, "box ok\n");
	host_ctl("snapshot box\n", -EINVAL, NULL);
	host_ctl("snapshot box one two\n", -EINVAL, NULL);
	forget("create");
	forget("delete");
}

/* ---- cancelling at any moment ------------------------------------------------------------------------ */

static void *canceller(void *arg)
{
	struct write *w = arg;

	write_cancel(w, EINTR);
	return NULL;
}

static void test_cancel_storm(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		struct write w;
		pthread_t thread;

		write_begin(&w, i % 2 ? COMMAND_SBX_CTL : COMMAND_HOST_CTL,
			    i % 2 ? "ping\nset vcpus=2\nping\nping\n"
				  : "ping box box\nping box\nping box\n",
			    false);
		assert_int_equal(pthread_create(&thread, NULL, canceller, &w), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		sem_wait(&w.done);
		assert_true(w.result == 0 || w.result == -EINTR);
		assert_true(w.command.reply.len > 0);
		buf_done(&w.command.reply);
		free(w.text);
	}
}

/* What ends in EINTR has not been done, and what has been done does not. */
static void test_cancel_too_late(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		char number[16], text[40];
		struct write w;
		pthread_t thread;

		(void)snprintf(number, sizeof(number), "%d", i);
		(void)snprintf(text, sizeof(text), "set label.n=%d\n", i);
		write_begin(&w, COMMAND_SBX_CTL, text, false);
		assert_int_equal(pthread_create(&thread, NULL, canceller, &w), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		sem_wait(&w.done);
		if (w.result == 0)
			assert_string_equal(value_of("label.n"), number);
		else
			assert_string_not_equal(value_of("label.n"), number);
		buf_done(&w.command.reply);
		free(w.text);
	}
}

static int setup(void **state)
{
	int r = ops_dir_make(state);

	box = ops_create("box");
	return r;
}

static int teardown(void **state)
{
	sbx_put(box);
	lane_done();
	return ops_dir_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),        cmocka_unit_test(test_lines),
		cmocka_unit_test(test_several),      cmocka_unit_test(test_many_lines),
		cmocka_unit_test(test_states),       cmocka_unit_test(test_state_table),
		cmocka_unit_test(test_wait),         cmocka_unit_test(test_turns),
		cmocka_unit_test(test_protect),      cmocka_unit_test(test_host),
		cmocka_unit_test(test_group),        cmocka_unit_test(test_group_of_host),
		cmocka_unit_test(test_cancel_storm), cmocka_unit_test(test_cancel_too_late),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
