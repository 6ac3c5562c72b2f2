/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-history-load.c - random commands to a few sandboxes of a mount, and a history of what came of them
 *
 *   helper-history-load [-s SEED] [-t SECONDS] [-w WRITERS] [-n SANDBOXES] [-k] MOUNT FILE
 *   helper-history-load -a MOUNT FILE
 *
 * Writers write random commands until the time is over; then each sandbox is left alone, looked at, and shown to be of use:
 * it starts, answers and (without -k) is destroyed. FILE is what helper-history reads, appended to. Sandboxes are called hSLOT-NUMBER; those
 * that are there already are taken, so a history can begin where another has ended. The daemon may be killed meanwhile: this ends
 * then with status 3, and -a adds to FILE what the next daemon has made of the sandboxes.
 * The same seed makes each writer draw the same numbers; what they meet is another matter.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/cases/history-call.h"
#include "tests/cases/history-record.h"

enum {
	WRITERS_MAX = 32,
	SLOTS_MAX = 16,
	PAUSE_MAX_MS = 40,      /* of a writer, between two calls */
	SIGNAL_EVERY_MS = 2500, /* on an average, one of the calls under way is interrupted */
	HANGS_AFTER_SEC =
		900, /* a call without an answer; commands have deadlines of at most 10 minutes here */
	EXEC_LIMIT_SEC = 300, /* for a guest to show that it answers */
};

static const struct choice {
	const char *verb, *text; /* text "": no write to ctl */
	unsigned weight;
	const char *arg;
} choices[] = {
	{"start", "start", 24, "-"},
	{"start", "start timeout=2", 2, "-"},
	{"stop", "stop timeout=3", 7, "-"},
	{"kill", "kill", 2, "-"},
	{"restart", "restart", 4, "-"},
	{"pause", "pause", 12, "-"},
	{"resume", "resume", 12, "-"},
	{"freeze", "freeze", 10, "-"},
	{"thaw", "thaw", 14, "-"},
	{"create-disk", "snapshot create a disk", 3, "a"},
	{"create-disk", "snapshot create b disk", 3, "b"},
	{"create-full", "snapshot create a full", 4, "a"},
	{"create-full", "snapshot create b full", 4, "b"},
	{"rollback", "snapshot rollback a", 5, "a"},
	{"rollback", "snapshot rollback b", 5, "b"},
	{"delete", "snapshot delete a", 5, "a"},
	{"delete", "snapshot delete b", 5, "b"},
	{"set", "set label.x=1", 4, "-"},
	{"set-bad", "set nosuch=1", 2, "-"},
	{"ping", "ping", 3, "-"},
	{"cancel", "cancel", 2, "-"},
	{"exec", "exec true", 8, "-"},
	{"wait", "wait running,frozen timeout=1", 3, "running,frozen"},
	{"wait", "wait created,paused,stopped,error timeout=1", 3, "created,paused,stopped,error"},
	{"state", "", 14, "-"},
	{"destroy", "destroy", 1, "-"},
	{"rmdir", "", 1, "-"},
	{"crash", "", 2, "-"},
};

struct slot {
	pthread_mutex_t lock; /* held while another takes its place */
	char name[32];
	unsigned number;
};

static struct writer {
	pthread_t thread;
	uint64_t random;
	pthread_mutex_t lock; /* of what follows */
	bool calling, signalled;
	char what[192];
	int64_t since;
} writers[WRITERS_MAX];

static struct slot slots[SLOTS_MAX];
static unsigned slot_count = 3, writer_count = 6, seconds = 60;
static uint64_t seed = 1;
static bool keep;
static volatile bool stopping;

static uint64_t draw(uint64_t *random, uint64_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random >> 11) % below;
}

/* ---- calls --------------------------------------------------------------------------------------------------- */

/* From here on until call_ended() a signal is meant for this call. */
static void call_begins(struct writer *w, const char *name, const char *text)
{
	pthread_mutex_lock(&w->lock);
	w->calling = true;
	w->signalled = false;
	w->since = now_ns();
	(void)snprintf(w->what, sizeof(w->what), "%s: %s", name, text);
	pthread_mutex_unlock(&w->lock);
}

static bool call_ended(struct writer *w)
{
	bool signalled;

	pthread_mutex_lock(&w->lock);
	w->calling = false;
	signalled = w->signalled;
	pthread_mutex_unlock(&w->lock);
	return signalled;
}

static bool is_command(const struct choice *c)
{
	return c->text[0] && strcmp(c->verb, "exec") != 0 && strcmp(c->verb, "wait") != 0 &&
	       strcmp(c->verb, "ping") != 0 && strcmp(c->verb, "delete") != 0;
}

static const char *call(struct writer *w, const struct choice *c, const char *name, unsigned how)
{
	struct call_record r = {.name = name, .verb = c->verb, .arg = c->arg};
	char text[128], word[512];
	const char *result = "ok";

	r.nowait = is_command(c) && how < 15;
	(void)snprintf(text, sizeof(text), "%s%s", r.nowait && how < 8 ? "async " : "", c->text);
	r.begin = now_ns();
	if (strcmp(c->verb, "state") == 0) {
		record_op(&r, read_word(name, "state", word, sizeof(word)));
		return result;
	} else if (strcmp(c->verb, "rmdir") == 0) {
		path_of(word, sizeof(word), name, "");
		result = rmdir(word) < 0 ? error_word(errno) : "ok";
	} else if (strcmp(c->verb, "crash") == 0) {
		result = crash(name);
	} else {
		call_begins(w, name, text);
		result = write_text(name, text, r.nowait && how >= 8);
		r.signalled = call_ended(w);
	}
	if (strcmp(result, "none") != 0)
		record_op(&r, result);
	return result;
}

/* ---- sandboxes ----------------------------------------------------------------------------------------------- */

/* With the slot's lock: another one, in the place of one that is going. */
static void make_anew(struct slot *s, unsigned at)
{
	char path[512];
	int64_t begin;

	(void)snprintf(s->name, sizeof(s->name), "h%u-%u", at, ++s->number);
	path_of(path, sizeof(path), s->name, "");
	begin = now_ns();
	if (mkdir(path, 0700) == 0)
		record(begin, "sandbox %s created none none\n", s->name);
	else if (strcmp(error_word(errno), "died") != 0)
		record(begin, "# cannot make %s: %s\nfinal %s unmade\n", s->name,
		       strerrorname_np(errno), s->name);
}

static const char *snapshot_kind(const char *list, const char *name)
{
	char kind[16] = "none", line[8];
	unsigned long size = 1;
	const char *at;

	(void)snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(list, line);
	if (!at || sscanf(at + 3, "%15s %*s %lu", kind, &size) != 2)
		return "none";
	return strcmp(kind, "full") == 0 ? "full" : size ? "disk" : "empty";
}

/* One that was there before: as it is now, when nobody else does anything. */
static void take_over(const char *name)
{
	char word[512], list[2048], path[512];
	ssize_t n;
	int fd;

	path_of(path, sizeof(path), name, "snapshot");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);
	list[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		(void)close(fd);
	record(now_ns(), "sandbox %s %s %s %s\n", name,
	       read_word(name, "state", word, sizeof(word)), snapshot_kind(list, "a"),
	       snapshot_kind(list, "b"));
}

/* What an earlier run has left: the newest of each slot is taken, others are destroyed. */
static void find_slots(void)
{
	DIR *dir = opendir(mount_dir);
	const struct dirent *entry;
	unsigned at, number;

	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "h%u-%u", &at, &number) == 2 && at < slot_count &&
		    number > slots[at].number)
			slots[at].number = number;
	if (dir)
		rewinddir(dir);
	while (dir && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "h%u-%u", &at, &number) != 2 ||
		    strchr(entry->d_name, '~'))
			continue;
		if (at < slot_count && number == slots[at].number) {
			(void)snprintf(slots[at].name, sizeof(slots[at].name), "h%u-%u", at,
				       number);
			take_over(slots[at].name);
		} else {
			(void)write_text(entry->d_name, "destroy", false);
		}
	}
	if (dir)
		(void)closedir(dir);
	for (at = 0; at < slot_count; at++) {
		pthread_mutex_init(&slots[at].lock, NULL);
		if (!slots[at].name[0])
			make_anew(&slots[at], at);
	}
}

/* ---- the writers --------------------------------------------------------------------------------------------- */

static const struct choice *choose(struct writer *w)
{
	uint64_t all = 0, at;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(choices) / sizeof(choices[0]); k++)
		all += choices[k].weight;
	for (at = draw(&w->random, all); at >= choices[i].weight; i++)
		at -= choices[i].weight;
	return &choices[i];
}

static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!stopping && !dead) {
		unsigned at = (unsigned)draw(&w->random, slot_count);
		const struct choice *c = choose(w);
		const char *result;
		char name[sizeof(slots[at].name)];

		pthread_mutex_lock(&slots[at].lock);
		memcpy(name, slots[at].name, sizeof(name));
		pthread_mutex_unlock(&slots[at].lock);
		result = call(w, c, name, (unsigned)draw(&w->random, 100));
		if (!dead && (strcmp(c->verb, "destroy") == 0 || strcmp(c->verb, "rmdir") == 0 ||
			      strcmp(result, "ENOENT") == 0)) {
			char path[512];

			pthread_mutex_lock(&slots[at].lock);
			path_of(path, sizeof(path), name, "");
			if (strcmp(slots[at].name, name) == 0 && access(path, F_OK) < 0 &&
			    errno == ENOENT)
				make_anew(&slots[at], at);
			pthread_mutex_unlock(&slots[at].lock);
		}
		nap_ms(draw(&w->random, PAUSE_MAX_MS));
	}
	return NULL;
}

static void on_signal(int sig)
{
	static const char text[] = "a guest does not answer\n";

	if (sig != SIGALRM)
		return;
	(void)!write(STDOUT_FILENO, text, sizeof(text) - 1);
	_exit(4);
}

/* Interrupt one of those that are in a call. Nothing is sent to one that is not, so that each knows what it was for. */
static void interrupt_one(uint64_t *random)
{
	struct writer *w = &writers[draw(random, writer_count)];

	pthread_mutex_lock(&w->lock);
	if (w->calling && !w->signalled) {
		w->signalled = true;
		(void)pthread_kill(w->thread, SIGINT);
	}
	pthread_mutex_unlock(&w->lock);
}

static bool one_hangs(void)
{
	bool hangs = false;

	for (unsigned i = 0; i < writer_count; i++) {
		pthread_mutex_lock(&writers[i].lock);
		if (writers[i].calling && now_ns() - writers[i].since > HANGS_AFTER_SEC * SECOND) {
			printf("no answer for %d s: %s\n", HANGS_AFTER_SEC, writers[i].what);
			hangs = true;
		}
		pthread_mutex_unlock(&writers[i].lock);
	}
	return hangs;
}

/* False when a call has no answer. */
static bool run(void)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	int64_t until = now_ns() + seconds * SECOND;

	for (unsigned i = 0; i < writer_count; i++) {
		pthread_mutex_init(&writers[i].lock, NULL);
		writers[i].random = (seed + i + 1) * UINT64_C(0xbf58476d1ce4e5b9) | 1;
		if (pthread_create(&writers[i].thread, NULL, write_on, &writers[i]) != 0)
			abort();
	}
	while (!dead && now_ns() < until && !one_hangs()) {
		nap_ms(draw(&random, 2 * SIGNAL_EVERY_MS));
		interrupt_one(&random);
	}
	stopping = true;
	for (unsigned i = 0; i < writer_count; i++) {
		while (pthread_tryjoin_np(writers[i].thread, NULL) != 0) {
			nap_ms(20);
			if (one_hangs())
				return false;
		}
	}
	return true;
}

/* ---- afterwards ---------------------------------------------------------------------------------------------- */

static const char *do_one(const char *verb, const char *name, const char *text)
{
	static struct writer own = {.lock = PTHREAD_MUTEX_INITIALIZER};
	const struct choice c = {.verb = verb, .text = text, .arg = "-"};

	return call(&own, &c, name, 99);
}

/* A command that has had its turn: nothing is under way any more. Its state is lasting then, and that of the last event. */
static void look(const char *name, bool with_events)
{
	char word[512];
	const char *result = do_one("set", name, "set label.x=2");

	if (strcmp(result, "ok") != 0 && strcmp(result, "ENOENT") != 0)
		record(now_ns(), "final %s %s\n", name, result);
	(void)do_one("state", name, "");
	if (with_events && strcmp(result, "ok") == 0)
		record_final(name, read_word(name, "state", word, sizeof(word)));
}

/* It can be used. In a state that is not running a start has to do, after a thaw of one that is frozen. */
static void use(const char *name)
{
	char word[512];

	(void)read_word(name, "state", word, sizeof(word));
	if (strcmp(word, "frozen") == 0)
		(void)do_one("thaw", name, "thaw");
	(void)do_one("start", name, "start timeout=500");
	(void)alarm(EXEC_LIMIT_SEC); /* nothing else limits an exec */
	(void)do_one("exec", name, "exec true");
	(void)alarm(0);
	if (!keep)
		(void)do_one("destroy", name, "destroy");
}

static void look_again(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[512], name[64], (*names)[64] = NULL;
	size_t count = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "sandbox %63s", name) != 1)
			continue;
		names = realloc(names, (count + 1) * sizeof(*names));
		if (!names)
			abort();
		memcpy(names[count++], name, sizeof(name));
	}
	if (file)
		(void)fclose(file);
	for (size_t i = 0; i < count; i++)
		look(names[i], false);
	free(names);
}

static int options(int argc, char **argv, bool *ret_again)
{
	int option;

	while ((option = getopt(argc, argv, "s:t:w:n:ka")) != -1) {
		unsigned long value = optarg ? strtoul(optarg, NULL, 10) : 0;

		if (option == 's')
			seed = value;
		else if (option == 't')
			seconds = (unsigned)value;
		else if (option == 'w' && value > 0 && value <= WRITERS_MAX)
			writer_count = (unsigned)value;
		else if (option == 'n' && value > 0 && value <= SLOTS_MAX)
			slot_count = (unsigned)value;
		else if (option == 'k')
			keep = true;
		else if (option == 'a')
			*ret_again = true;
		else
			return 2;
	}
	return argc - optind == 2 ? 0 : 2;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	bool again = false;

	if (options(argc, argv, &again) != 0)
		return 2;
	mount_dir = argv[optind];
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGALRM, &sa, NULL);
	if (again) {
		look_again(argv[optind + 1]);
		return record_write(argv[optind + 1]) ? 0 : 2;
	}
	if (!record_follow(mount_dir))
		return 2;
	find_slots();
	if (!run()) {
		(void)record_write(argv[optind + 1]);
		return 4;
	}
	for (unsigned i = 0; i < slot_count && !dead; i++)
		look(slots[i].name, true);
	for (unsigned i = 0; i < slot_count && !dead; i++)
		use(slots[i].name);
	if (dead)
		record(now_ns(), "died\n");
	if (!record_write(argv[optind + 1]))
		return 2;
	return dead ? 3 : 0;
}
