// SPDX-License-Identifier: GPL-2.0-or-later
/* ops/snapshot-move.c - snapshots written to files of the host, and taken from them
 *
 * How it works: both files are opened with the writer's own rights, and only the descriptors are used. What is taken in is
 * copied first and digested afterwards, as it lies here: whoever changes the file meanwhile changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "ops/asuser.h"
#include "ops/host.h"
#include "ops/lifecycle.h"
#include "ops/room.h"
#include "ops/snapshot-file.h"
#include "ops/snapshot-private.h"

/* ---- export ---------------------------------------------------------------------------------------------- */

/* A new file of the writer's. */
struct out_file {
	const struct writer *writer;
	const char *name;
	int dir_fd; /* O_PATH; owned */
	int fd;     /* owned */
};

static int out_open(const struct writer *w, const char *path, struct out_file *ret, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = NULL;
	int r;

	*ret = (struct out_file){.writer = w, .name = path, .dir_fd = -1, .fd = -1};
	if (path[0] != '/' || !slash || !slash[1])
		return err_set(e, EINVAL, "%s is not the absolute path of a file", path);
	ret->name = slash + 1;
	/* "/." at its end: a link to a directory is followed, only the file itself must not be one. */
	if (asprintf(&dir, "%.*s/.", (int)(slash - path), path) < 0)
		return err_set(e, ENOMEM, "no memory");
	r = asuser_open(w, AT_FDCWD, dir, O_PATH | O_DIRECTORY, &ret->dir_fd, e);
	if (r < 0)
		return r;
	return asuser_open(w, ret->dir_fd, ret->name, O_WRONLY | O_CREAT | O_EXCL, &ret->fd, e);
}

static void out_done(struct out_file *f)
{
	fd_close(steal_fd(&f->fd));
	fd_close(steal_fd(&f->dir_fd));
}

/* Unless somebody has put another one in its place. */
static void out_remove(const struct out_file *f)
{
	struct stat ours, there;
	struct err e = {0};

	if (fstat(f->fd, &ours) < 0 ||
	    fstatat(f->dir_fd, f->name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    ours.st_dev != there.st_dev || ours.st_ino != there.st_ino)
		return;
	if (asuser_unlink(f->writer, f->dir_fd, f->name, &e) < 0)
		log_warning("%s, ignoring: it has no header", e.text);
}

/* What a writer may do with a directory need not include reading it: it is synced through a descriptor of our own. */
static int out_sync(const struct out_file *f, struct err *e)
{
	AUTO_FD dir = openat(f->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fsync(f->fd) < 0)
		return err_sys(e, errno, "cannot write %s", f->name);
	return dir < 0 ? err_sys(e, errno, "cannot open the directory of %s", f->name)
		       : file_sync_dir(dir, e);
}

static int digest_of(int fd, char ret_hex[DIGEST_HEX_SIZE], const struct deadline *d, struct err *e)
{
	struct digest *digest = digest_new();
	int r = digest ? digest_add_fd(digest, fd, d->cancel_fd, e)
		       : err_set(e, ENOMEM, "no memory");

	if (r == 0)
		digest_hex(digest, ret_hex);
	digest_free(digest);
	return r;
}

static int write_payload(int data_fd, int out_fd, struct snapshot_header *h,
			 const struct deadline *d, struct err *e)
{
	struct stat st = {0};
	int r = digest_of(data_fd, h->sha256, d, e);

	if (r == 0 && fstat(data_fd, &st) < 0)
		r = err_sys(e, errno, "cannot measure the data");
	if (r < 0)
		return r;
	h->payload_bytes = (uint64_t)st.st_size;
	return file_copy_part(data_fd, 0, out_fd, SNAPSHOT_HEADER_BYTES, d->cancel_fd, e);
}

static int write_file(struct out_file *f, int data_fd, struct snapshot_header *h,
		      const struct deadline *d, struct err *e)
{
	AUTO_BUF head = BUF_INIT;
	int r = data_fd < 0 ? 0 : write_payload(data_fd, f->fd, h, d, e);

	if (r == 0)
		r = fault_point("snapshot-export", d, e);
	if (r == 0)
		r = snapshot_header_write(h, &head, e);
	if (r == 0 && deadline_cancelled(d))
		r = err_set(e, ECANCELED, "the export was cancelled");
	if (r == 0 && pwrite(f->fd, buf_text(&head), head.len, 0) != (ssize_t)head.len)
		r = err_sys(e, errno ? errno : EIO, "cannot write %s", f->name);
	return r == 0 ? out_sync(f, e) : r;
}

/* Its data file. Return: 0; @ret_fd -1: it has none. */
static int open_data(struct sbx *s, const struct snapshot *n, struct snapshot_header *h,
		     int *ret_fd, struct err *e)
{
	AUTO_FD all_fd = -1;
	AUTO_FD dir = -1;
	const char *name;
	int r;

	*h = (struct snapshot_header){
		.kind = "disk", .created_ms = n->created_ms, .disk_bytes = n->disk_bytes};
	memcpy(h->name, n->name, sizeof(h->name));
	memcpy(h->template_pin, n->template_pin, sizeof(h->template_pin));
	*ret_fd = -1;
	if (!n->store)
		return 0;
	r = snapshot_open_all(s, false, &all_fd, e);
	if (r == 0)
		r = file_open_dir(all_fd, n->name, &dir, e);
	if (r < 0)
		return r;
	name = n->store->data_name(dir);
	*ret_fd = name ? openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (*ret_fd < 0)
		return err_sys(e, name ? errno : ENOENT, "cannot open the data of snapshot %s",
			       n->name);
	(void)snprintf(h->store, sizeof(h->store), "%s", n->store->name);
	(void)snprintf(h->data_name, sizeof(h->data_name), "%s", name);
	return 0;
}

int snapshot_export(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e)
{
	struct snapshot *n = snapshot_take(s, name, e);
	struct snapshot_header h;
	struct out_file out;
	AUTO_FD data_fd = -1;
	int r;

	if (!n)
		return e ? -e->code : -ENOENT;
	r = n->kind == SNAPSHOT_FULL
		    ? err_set(e, ENOTSUP,
			      "%s has memory, which is not written to files yet: go back to it, stop "
			      "it, and export a snapshot of its disk",
			      name)
		    : open_data(s, n, &h, &data_fd, e);
	if (r == 0) {
		r = out_open(w, path, &out, e);
		if (r == 0) {
			r = write_file(&out, data_fd, &h, d, e);
			if (r < 0)
				out_remove(&out);
		}
		out_done(&out);
	}
	snapshot_give_back(s, n);
	return r;
}

/* ---- import ---------------------------------------------------------------------------------------------- */

/* The file that somebody says is a snapshot. */
struct in_file {
	int fd; /* owned by snapshot_import() */
	uint64_t allocated;
	struct snapshot_header header;
};

static int in_open(const struct writer *w, const char *path, struct in_file *ret, struct err *e)
{
	char head[SNAPSHOT_HEADER_BYTES];
	uint64_t wanted;
	struct stat st;
	ssize_t n;
	int r = asuser_open(w, AT_FDCWD, path, O_RDONLY, &ret->fd, e);

	if (r < 0)
		return r;
	if (fstat(ret->fd, &st) < 0)
		return err_sys(e, errno, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is not a regular file", path);
	n = pread(ret->fd, head, sizeof(head), 0);
	if (n != (ssize_t)sizeof(head))
		return n < 0 ? err_sys(e, errno, "cannot read %s", path)
			     : err_set(e, EBADMSG, "%s is no exported snapshot: it is too short",
				       path);
	r = snapshot_header_read(head, &ret->header, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	wanted = SNAPSHOT_HEADER_BYTES + ret->header.payload_bytes;
	if ((uint64_t)st.st_size != wanted)
		return err_set(e, EBADMSG, "%s has %lld bytes where its header speaks of %llu",
			       path, (long long)st.st_size, (unsigned long long)wanted);
	ret->allocated = (uint64_t)st.st_blocks * 512;
	return 0;
}

static int check_store(const struct snapshot_header *h, struct err *e)
{
	if (!host.volume)
		return err_set(e, ENOTSUP, "%s", host.volume_why);
	if (strcmp(h->store, host.volume->name) == 0)
		return 0;
	return err_set(
		e, ENOTSUP,
		"it is of the store %s, and this daemon has %s; export it where --storage is the same",
		h->store, host.volume->name);
}

/* Copied, and digested as it lies here then. */
static int take_payload(const struct in_file *in, struct snapshot_fresh *f,
			const struct deadline *d, struct err *e)
{
	const struct snapshot_header *h = &in->header;
	AUTO_FD fd = openat(f->fd, h->data_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
	char hex[DIGEST_HEX_SIZE];
	const char *known;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot make the data file");
	known = f->snapshot->store->data_name(f->fd);
	if (!known || strcmp(known, h->data_name) != 0)
		return err_set(e, EBADMSG, "its header has no valid data");
	r = file_copy_part(in->fd, SNAPSHOT_HEADER_BYTES, fd, 0, d->cancel_fd, e);
	if (r == 0)
		r = digest_of(fd, hex, d, e);
	if (r == 0 && strcmp(hex, h->sha256) != 0)
		return err_set(
			e, EBADMSG,
			"the data has the digest %s, not %s as its header says: it was damaged",
			hex, h->sha256);
	if (r == 0 && fsync(fd) < 0)
		r = err_sys(e, errno, "cannot write the data file");
	return r == 0 ? file_sync_dir(f->fd, e) : r;
}

static int take_data(struct sbx *s, const struct in_file *in, struct snapshot_fresh *f,
		     const struct deadline *d, struct err *e)
{
	struct snapshot *n = f->snapshot;
	struct template_version v;
	struct snapshot_spec spec;
	int r = check_store(&in->header, e);

	if (r < 0)
		return r;
	r = template_version_like(in->header.template_pin, &v, e);
	if (r < 0)
		return r;
	n->store = host.volume;
	n->disk_bytes = in->header.disk_bytes;
	memcpy(n->template_pin, v.pin, sizeof(n->template_pin));
	if (n->disk_bytes < v.rootfs_bytes)
		r = err_set(e, EBADMSG, "its disk is smaller than its template's");
	if (r == 0)
		r = room_check(in->allocated, e);
	if (r == 0)
		r = take_payload(in, f, d, e);
	if (r == 0) {
		snapshot_spec(s, f->temp, f->fd, &v, &spec);
		spec.volume.size_bytes = n->disk_bytes;
		r = n->store->adopt_data(&spec.volume, e);
	}
	if (r == 0)
		n->size_bytes = snapshot_data_bytes(n->store, f->fd);
	template_version_done(&v);
	return r;
}

/* Its version may have been removed before this snapshot was there to keep it. */
static int check_version(struct sbx *s, const char *name, const char *pin, struct err *e)
{
	struct template_version v;
	int r;

	if (!pin[0])
		return 0;
	r = template_version_find(pin, &v, e);
	if (r == 0)
		template_version_done(&v);
	else
		(void)snapshot_delete(s, name, NULL);
	return r;
}

int snapshot_import(struct sbx *s, const char *name, const char *path, const struct writer *w,
		    const struct deadline *d, struct err *e)
{
	AUTO_FRESH f = SNAPSHOT_FRESH_NONE;
	struct in_file in = {.fd = -1};
	char pin[NAME_MAX_LEN + 1 + 13] = "";
	int r = lifecycle_settle(s, e);

	if (r == 0)
		r = in_open(w, path, &in, e);
	if (r == 0)
		r = snapshot_begin(s, name, &f, e);
	if (r == 0)
		f.snapshot->created_ms = in.header.created_ms;
	if (r == 0 && in.header.store[0])
		r = take_data(s, &in, &f, d, e);
	fd_close(in.fd);
	if (r == 0) {
		memcpy(pin, f.snapshot->template_pin, sizeof(pin));
		r = snapshot_finish(s, &f, false, e);
	}
	if (r == 0)
		r = check_version(s, name, pin, e);
	if (r == 0)
		snapshot_tell(s, "import", name);
	return r;
}
