// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-file.c - the header of a snapshot's file */
#include "ops/snapshot-file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static const char magic[] = "sbxfs-snapshot ", version[] = "1\n";

enum {
	MIB = 1 << 20,
	DIGEST_SHORT_LEN = 12, /* of NAME@DIGEST12 */
	/* What a store's own tables may add to the disk: an eighth and a little, far more than any needs. */
	TABLES_SHARE = 8,
	TABLES_MIN = 64 * MIB,
};

#define DISK_BYTES_MAX (1ULL << 50)

int snapshot_header_write(const struct snapshot_header *h, struct buf *b, struct err *e)
{
	AUTO_JSON o = json_object_new_object();
	size_t end = b->len + SNAPSHOT_HEADER_BYTES;
	const char *text = NULL;
	int r = o ? 0 : -ENOMEM;

	r = r ? r : json_add_text(o, "name", h->name);
	r = r ? r : json_add_text(o, "kind", h->kind);
	r = r ? r : json_add_int(o, "created_ms", h->created_ms);
	r = r ? r : json_add_text(o, "template", h->template_pin);
	r = r ? r : json_add_text(o, "storage", h->store);
	r = r ? r : json_add_text(o, "data", h->data_name);
	r = r ? r : json_add_int(o, "disk_bytes", (int64_t)h->disk_bytes);
	r = r ? r : json_add_int(o, "payload_bytes", (int64_t)h->payload_bytes);
	r = r ? r : json_add_text(o, "sha256", h->sha256);
	if (r == 0)
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(e, ENOMEM, "no memory");
	buf_addf(b, "%s%s%s", magic, version,
		 text); /* far less than a header: its members are short */
	while (b->len < end && buf_error(b) == 0)
		buf_addc(b, '\n');
	return buf_error(b) < 0 ? err_set(e, ENOMEM, "no memory") : 0;
}

/* Copy a text member; one that is absent, of another type or too long leaves "". */
static void take_text(char *to, size_t size, struct json_object *o, const char *key)
{
	const char *text = json_text_at(o, key, "");

	if ((size_t)snprintf(to, size, "%s", text) >= size)
		to[0] = '\0';
}

static bool is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static bool pin_is_valid(const char *pin)
{
	const char *at = strchr(pin, '@');
	char name[NAME_MAX_LEN + 1];

	if (!at || (size_t)(at - pin) >= sizeof(name) || !is_hex(at + 1, DIGEST_SHORT_LEN))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(at - pin), pin);
	return name_is_valid(name);
}

/* The parts that data has. Return: NULL, or what is wrong. */
static const char *data_fault(const struct snapshot_header *h)
{
	if (!pin_is_valid(h->template_pin))
		return "template";
	if (strspn(h->data_name, "abcdefghijklmnopqrstuvwxyz0123456789.") != strlen(h->data_name) ||
	    !h->data_name[0] || h->data_name[0] == '.')
		return "data";
	if (h->disk_bytes == 0 || h->disk_bytes > DISK_BYTES_MAX || h->disk_bytes % MIB != 0)
		return "disk_bytes";
	if (h->payload_bytes == 0 ||
	    h->payload_bytes > h->disk_bytes + h->disk_bytes / TABLES_SHARE + TABLES_MIN)
		return "payload_bytes";
	return is_hex(h->sha256, DIGEST_HEX_SIZE - 1) ? NULL : "sha256";
}

static const char *fault(const struct snapshot_header *h)
{
	if (h->created_ms < 0)
		return "created_ms";
	if (h->store[0])
		return data_fault(h);
	return h->payload_bytes || h->disk_bytes || h->template_pin[0] ? "storage" : NULL;
}

int snapshot_header_read(const char *data, struct snapshot_header *ret, struct err *e)
{
	size_t magic_len = strlen(magic), begin = magic_len + strlen(version);
	AUTO_JSON o = NULL;
	struct err why = {0};
	const char *wrong;

	*ret = (struct snapshot_header){.kind = ""};
	if (memcmp(data, magic, magic_len) != 0)
		return err_set(e, EBADMSG, "it does not begin as an exported snapshot does");
	if (memcmp(data + magic_len, version, strlen(version)) != 0)
		return err_set(e, ENOTSUP, "it is of a version that is not known here");
	if (memchr(data, '\0', SNAPSHOT_HEADER_BYTES) ||
	    json_parse(data + begin, SNAPSHOT_HEADER_BYTES - begin, &o, &why) < 0 ||
	    !json_object_is_type(o, json_type_object))
		return err_set(e, EBADMSG, "its header is damaged");
	take_text(ret->name, sizeof(ret->name), o, "name");
	take_text(ret->kind, sizeof(ret->kind), o, "kind");
	take_text(ret->template_pin, sizeof(ret->template_pin), o, "template");
	take_text(ret->store, sizeof(ret->store), o, "storage");
	take_text(ret->data_name, sizeof(ret->data_name), o, "data");
	take_text(ret->sha256, sizeof(ret->sha256), o, "sha256");
	ret->created_ms = json_int_at(o, "created_ms", -1);
	ret->disk_bytes = (uint64_t)json_int_at(o, "disk_bytes", 0);
	ret->payload_bytes = (uint64_t)json_int_at(o, "payload_bytes", 0);
	if (strcmp(ret->kind, "disk") != 0)
		return err_set(e, ENOTSUP,
			       "it is of kind \"%s\"; only snapshots of disks can be taken in",
			       ret->kind);
	wrong = fault(ret);
	return wrong ? err_set(e, EBADMSG, "its header has no valid %s", wrong) : 0;
}
