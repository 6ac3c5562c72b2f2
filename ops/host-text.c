/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/host-text.c - .status, .status.json and .ps */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "ops/host.h"
#include "ops/pool.h"
#include "ops/registry.h"
#include "ops/room-private.h"
#include "ops/slots.h"
#include "ops/template.h"
#include "ops/webhook.h"

/* What is counted over all sandboxes. */
struct sums {
	unsigned states[SBX_STATE_COUNT];
	unsigned all, vcpus;
};

static void sums_take(struct sums *sums)
{
	uint32_t after = 0;
	struct sbx *s;

	*sums = (struct sums){0};
	while ((s = registry_next_any(after))) {
		struct sbx_view v;

		after = s->serial;
		sbx_view(s, &v);
		if (v.pid)
			sums->vcpus += v.vcpus;
		if (!s->hidden || v.state == SBX_ERROR) { /* as in the list */
			sums->all++;
			sums->states[v.state]++;
		}
		sbx_put(s);
	}
}

static void add(struct buf *b, bool json, const char *key, const char *value)
{
	if (json) {
		buf_addf(b, "%s\n  \"%s\": ", b->len > 1 ? "," : "", key);
		buf_add_json(b, value);
		return;
	}
	buf_addf(b, "%s=", key);
	buf_add_escaped(b, value);
	buf_addc(b, '\n');
}

static void add_number(struct buf *b, bool json, const char *key, uint64_t value)
{
	if (json)
		buf_addf(b, "%s\n  \"%s\": %" PRIu64, b->len > 1 ? "," : "", key, value);
	else
		buf_addf(b, "%s=%" PRIu64 "\n", key, value);
}

static void add_promises(struct buf *b, bool json, const struct sums *sums)
{
	struct slots_counts slots;
	struct room_space space;

	(void)room_space(&space); /* 0 when it cannot be told */
	add_number(b, json, "memory_promised", host_promised() << 20);
	add_number(b, json, "memory_total", host.memory_total_mib << 20);
	add_number(b, json, "memory_reserve", host.memory_reserve_mib << 20);
	add_number(b, json, "vcpus_promised", sums->vcpus);
	slots_count(&slots);
	add_number(b, json, "slots_used", slots.used);
	add_number(b, json, "slots_total", slots.total);
	add_number(b, json, "pool_ready", pool_count());
	add_number(b, json, "disk_promised", room_promised_bytes());
	add_number(b, json, "disk_total", space.total);
	add_number(b, json, "disk_free", space.free);
	add_number(b, json, "disk_reserve", space.reserve);
	add_number(b, json, "slots_ready", slots.ready);
	add_number(b, json, "slots_dirty", slots.dirty);
	add(b, json, "network_blocked", host.net_blocked);
}

static void add_webhook(struct buf *b, bool json)
{
	struct webhook_view v;

	webhook_view(&v);
	add(b, json, "webhook", v.state);
	add(b, json, "webhook_error", v.error);
	add_number(b, json, "webhook_acknowledged", v.acknowledged);
}

static void render(struct buf *b, bool json)
{
	char when[TIME_TEXT_SIZE];
	struct sums sums;

	sums_take(&sums);
	add(b, json, "version", SBXFS_VERSION);
	add(b, json, "started", time_text(host.started_ms, when));
	add_number(b, json, "uptime_sec", (uint64_t)(wall_ms() - host.started_ms) / 1000);
	add(b, json, "instance", host.instance);
	add(b, json, "state_dir", host.state_dir);
	add(b, json, "vmm", host.vm ? host.vm->name : "");
	add(b, json, "accel", host.vm ? vm_accel_name(host.vm_host.accel) : "");
	add(b, json, "vmm_why", host.vm_why);
	add(b, json, "storage", host.volume ? host.volume->name : "");
	add(b, json, "storage_why", host.volume_why);
	add(b, json, "network", host.net ? host.net->name : "");
	add(b, json, "network_why", host.net_why);
	add_number(b, json, "sandboxes", sums.all);
	for (int i = 0; i < SBX_STATE_COUNT; i++)
		add_number(b, json, sbx_state_name((enum sbx_state)i), sums.states[i]);
	add_promises(b, json, &sums);
	add_webhook(b, json);
}

void host_status(struct buf *b)
{
	render(b, false);
}

void host_status_json(struct buf *b)
{
	buf_addc(b, '{');
	render(b, true);
	buf_adds(b, "\n}\n");
}

/* Processor time that a VMM has had, such as "1:05.3"; "-" without one. */
static void cpu_text(pid_t pid, char *text, size_t size)
{
	struct buf b = BUF_INIT;
	unsigned long long user = 0, kernel = 0;
	char path[32];
	const char *at;
	unsigned long long tenths;

	(void)snprintf(text, size, "-");
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid > 0 && file_read(AT_FDCWD, path, 4096, &b, NULL) == 0) {
		at = strrchr(buf_text(&b), ')'); /* the name before it may hold anything */
		/* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers that fit */
		if (at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
				 &user, &kernel) == 2) {
			tenths = (user + kernel) * 10 / (unsigned long long)sysconf(_SC_CLK_TCK);
			(void)snprintf(text, size, "%llu:%02llu.%llu", tenths / 600,
				       tenths / 10 % 60, tenths % 10);
		}
	}
	buf_done(&b);
}

static void age_text(int64_t since_ms, char *text, size_t size)
{
	int64_t sec = (wall_ms() - since_ms) / 1000;

	if (since_ms == 0)
		(void)snprintf(text, size, "-");
	else if (sec < 120)
		(void)snprintf(text, size, "%" PRId64 "s", sec);
	else if (sec < 7200)
		(void)snprintf(text, size, "%" PRId64 "m", sec / 60);
	else if (sec < 172800)
		(void)snprintf(text, size, "%" PRId64 "h", sec / 3600);
	else
		(void)snprintf(text, size, "%" PRId64 "d", sec / 86400);
}

void host_ps(struct buf *b)
{
	uint32_t after = 0;
	struct sbx *s;

	buf_addf(b, "%-20s %-10s %-24s %-15s %8s %8s %6s\n", "NAME", "STATE", "TEMPLATE", "IP",
		 "CPU", "MEM", "AGE");
	while ((s = registry_next(after))) {
		char cpu[32], mem[32], age[32];
		struct sbx_view v;

		after = s->serial;
		sbx_view(s, &v);
		sbx_put(s);
		cpu_text(v.pid, cpu, sizeof(cpu));
		age_text(v.pid ? v.started_ms : v.created_ms, age, sizeof(age));
		(void)snprintf(mem, sizeof(mem), "%" PRIu64 "M", v.memory_mb);
		buf_addf(b, "%-20s %-10s %-24s %-15s %8s %8s %6s\n", v.name,
			 sbx_state_name(v.state), v.template_name, v.host_ip[0] ? v.host_ip : "-",
			 cpu, mem, age);
	}
}
