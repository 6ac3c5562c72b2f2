/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/manifest.c - what saved memory fits to, as a JSON file beside it
 *
 * How it works: texts of a manifest are rows of one table, used to write, to read and to compare. A VMM's state is
 * only good for the very same VMM with the same devices, and what loads without complaint may still be wrong: so all
 * that is known to matter is compared as text before a VMM sees it.
 */
#include "vm/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"

enum {
	MANIFEST_MAX = 64 << 10, /* bytes of the file */
	CPUINFO_MAX = 16 << 20,  /* bytes; hosts have many processors */
	FLAGS_DIGITS = 12,       /* of their digest that are kept */
	TSC_PART = 100,          /* frequencies that differ by less than this part are the same */
};

/* clang-format off */
static const struct text {
	const char *key;
	size_t at, size;
	const char *what; /* for the user; NULL: need not fit */
} texts[] = {
#define TEXT(member, what) { #member, offsetof(struct manifest, member), sizeof(((struct manifest *)0)->member), what }
	TEXT(driver,   "the VMM"),
	TEXT(version,  "the VMM's version"),
	TEXT(accel,    "the accelerator"),
	TEXT(machine,  "the machine"),
	TEXT(cpu,      "the host's processor"),
	TEXT(net,      "the kind of network"),
	TEXT(devices,  "the list of devices"),
	TEXT(template, NULL),
	TEXT(memory,   NULL),
#undef TEXT
};
/* clang-format on */

enum { TEXT_COUNT = sizeof(texts) / sizeof(*texts) };

static const char *text_of(const struct manifest *m, const struct text *t)
{
	return (const char *)m + t->at;
}

/* ---- what is here ------------------------------------------------------------------------------------ */

/* The value of @key in the first processor's part of /proc/cpuinfo; length 0 when it is not there. */
static const char *cpuinfo_value(const char *text, const char *key, size_t *ret_len)
{
	const char *at = strstr(text, key);

	*ret_len = 0;
	if (!at || (at != text && at[-1] != '\n'))
		return "";
	at += strcspn(at, ":\n");
	at += strspn(at, ": ");
	*ret_len = strcspn(at, "\n");
	return at;
}

static void host_cpu(char *ret, size_t size)
{
	AUTO_BUF text = BUF_INIT;
	char hex[DIGEST_HEX_SIZE] = "";
	struct digest *digest = digest_new();
	const char *model, *flags;
	size_t model_len, flags_len;

	ret[0] = '\0';
	if (!digest || file_read(AT_FDCWD, "/proc/cpuinfo", CPUINFO_MAX, &text, NULL) < 0) {
		digest_free(digest);
		return;
	}
	model = cpuinfo_value(buf_text(&text), "model name", &model_len);
	flags = cpuinfo_value(buf_text(&text), "flags", &flags_len);
	digest_add(digest, flags, flags_len);
	digest_hex(digest, hex);
	digest_free(digest);
	(void)snprintf(ret, size, "%.*s (flags %.*s)", model_len < 128 ? (int)model_len : 128,
		       model, FLAGS_DIGITS, hex);
}

void manifest_fill(struct manifest *m, const struct vm_spec *spec)
{
	static const char *const nets[] = {
		[VM_NET_NONE] = "none", [VM_NET_TAP] = "tap", [VM_NET_USER] = "user"};

	*m = (struct manifest){.vcpus = spec->vcpus, .memory_mib = spec->memory_mib};
	/* What is too long is cut off; the same on both sides of a comparison. */
	(void)snprintf(m->driver, sizeof(m->driver), "%s", spec->host->driver->name);
	(void)snprintf(m->version, sizeof(m->version), "%s", spec->host->version);
	(void)snprintf(m->accel, sizeof(m->accel), "%s", vm_accel_name(spec->host->accel));
	(void)snprintf(m->net, sizeof(m->net), "%s", nets[spec->net]);
	(void)snprintf(m->template, sizeof(m->template), "%s",
		       spec->template ? spec->template : "");
	if (spec->host->accel == VM_ACCEL_KVM)
		host_cpu(m->cpu, sizeof(m->cpu));
	else
		m->tsc_khz = spec->host->tsc_khz;
}

/* ---- files ------------------------------------------------------------------------------------------- */

/* Look at one file as it is now; its digest only when @with_digest. */
static int look_at(struct manifest_file *f, int dirfd, bool with_digest, struct err *e)
{
	AUTO_FD fd = openat(dirfd, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct digest *digest;
	struct stat st;
	int r = 0;

	f->digest[0] = '\0';
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot look at the saved file %s", f->name);
	f->bytes = (uint64_t)st.st_size;
	if (!with_digest)
		return 0;
	digest = digest_new();
	if (!digest)
		return err_set(e, ENOMEM, "no memory for a digest");
	r = digest_add_fd(digest, fd, -1, e);
	if (r == 0)
		digest_hex(digest, f->digest);
	digest_free(digest);
	return r;
}

int manifest_add_file(struct manifest *m, int dirfd, const char *name, bool with_digest,
		      struct err *e)
{
	struct manifest_file *f = &m->files[m->file_count];
	int r;

	if (m->file_count == MANIFEST_FILES_MAX || strlen(name) >= sizeof(f->name))
		return err_set(e, EINVAL, "%s cannot go into a manifest", name);
	memcpy(f->name, name, strlen(name) + 1);
	r = look_at(f, dirfd, with_digest, e);
	if (r == 0)
		m->file_count++;
	return r;
}

int manifest_check_files(const struct manifest *m, int dirfd, struct err *e)
{
	for (unsigned i = 0; i < m->file_count; i++) {
		const struct manifest_file *f = &m->files[i];
		struct manifest_file now = *f;
		int r = look_at(&now, dirfd, f->digest[0], e);

		if (r == -ENOENT)
			return err_set(e, EBADMSG, "the file %s of the saved memory is gone",
				       f->name);
		if (r < 0)
			return r;
		if (now.bytes != f->bytes)
			return err_set(e, EBADMSG,
				       "the file %s of the saved memory has %" PRIu64
				       " bytes, and %" PRIu64 " were saved: it is damaged",
				       f->name, now.bytes, f->bytes);
		if (strcmp(now.digest, f->digest) != 0)
			return err_set(e, EBADMSG,
				       "the file %s of the saved memory has another content than "
				       "was saved: it is damaged",
				       f->name);
	}
	return 0;
}

/* ---- as JSON ----------------------------------------------------------------------------------------- */

/* Add a value under @key, handing it over also when that fails. */
static int add(struct json_object *o, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(o, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

static struct json_object *file_to_json(const struct manifest_file *f)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	if (json_add_text(o, "name", f->name) < 0 ||
	    json_add_int(o, "bytes", (int64_t)f->bytes) < 0 ||
	    json_add_text(o, "sha256", f->digest[0] ? f->digest : NULL) < 0) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static int files_to_json(const struct manifest *m, struct json_object *o)
{
	struct json_object *files = json_object_new_array();

	if (add(o, "files", files) < 0)
		return -ENOMEM;
	for (unsigned i = 0; i < m->file_count; i++) {
		struct json_object *f = file_to_json(&m->files[i]);

		if (!f || json_object_array_add(files, f) < 0) {
			json_object_put(f);
			return -ENOMEM;
		}
	}
	return 0;
}

int manifest_write(const struct manifest *m, int dirfd, const char *name, struct err *e)
{
	AUTO_JSON o = json_object_new_object();
	int r = o ? json_add_int(o, "format", MANIFEST_FORMAT) : -ENOMEM;
	const char *text;

	for (size_t i = 0; r == 0 && i < TEXT_COUNT; i++)
		r = json_add_text(o, texts[i].key, text_of(m, &texts[i]));
	r = r ? r : json_add_int(o, "vcpus", m->vcpus);
	r = r ? r : json_add_int(o, "memory_mib", (int64_t)m->memory_mib);
	r = r ? r : json_add_int(o, "tsc_khz", m->tsc_khz);
	r = r ? r : files_to_json(m, o);
	text = r ? NULL : json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		return err_set(e, ENOMEM, "no memory for a manifest");
	return file_replace(dirfd, name, 0600, text, strlen(text), e);
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, EBADMSG, "the manifest of the saved memory is damaged: %s", what);
}

static int file_from_json(struct json_object *o, struct manifest_file *ret, struct err *e)
{
	const char *name = json_text_at(o, "name", "");
	const char *digest = json_text_at(o, "sha256", "");
	int64_t bytes = json_int_at(o, "bytes", -1);

	if (!name[0] || strchr(name, '/') || strlen(name) >= sizeof(ret->name) ||
	    strlen(digest) >= sizeof(ret->digest) || bytes < 0)
		return bad(e, "a file");
	memcpy(ret->name, name, strlen(name) + 1);
	memcpy(ret->digest, digest, strlen(digest) + 1);
	ret->bytes = (uint64_t)bytes;
	return 0;
}

static int files_from_json(struct json_object *o, struct manifest *ret, struct err *e)
{
	struct json_object *files = json_at(o, "files");
	size_t n = json_object_is_type(files, json_type_array) ? json_object_array_length(files)
							       : MANIFEST_FILES_MAX + 1;
	int r = 0;

	if (n > MANIFEST_FILES_MAX)
		return bad(e, "its list of files");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = file_from_json(json_object_array_get_idx(files, i), &ret->files[i], e);
	ret->file_count = (unsigned)n;
	return r;
}

static int from_json(struct json_object *o, struct manifest *ret, struct err *e)
{
	int64_t vcpus = json_int_at(o, "vcpus", 0), mib = json_int_at(o, "memory_mib", 0);
	int64_t tsc_khz = json_int_at(o, "tsc_khz", 0);

	if (json_int_at(o, "format", 0) > MANIFEST_FORMAT)
		return err_set(e, ENOTSUP, "a later version of sbxfs saved this memory");
	if (json_int_at(o, "format", 0) != MANIFEST_FORMAT || vcpus <= 0 || vcpus > INT32_MAX ||
	    mib <= 0 || tsc_khz < 0 || tsc_khz > UINT32_MAX)
		return bad(e, "its format or sizes");
	ret->vcpus = (unsigned)vcpus;
	ret->memory_mib = (uint64_t)mib;
	ret->tsc_khz = (uint32_t)tsc_khz;
	for (size_t i = 0; i < TEXT_COUNT; i++) {
		const char *text = json_text_at(o, texts[i].key, NULL);

		if (!text || strlen(text) >= texts[i].size)
			return bad(e, texts[i].key);
		memcpy((char *)ret + texts[i].at, text, strlen(text) + 1);
	}
	return files_from_json(o, ret, e);
}

int manifest_read(int dirfd, const char *name, struct manifest *ret, struct err *e)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_JSON o = NULL;
	int r = file_read(dirfd, name, MANIFEST_MAX, &text, e);

	*ret = (struct manifest){0};
	if (r == -ENOENT)
		return err_set(e, ENOENT, "there is no saved memory: its manifest is missing");
	if (r == -EFBIG)
		return bad(e, "it is too long");
	if (r < 0)
		return r;
	if (json_parse(buf_text(&text), text.len, &o, NULL) < 0 ||
	    !json_object_is_type(o, json_type_object))
		return bad(e, "it is no JSON object");
	return from_json(o, ret, e);
}

/* ---- the comparison ---------------------------------------------------------------------------------- */

/* Measured twice on one host it is never quite the same. */
static bool same_tsc(uint32_t a, uint32_t b)
{
	uint32_t more = a > b ? a : b, less = a > b ? b : a;

	return less == 0 || more - less <= more / TSC_PART;
}

int manifest_compare(const struct manifest *saved, const struct manifest *here, struct err *e)
{
	for (size_t i = 0; i < TEXT_COUNT; i++) {
		const struct text *t = &texts[i];

		if (t->what && strcmp(text_of(saved, t), text_of(here, t)) != 0)
			return err_set(e, ENOTSUP,
				       "the saved memory does not fit: %s was \"%s\" then and is "
				       "\"%s\" now",
				       t->what, text_of(saved, t), text_of(here, t));
	}
	if (!same_tsc(saved->tsc_khz, here->tsc_khz))
		return err_set(
			e, ENOTSUP,
			"the saved memory does not fit: the host's time stamp counter ran at "
			"%" PRIu32 " kHz and runs at %" PRIu32,
			saved->tsc_khz, here->tsc_khz);
	if (saved->vcpus != here->vcpus)
		return err_set(e, ENOTSUP,
			       "the saved memory does not fit: it is of a guest with %u vCPUs, and "
			       "%u are wanted",
			       saved->vcpus, here->vcpus);
	if (saved->memory_mib != here->memory_mib)
		return err_set(e, ENOTSUP,
			       "the saved memory does not fit: it is of a guest with %" PRIu64
			       " MiB, and %" PRIu64 " are wanted",
			       saved->memory_mib, here->memory_mib);
	return 0;
}
