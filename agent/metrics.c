// SPDX-License-Identifier: GPL-2.0-or-later
/* agent/metrics.c - what this guest is and how much of it is in use */
#include "agent/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/http.h"
#include "base/cleanup.h"
#include "base/json.h"

enum {
	KIB = 1024,
	MIB = 1024 * 1024,
	CPU_FIELDS = 8, /* user nice system idle iowait irq softirq steal */
	CPU_IDLE = 3,
	CPU_IOWAIT = 4,
};

struct memory {
	uint64_t total, available, cache; /* bytes */
};

/* Time of all CPUs since boot, in clock ticks. */
struct cpu_time {
	uint64_t busy, all;
};

void metrics_health(struct agent *a, struct evhttp_request *req)
{
	struct utsname u = {0};
	struct json_object *o = json_object_new_object();

	(void)a;
	(void)uname(&u); /* fails for a bad pointer only */
	if (!o || json_add_text(o, "version", SBXFS_VERSION) ||
	    json_add_text(o, "kernel", u.release)) {
		json_object_put(o);
		o = NULL;
	}
	(void)evhttp_add_header(evhttp_request_get_output_headers(req), "Cache-Control",
				"no-store");
	http_json(req, HTTP_OK, o);
}

/* A line "Name:   N kB" of /proc/meminfo. */
static void memory_line(const char *line, struct memory *m)
{
	const char *colon = strchr(line, ':');
	size_t len = colon ? (size_t)(colon - line) : 0;
	uint64_t bytes = colon ? strtoull(colon + 1, NULL, 10) * KIB : 0;

	if (len == strlen("MemTotal") && strncmp(line, "MemTotal", len) == 0)
		m->total = bytes;
	else if (len == strlen("MemAvailable") && strncmp(line, "MemAvailable", len) == 0)
		m->available = bytes;
	else if (len == strlen("Cached") && strncmp(line, "Cached", len) == 0)
		m->cache = bytes;
}

static struct memory memory_read(void)
{
	struct memory m = {0};
	AUTO_FILE f = fopen("/proc/meminfo", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		memory_line(line, &m);
	return m;
}

static struct cpu_time cpu_read(void)
{
	struct cpu_time t = {0};
	AUTO_FILE f = fopen("/proc/stat", "re");
	char line[256];
	char *at = line + strlen("cpu");

	if (!f || !fgets(line, sizeof(line), f) || strncmp(line, "cpu ", 4) != 0)
		return t;
	for (int i = 0; i < CPU_FIELDS; i++) {
		uint64_t ticks = strtoull(at, &at, 10);

		t.all += ticks;
		if (i != CPU_IDLE && i != CPU_IOWAIT)
			t.busy += ticks;
	}
	return t;
}

/* Part of the CPUs' time in use since the last call, in hundredths of a per cent. */
static uint64_t cpu_used(void)
{
	static struct cpu_time last;
	struct cpu_time now = cpu_read();
	uint64_t all = now.all - last.all;
	uint64_t busy = now.busy - last.busy;

	last = now;
	return all && busy <= all ? busy * 10000 / all : 0;
}

static int add_memory(struct json_object *o)
{
	struct memory m = memory_read();
	uint64_t used = m.total > m.available ? m.total - m.available : 0;

	return json_add_int(o, "mem_total", (int64_t)m.total) ||
	       json_add_int(o, "mem_used", (int64_t)used) ||
	       json_add_int(o, "mem_cache", (int64_t)m.cache) ||
	       json_add_int(o, "mem_total_mib", (int64_t)(m.total / MIB)) ||
	       json_add_int(o, "mem_used_mib", (int64_t)(used / MIB));
}

static int add_disk(struct json_object *o)
{
	struct statvfs v = {0};

	if (statvfs("/", &v))
		return 0; /* no numbers is an honest answer */
	return json_add_int(o, "disk_total", (int64_t)(v.f_blocks * v.f_frsize)) ||
	       json_add_int(o, "disk_used", (int64_t)((v.f_blocks - v.f_bavail) * v.f_frsize));
}

static int add_cpu(struct json_object *o)
{
	char text[32];
	uint64_t used = cpu_used();
	struct json_object *n;

	(void)snprintf(text, sizeof(text), "%" PRIu64 ".%02" PRIu64, used / 100, used % 100);
	n = json_object_new_double_s((double)used / 100, text);
	if (!n || json_object_object_add(o, "cpu_used_pct", n)) {
		json_object_put(n);
		return -1;
	}
	return json_add_int(o, "cpu_count", sysconf(_SC_NPROCESSORS_ONLN));
}

void metrics_get(struct agent *a, struct evhttp_request *req)
{
	struct json_object *o = json_object_new_object();

	(void)a;
	if (!o || json_add_int(o, "ts", time(NULL)) || add_cpu(o) || add_memory(o) || add_disk(o)) {
		json_object_put(o);
		o = NULL;
	}
	http_json(req, HTTP_OK, o);
}
