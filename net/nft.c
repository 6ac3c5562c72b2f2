/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nft.c - nftables commands as text; the only file that knows libnftables
 *
 * How it works: a context holds a netlink socket, which belongs to the namespace in which it was made. One for
 * the host is kept for the whole run: closing such a socket after a removal waits for the kernel's work on it
 * (10 to 20 ms), using it again does not. The library is not safe for threads, so the caller serialises.
 */
#include "net/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

int nft_open(struct nft_ctx **ret, struct err *e)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

	if (!nft)
		return err_set(e, EIO, "cannot open nftables: out of memory, or no netlink socket");
	if (nft_ctx_buffer_output(nft) || nft_ctx_buffer_error(nft)) {
		nft_ctx_free(nft);
		return err_set(e, EIO, "cannot open nftables: out of memory");
	}
	*ret = nft;
	return 0;
}

void nft_close(struct nft_ctx *nft)
{
	if (nft)
		nft_ctx_free(nft);
}

int nft_run(struct nft_ctx *nft, const char *commands, struct buf *ret_output, struct err *e)
{
	int rc = nft_run_cmd_from_buffer(nft, commands);
	/* Fetching a buffer also empties it, so both are fetched every time. */
	const char *output = nft_ctx_get_output_buffer(nft);
	const char *message = nft_ctx_get_error_buffer(nft);

	if (rc) {
		message += strspn(message, " \n");
		return err_set(e, EIO,
			       "nftables refused a command: %.*s (are its kernel modules there?)",
			       (int)strcspn(message, "\n"), message);
	}
	if (!ret_output)
		return 0;
	buf_adds(ret_output, output);
	return buf_error(ret_output) ? err_set(e, ENOMEM, "no memory for nftables' answer") : 0;
}
