/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fake/helper-ch.c - a cloud-hypervisor without a guest, which obeys, refuses, hangs, lies and dies on demand
 *
 * It takes the command line and the requests of tests/fake/ch-schema ($FAKE_SCHEMA) and nothing else: what is not there ends
 * it, or is refused, with a line "schema: …" on stderr. $FAKE is a file of words that is read again for each request:
 *
 *   start=fail|hang|die|lie      vm.pause=… vm.resume=… vm.info=… vm.resize=… vm.snapshot=fail|hang|die|lie
 *   vm.snapshot=short|nospace    its memory is cut off; no room on the disk
 *   balloon=MIB                  its guest gives no more than that
 *   noise                        rubbish between events
 *   end=shutdown|reset|panic     what SIGUSR1 means
 *
 * "hang": no answer, but what was asked is done; "lie": it says that it is done, and it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT_MAX = 8192, MIB = 1 << 20 };

static struct {
	int api, events;
	uint64_t memory, balloon;
	bool paused;
	const char *disk, *restore;
	bool has_net;
} vm = {.api = -1, .events = -1};

static volatile sig_atomic_t told;

static void on_signal(int sig)
{
	(void)sig;
	told = 1;
}

/* The value of a word in $FAKE; "": it is not there. */
static const char *fault(const char *key)
{
	static char word[256];
	const char *path = getenv("FAKE");
	FILE *file = path ? fopen(path, "re") : NULL;
	size_t len = strlen(key);
	bool found = false;

	while (file && !found && fscanf(file, "%255s", word) == 1)
		found = strncmp(word, key, len) == 0 && (word[len] == '=' || !word[len]);
	if (file)
		(void)fclose(file);
	return !found ? "" : word[len] ? word + len + 1 : "yes";
}

static bool is_fault(const char *key, const char *value)
{
	return strcmp(fault(key), value) == 0;
}

_Noreturn static void hang(void)
{
	for (;;)
		(void)pause();
}

/* ---- the schema -------------------------------------------------------------------------------------- */

/* The line of the schema that begins with @key, behind it; NULL. */
static const char *schema(const char *key)
{
	static char line[1024];
	FILE *file = fopen(getenv("FAKE_SCHEMA"), "re");
	const char *found = NULL;
	size_t len = strlen(key);

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, key, len) == 0 && (line[len] == ' ' || !line[len]))
			found = line + len;
	}
	if (file)
		(void)fclose(file);
	return found;
}

static bool has_word(const char *line, const char *word, size_t len)
{
	for (const char *at = line; (at = strstr(at, word)); at++)
		if (at > line && at[-1] == ' ' && (at[len] == ' ' || !at[len]))
			return true;
	return false;
}

_Noreturn static void wrong(const char *what, const char *of)
{
	(void)fprintf(stderr, "schema: %s of %s\n", what, of);
	exit(2);
}

/* Take fields apart; commas within brackets belong to a value. Return: the value of @want, owned by the caller; NULL. */
static char *fields(const char *option, const char *text, const char *known, const char *want)
{
	char *copy = strdup(text), *found = NULL;
	int depth = 0;

	for (char *at = copy, *begin = copy;; at++) {
		char *equals, end = *at;

		depth += (end == '[') - (end == ']');
		if (end && (end != ',' || depth > 0))
			continue;
		*at = '\0';
		equals = strchr(begin, '=');
		if (!equals)
			wrong(begin, option);
		*equals = '\0';
		if (!has_word(known, begin, strlen(begin)))
			wrong(begin, option);
		if (want && strcmp(begin, want) == 0)
			found = strdup(equals + 1);
		begin = at + 1;
		if (!end)
			break;
	}
	free(copy);
	return found;
}

static int fd_field(const char *option, const char *text, const char *known)
{
	char *value = fields(option, text, known, "fd");
	int fd = value ? atoi(value + (value[0] == '[')) : -1;

	if (value && fcntl(fd, F_GETFD) < 0)
		wrong("a descriptor that is not open", option);
	free(value);
	return fd;
}

static void take_option(const char *option, const char *value, const char *known)
{
	if (strcmp(option, "--api-socket") == 0)
		vm.api = fd_field(option, value, known);
	else if (strcmp(option, "--event-monitor") == 0)
		vm.events = fd_field(option, value, known);
	else if (strcmp(option, "--memory") == 0)
		vm.memory = strtoull(fields(option, value, known, "size"), NULL, 10) * MIB;
	else if (strcmp(option, "--disk") == 0)
		vm.disk = fields(option, value, known, "path");
	else if (strcmp(option, "--restore") == 0)
		vm.restore = fields(option, value, known, "source_url");
	else if (strcmp(option, "--net") == 0)
		vm.has_net = fd_field(option, value, known) >= 0;
	else if (strcmp(option, "--kernel") == 0 && access(value, R_OK) < 0)
		wrong("a kernel that is not there", option);
	else if (strcmp(known, " -") != 0)
		free(fields(option, value, known, NULL));
}

static void take_arguments(char **argv)
{
	for (int i = 1; argv[i]; i++) {
		char known[1024];
		const char *line = schema(argv[i]);

		if (!line || argv[i][0] != '-')
			wrong("the argument", argv[i]);
		(void)snprintf(known, sizeof(known), "%s", line);
		if (!known[0])
			continue;
		if (!argv[i + 1])
			wrong("no value", argv[i]);
		take_option(argv[i], argv[i + 1], known);
		i++;
	}
}

/* ---- events ------------------------------------------------------------------------------------------ */

static void event(const char *source, const char *name)
{
	char text[512];
	int n = snprintf(
		text, sizeof(text),
		"%s{\n  \"timestamp\": {\n    \"secs\": 1,\n    \"nanos\": 2\n  },\n  \"source\": "
		"\"%s\",\n  \"event\": \"%s\",\n  \"properties\": null\n}\n\n",
		is_fault("noise", "yes") ? "  }, \"x\"\n}\n{\n  \"source\": \"vm\",\n  \"ev\n" : "",
		source, name);

	if (vm.events >= 0 && write(vm.events, text, (size_t)n) != n)
		(void)fputs("an event was lost\n", stderr);
}

static void guest_ends(void)
{
	told = 0;
	if (is_fault("end", "shutdown")) {
		event("vm", "shutdown");
		event("vmm", "shutdown");
		exit(0);
	}
	if (is_fault("end", "panic"))
		event("guest", "panic");
	event("vm", "rebooting"); /* and it would come up again */
}

/* ---- saving and going on ----------------------------------------------------------------------------- */

static struct json_object *member(struct json_object *o, const char *key, struct json_object *value)
{
	(void)json_object_object_add(o, key, value);
	return value;
}

static void write_file(const char *dir, const char *name, const char *text, uint64_t length)
{
	char path[1024], page[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	if (text) {
		(void)!write(fd, text, strlen(text));
	} else {
		/* A page of something, a page of zeroes that takes room, and a hole. */
		memset(page, 'm', sizeof(page));
		(void)!pwrite(fd, page, sizeof(page), 0);
		memset(page, 0, sizeof(page));
		(void)!pwrite(fd, page, sizeof(page), sizeof(page));
		(void)!ftruncate(fd, (off_t)length);
	}
	(void)close(fd);
}

static void save(const char *dir)
{
	struct json_object *o = json_object_new_object(), *list, *one;

	list = member(o, "disks", json_object_new_array());
	if (vm.disk) {
		one = json_object_new_object();
		(void)json_object_array_add(list, one);
		(void)member(one, "path", json_object_new_string(vm.disk));
	}
	(void)member(o, "memory_bytes", json_object_new_int64((int64_t)vm.memory));
	(void)member(member(o, "payload", json_object_new_object()), "kernel",
		     json_object_new_string("/proc/self/fd/5"));
	write_file(dir, "config.json", json_object_to_json_string(o), 0);
	write_file(dir, "state.json", "{\"cpus\":1}", 0);
	write_file(dir, "memory-ranges", NULL,
		   is_fault("vm.snapshot", "short") ? vm.memory / 2 : vm.memory);
	json_object_put(o);
}

/* Go on: the configuration has to name what is open here. */
static void restore(void)
{
	const char *dir = vm.restore + strlen("file://");
	struct json_object *config, *disks, *value;
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/config.json", dir);
	config = json_object_from_file(path);
	if (!config)
		wrong("no config.json", "--restore");
	(void)snprintf(path, sizeof(path), "%s/memory-ranges", dir);
	if (access(path, R_OK) < 0)
		wrong("no memory-ranges", "--restore");
	if (json_object_object_get_ex(config, "memory_bytes", &value))
		vm.memory = (uint64_t)json_object_get_int64(value);
	if (json_object_object_get_ex(config, "disks", &disks) &&
	    json_object_array_length(disks) == 1 &&
	    json_object_object_get_ex(json_object_array_get_idx(disks, 0), "path", &value)) {
		vm.disk = strdup(json_object_get_string(value));
		if (access(vm.disk, W_OK) < 0)
			wrong("a disk that is not open", "config.json");
	}
	json_object_put(config);
	vm.paused = true;
	event("vm", "restored");
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void reply(int fd, int status, const char *body)
{
	char text[TEXT_MAX];
	int n = snprintf(text, sizeof(text),
			 "HTTP/1.1 %d x\r\nServer: fake\r\nContent-Length: %zu\r\n\r\n%s", status,
			 strlen(body), body);

	(void)!write(fd, text, (size_t)n);
}

static void reply_info(int fd)
{
	char text[256];
	uint64_t most = strtoull(fault("balloon"), NULL, 10) * MIB;
	uint64_t balloon = most && most < vm.balloon ? most : vm.balloon;

	(void)snprintf(text, sizeof(text), "{\"state\":\"%s\",\"memory_actual_size\":%" PRIu64 "}",
		       vm.paused ? "Paused" : "Running", vm.memory - balloon);
	reply(fd, 200, text);
}

/* Do it. Return: the reason why not; NULL. */
static const char *act(const char *what, struct json_object *body)
{
	struct json_object *value = NULL;

	if (strcmp(what, "vm.pause") == 0 || strcmp(what, "vm.resume") == 0) {
		bool pauses = strcmp(what, "vm.pause") == 0;

		if (vm.paused == pauses)
			return "Invalid transition";
		vm.paused = pauses;
	} else if (strcmp(what, "vm.resize") == 0) {
		if (!json_object_object_get_ex(body, "desired_balloon", &value))
			return "nothing to resize";
		vm.balloon = (uint64_t)json_object_get_int64(value);
	} else if (strcmp(what, "vm.snapshot") == 0) {
		if (!vm.paused)
			return "Trying to snapshot while VM is running";
		if (is_fault(what, "nospace"))
			return "No space left on device (os error 28)";
		if (!json_object_object_get_ex(body, "destination_url", &value))
			return "no place";
		save(json_object_get_string(value) + strlen("file://"));
	} else if (strcmp(what, "vm.info") != 0) {
		return "not in this fake";
	}
	return NULL;
}

static bool body_fits(const char *known, struct json_object *body)
{
	if (!body)
		return true;
	json_object_object_foreach(body, key, value)
	{
		(void)value;
		if (!has_word(known, key, strlen(key))) {
			(void)fprintf(stderr, "schema: member %s\n", key);
			return false;
		}
	}
	return true;
}

static void answer(int fd, const char *method, const char *what, struct json_object *body)
{
	char key[128], text[512];
	const char *known, *why = NULL;

	(void)snprintf(key, sizeof(key), "%s %s", method, what);
	known = schema(key);
	if (!known || !body_fits(known, body)) {
		(void)fprintf(stderr, "schema: %s\n", key);
		reply(fd, 400, "[\"Error from API\",\"schema\"]");
		return;
	}
	if (is_fault(what, "die"))
		exit(1);
	if (is_fault(what, "fail"))
		why = "told to fail";
	else if (!is_fault(what, "lie"))
		why = act(what, body);
	if (is_fault(what, "hang"))
		hang();
	if (why) {
		(void)snprintf(text, sizeof(text), "[\"Error from API\",\"it could not\",\"%s\"]",
			       why);
		reply(fd, 500, text);
	} else if (strcmp(what, "vm.info") == 0 && is_fault(what, "lie")) {
		reply(fd, 200, "<html>");
	} else if (strcmp(what, "vm.info") == 0) {
		reply_info(fd);
	} else {
		reply(fd, 204, "");
	}
}

static void serve(int fd)
{
	char text[TEXT_MAX + 1], method[8] = "", path[128] = "";
	struct json_object *body = NULL;
	const char *head = NULL, *length;
	size_t len = 0, want = 0;
	ssize_t n;

	while (len < TEXT_MAX && (n = read(fd, text + len, TEXT_MAX - len)) > 0) {
		len += (size_t)n;
		text[len] = '\0';
		head = strstr(text, "\r\n\r\n");
		length = strcasestr(text, "Content-Length:");
		want = length ? strtoul(length + strlen("Content-Length:"), NULL, 10) : 0;
		if (head && len >= (size_t)(head + 4 - text) + want)
			break;
	}
	if (head && sscanf(text, "%7s /api/v1/%127s", method, path) == 2) {
		body = want ? json_tokener_parse(head + 4) : NULL;
		answer(fd, method, path, body);
		json_object_put(body);
	}
	(void)close(fd);
}

static void begin(void)
{
	event("vmm", "starting");
	if (is_fault("start", "fail")) {
		(void)fputs("Error: told to fail\n", stderr);
		exit(1);
	}
	if (is_fault("start", "die"))
		(void)raise(SIGKILL);
	if (is_fault("start", "hang"))
		hang();
	if (vm.restore)
		restore();
	else
		event("vm", "booted");
	if (is_fault("start", "lie"))
		vm.paused = !vm.paused;
	(void)fputs("fake guest begins\n", stdout);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		(void)printf("cloud-hypervisor v%s\n", getenv("FAKE_VERSION"));
		return 0;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGUSR1, &action, NULL);
	take_arguments(argv);
	if (vm.api < 0)
		wrong("no fd", "--api-socket");
	begin();
	for (;;) {
		int fd = accept4(vm.api, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			serve(fd);
		else if (errno == EINTR && told)
			guest_ends();
		else
			return 1;
	}
}
