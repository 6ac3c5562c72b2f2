/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/snapshot-file.h - a snapshot as one file, to be taken to another sandbox or host
 *
 * 4096 bytes of header, then the data file as it is, with its holes. The header is the line "sbxfs-snapshot 1", one
 * JSON object with the members of struct snapshot_header, and newlines up to its end. It is written last: a file
 * without it was cut short. Everything in it is checked, it may come from anybody.
 */
#ifndef SBXFS_OPS_SNAPSHOT_FILE_H
#define SBXFS_OPS_SNAPSHOT_FILE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/parse.h"

enum {
	SNAPSHOT_HEADER_BYTES = 4096,
};

struct snapshot_header {
	char name[NAME_MAX_LEN + 1]; /* that it had */
	char kind[8];                /* "disk" */
	int64_t created_ms;
	char template_pin[NAME_MAX_LEN + 1 + 13]; /* NAME@DIGEST12; "" without data, as all below */
	char store[16];
	char data_name[32]; /* of the data file in a snapshot's directory */
	uint64_t disk_bytes;
	uint64_t payload_bytes; /* that follow the header */
	char sha256[DIGEST_HEX_SIZE];
};

/* Return: 0 with SNAPSHOT_HEADER_BYTES appended to @b; -ENOMEM. */
int snapshot_header_write(const struct snapshot_header *h, struct buf *b, struct err *e);

/**
 * snapshot_header_read() - Check and take apart what somebody says is a header
 * @data: SNAPSHOT_HEADER_BYTES
 * Return: 0; -EBADMSG it is none; -ENOTSUP of a later version or another kind.
 */
int snapshot_header_read(const char *data, struct snapshot_header *ret, struct err *e);

#endif
