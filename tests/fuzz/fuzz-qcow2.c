/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/fuzz/fuzz-qcow2.c - damaged qcow2 overlays: refused, or read, and good to be given another base
 *
 * An input is not a whole overlay, most of which would be zeroes, but a list of changes to a good one: a byte
 * that says where (enum place), two for which number there, eight for its new value, little-endian.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/qcow2-format.h"
#include "storage/qcow2.h"

#define CLUSTER UINT64_C(0x20000)
#define COPIED  (UINT64_C(1) << 63)

enum {
	DISK_BYTES = 8 << 20,
	CHANGE_BYTES = 11,
	CLUSTERS = 12, /* that offsets are likely to lead to; the file has 8 */
};

enum place {
	PLACE_HEADER,
	PLACE_REFCOUNT_TABLE,
	PLACE_REFCOUNT_BLOCK,
	PLACE_L1,
	PLACE_L2,
	PLACE_L1_CLUSTER, /* the value is a cluster's number */
	PLACE_L2_CLUSTER,
	PLACE_LENGTH,
	PLACE_COUNT,
};

static void put64(int fd, uint64_t at, uint64_t value)
{
	value = htobe64(value);
	if (pwrite(fd, &value, sizeof(value), (off_t)at) != sizeof(value))
		abort();
}

/* An L2 table at cluster 4; the disk's first two clusters at 5 and 6, a part of each; 7 is free. */
static void overlay_make(int fd)
{
	static const unsigned char counts[] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};

	if (ftruncate(fd, 0) < 0 || qcow2_create(fd, "/base", DISK_BYTES, NULL) < 0 ||
	    ftruncate(fd, 8 * CLUSTER) < 0)
		abort();
	if (pwrite(fd, counts, sizeof(counts), 2 * CLUSTER) != sizeof(counts))
		abort();
	put64(fd, 3 * CLUSTER, 4 * CLUSTER | COPIED);
	put64(fd, 4 * CLUSTER, 5 * CLUSTER | COPIED);
	put64(fd, 4 * CLUSTER + 8, 0x0000ff00000000ff);
	put64(fd, 4 * CLUSTER + 16, 6 * CLUSTER | COPIED);
	put64(fd, 4 * CLUSTER + 24, 0x00000000ffffffff);
	put64(fd, 5 * CLUSTER, UINT64_MAX);
}

static void change(int fd, unsigned place, unsigned number, uint64_t value)
{
	uint64_t at = UINT64_C(8) * (number % 16384);

	switch (place % PLACE_COUNT) {
	case PLACE_HEADER:
		put64(fd, at % 4096, value);
		break;
	case PLACE_REFCOUNT_TABLE:
	case PLACE_REFCOUNT_BLOCK:
	case PLACE_L1:
	case PLACE_L2:
		put64(fd, place % PLACE_COUNT * CLUSTER + at, value);
		break;
	case PLACE_L1_CLUSTER:
		put64(fd, 3 * CLUSTER + at % 64, value % CLUSTERS * CLUSTER | COPIED);
		break;
	case PLACE_L2_CLUSTER:
		put64(fd, 4 * CLUSTER + at / 8 * 16 % 2048, value % CLUSTERS * CLUSTER | COPIED);
		break;
	default:
		if (ftruncate(fd, (off_t)(value >> number % 64)) < 0 && errno != EINVAL &&
		    errno != EFBIG)
			abort();
	}
}

static void must_say(int r, const struct err *e)
{
	if (r != 0 && (r != -EBADMSG || e->code != EBADMSG || !e->text[0]))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1, out_fd;
	uint64_t bytes = 0;
	struct err e = {0};
	int r, read_it;

	if (fd < 0) {
		fd = memfd_create("overlay", MFD_CLOEXEC);
		out_fd = memfd_create("image", MFD_CLOEXEC);
	}
	overlay_make(fd);
	for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
		uint64_t value;

		memcpy(&value, data + 3, sizeof(value));
		change(fd, data[0], data[1] | (unsigned)data[2] << 8, le64toh(value));
	}
	if (ftruncate(out_fd, 0) < 0 || ftruncate(out_fd, DISK_BYTES) < 0)
		abort();
	read_it = qcow2_lay(fd, out_fd, NULL, &e);
	must_say(read_it, &e);
	if (qcow2_lay(fd, -1, NULL, NULL) != read_it)
		abort();
	r = qcow2_verify(fd, &bytes, &e);
	must_say(r, &e);
	if (r < 0)
		return 0;
	if (read_it < 0 || bytes % CLUSTER || qcow2_rebase(fd, "/other", NULL) < 0 ||
	    qcow2_check(fd, "/other", &bytes, NULL) < 0 || qcow2_verify(fd, &bytes, NULL) < 0)
		abort();
	return 0;
}
