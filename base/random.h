/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base/random.h - unpredictable bytes and text */
#ifndef SBXFS_BASE_RANDOM_H
#define SBXFS_BASE_RANDOM_H

#include <stddef.h>

/* Fill @bytes from the kernel's generator. Return: 0; -EIO. */
int random_bytes(unsigned char *bytes, size_t len);

/* Fill @text with 2 * @bytes hexadecimal digits and a NUL from the kernel's generator. Return: 0; -EIO. */
int random_hex(char *text, size_t bytes);

/* Fill @text with @len characters of a-z2-7 and a NUL. Return: 0; -EIO. */
int random_base32(char *text, size_t len);

#endif
