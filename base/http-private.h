/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/http-private.h - how http.c and fetch.c drive libcurl; for those two only */
#ifndef SBXFS_BASE_HTTP_PRIVATE_H
#define SBXFS_BASE_HTTP_PRIVATE_H

#include <curl/curl.h>

#include "base/deadline.h"

/**
 * http_drive() - Drive the transfers of @multi until curl has a result for them
 * @d: looked at again after each piece, so that a callback may move its time
 * Return: 0, whatever the result is; -ETIMEDOUT; -ECANCELED; -EIO.
 */
int http_drive(CURLM *multi, const struct deadline *d);

/* The result that curl has for the one transfer of @multi. */
CURLcode http_result(CURLM *multi);

/* The positive errno that http.h promises for a result that is not CURLE_OK. */
int http_errno(CURL *easy, CURLcode result);

#endif
