/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-probe.c - find QEMU and what it can do on this host */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/accel.h"
#include "vm/program.h"
#include "vm/qemu-private.h"

#define PROGRAM "qemu-system-x86_64"

/* "QEMU emulator version 7.2.22 (Debian …)" and a newline: all behind "version ". */
static int find_version(struct vm_host *host, struct err *e)
{
	static const char mark[] = "version ";
	const char *const argv[] = {host->program, "--version", NULL};
	AUTO_BUF answer = BUF_INIT;
	const char *at;
	int r = program_ask(argv, &answer, e);

	if (r < 0)
		return r;
	at = strstr(buf_text(&answer), mark);
	if (!at)
		return err_set(e, ENOTSUP, "%s does not tell its version", host->program);
	at += sizeof(mark) - 1;
	(void)snprintf(host->version, sizeof(host->version), "%.*s", (int)strcspn(at, "\r\n"), at);
	return 0;
}

static int check_machine(const struct vm_host *host, struct err *e)
{
	const char *const argv[] = {host->program, "-machine", "help", NULL};
	AUTO_BUF answer = BUF_INIT;
	int r = program_ask(argv, &answer, e);

	if (r < 0)
		return r;
	if (!strstr(buf_text(&answer), "\nmicrovm "))
		return err_set(e, ENOTSUP,
			       "%s (version %s) has no microvm machine; 5.0 or later has",
			       host->program, host->version);
	return 0;
}

int qemu_probe(enum vm_accel want, struct vm_host *ret, struct err *e)
{
	struct vm_host host = {.driver = &qemu_driver, .accel = VM_ACCEL_TCG};
	int r = program_find(PROGRAM, "install the package qemu-system-x86", host.program,
			     sizeof(host.program), e);

	if (r == 0)
		r = find_version(&host, e);
	if (r == 0)
		r = check_machine(&host, e);
	if (r == 0)
		r = accel_choose(want, &host.accel, host.accel_why, sizeof(host.accel_why), e);
	if (r < 0)
		return r;
	host.tsc_khz = accel_tsc_khz();
	*ret = host;
	return 0;
}
