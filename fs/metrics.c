/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/metrics.c - measurements as Prometheus reads them
 *
 * How it works: one row is one metric of a sandbox: its name, what it is, and where in the view its value lies. The same rows make a
 * sandbox's own file and, with a sample for each sandbox, the daemon's. What was not measured yet has no sample.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "fs/text.h"
#include "ops/registry.h"
#include "ops/slots.h"

struct metric {
	const char *name, *type, *help;
	/* Its value now. Return: false when there is none. */
	bool (*value)(const struct sbx_view *v, uint64_t *ret);
	const char *(*state)(const struct sbx_view *v); /* of a label `state`; NULL: it has none */
};

/* ---- values ---------------------------------------------------------------------------------------------- */

static bool known(uint64_t value, uint64_t *ret)
{
	*ret = value;
	return value != 0;
}

static bool memory(const struct sbx_view *v, uint64_t *ret)
{
	return known(v->mem_used_bytes, ret);
}

static bool disk(const struct sbx_view *v, uint64_t *ret)
{
	return known(v->cow_used_bytes, ret);
}

static bool received(const struct sbx_view *v, uint64_t *ret)
{
	*ret = v->traffic.rx_bytes;
	return v->traffic.known;
}

static bool transmitted(const struct sbx_view *v, uint64_t *ret)
{
	*ret = v->traffic.tx_bytes;
	return v->traffic.known;
}

static bool one(const struct sbx_view *v, uint64_t *ret)
{
	(void)v;
	*ret = 1;
	return true;
}

static const char *state(const struct sbx_view *v)
{
	return sbx_state_name(v->state);
}

/* ---- the metrics of a sandbox ---------------------------------------------------------------------------- */

/* clang-format off */
static const struct metric metrics[] = {
	{"sbxfs_sandbox_state", "gauge", "1 for the state that the sandbox is in.", one, state},
	{"sbxfs_sandbox_memory_bytes", "gauge", "Memory that the guest uses, as it says itself.", memory, NULL},
	{"sbxfs_sandbox_disk_bytes", "gauge", "What the guest has written to its disk and takes room on the host.", disk, NULL},
	{"sbxfs_sandbox_network_receive_bytes_total", "counter", "Bytes that the guest has received.", received, NULL},
	{"sbxfs_sandbox_network_transmit_bytes_total", "counter", "Bytes that the guest has sent.", transmitted, NULL},
};
/* clang-format on */

static void add_head(const char *name, const char *type, const char *help, struct buf *b)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* The characters of a name need no escapes. */
static void add_sample(const struct metric *m, const struct sbx_view *v, uint64_t value,
		       struct buf *b)
{
	buf_addf(b, "%s{sandbox=\"%s\"", m->name, v->name);
	if (m->state)
		buf_addf(b, ",state=\"%s\"", m->state(v));
	buf_addf(b, "} %" PRIu64 "\n", value);
}

/* One that nobody has a sample of is not mentioned. */
static void add_metric(const struct metric *m, const struct sbx_view *views, size_t count,
		       struct buf *b)
{
	bool any = false;
	uint64_t value;

	for (size_t i = 0; i < count; i++) {
		if (!m->value(&views[i], &value))
			continue;
		if (!any)
			add_head(m->name, m->type, m->help, b);
		any = true;
		add_sample(m, &views[i], value, b);
	}
}

static void add_metrics(const struct sbx_view *views, size_t count, struct buf *b)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		add_metric(&metrics[i], views, count, b);
}

int text_metrics(const struct object *o, struct buf *b)
{
	struct sbx_view view;

	sbx_view(o->sbx, &view);
	add_metrics(&view, 1, b);
	return 0;
}

/* ---- the daemon's own ------------------------------------------------------------------------------------ */

static void add_states(const struct sbx_view *views, size_t count, struct buf *b)
{
	unsigned states[SBX_STATE_COUNT] = {0};

	for (size_t i = 0; i < count; i++)
		states[views[i].state]++;
	add_head("sbxfs_sandboxes", "gauge", "Sandboxes by state.", b);
	for (int i = 0; i < SBX_STATE_COUNT; i++)
		buf_addf(b, "sbxfs_sandboxes{state=\"%s\"} %u\n", sbx_state_name((enum sbx_state)i),
			 states[i]);
}

static void add_slots(struct buf *b)
{
	struct slots_counts c;

	slots_count(&c);
	add_head(
		"sbxfs_slots", "gauge",
		"Network slots: that sandboxes have, that are ready, and that are on their way down.",
		b);
	buf_addf(b, "sbxfs_slots{state=\"used\"} %" PRIu32 "\n", c.used);
	buf_addf(b, "sbxfs_slots{state=\"ready\"} %" PRIu32 "\n", c.ready);
	buf_addf(b, "sbxfs_slots{state=\"dirty\"} %" PRIu32 "\n", c.dirty);
	add_head("sbxfs_slots_limit", "gauge", "Network slots that there can be.", b);
	buf_addf(b, "sbxfs_slots_limit %" PRIu32 "\n", c.total);
}

/* A view of each that is listed. Return: 0 and @ret, owned; -ENOMEM. */
static int views_take(struct sbx_view **ret, size_t *ret_count)
{
	struct sbx_view *views = NULL;
	size_t count = 0, room = 0;
	uint32_t after = 0;
	struct sbx *s;

	while ((s = registry_next_any(after))) {
		after = s->serial;
		if (count == room) {
			size_t more = room ? room * 2 : 64;
			void *bigger = reallocarray(views, more, sizeof(*views));

			if (!bigger) {
				free(views);
				sbx_put(s);
				return -ENOMEM;
			}
			views = bigger;
			room = more;
		}
		sbx_view(s, &views[count]);
		if (!s->hidden || views[count].state == SBX_ERROR) /* as in the list */
			count++;
		sbx_put(s);
	}
	*ret = views;
	*ret_count = count;
	return 0;
}

int text_host_metrics(const struct object *o, struct buf *b)
{
	AUTO_FREE struct sbx_view *views = NULL;
	size_t count = 0;
	int r = views_take(&views, &count);

	(void)o; /* the daemon is no object */
	if (r < 0)
		return r;
	add_states(views, count, b);
	add_slots(b);
	add_metrics(views, count, b);
	return 0;
}
