/* SPDX-License-Identifier: GPL-2.0-or-later */
/* net/nft.h - nftables commands as text, each call one transaction */
#ifndef SBXFS_NET_NFT_H
#define SBXFS_NET_NFT_H

#include "base/buf.h"
#include "base/err.h"

struct nft_ctx;

/**
 * nft_open() - A connection to the nftables of the namespace that the calling thread is in
 *
 * It stays there whatever thread uses it later. One thread at a time.
 * Return: 0 and @ret; -EIO.
 */
int nft_open(struct nft_ctx **ret, struct err *e);
void nft_close(struct nft_ctx *nft); /* takes NULL */

/**
 * nft_run() - All of @commands or none
 * @ret_output: what they print is appended; NULL: not wanted
 * Return: 0; -EIO with nftables' first message in @e.
 */
int nft_run(struct nft_ctx *nft, const char *commands, struct buf *ret_output, struct err *e);

#endif
